"""Users and their passwords."""

from __future__ import annotations

import secrets

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailcache.errors import InvalidValue, NameTaken
from mailcache.models import Account, AppPassword, User

_APP_PASSWORD_BYTES = 15


@transaction.atomic
def create_user(
    *,
    email: str,
    password: str,
    encoded_password: str | None = None,
    is_staff: bool = False,
    is_superuser: bool = False,
) -> User:
    """Create somebody who may log in; raises ``InvalidValue`` or ``NameTaken``.

    ``encoded_password``, a hash as Django writes it, counts instead of ``password`` if given.
    """
    email = email.strip()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidValue(f"{email!r} is not an e-mail address; it is the name to log in with") from None
    if not password:
        raise InvalidValue("the password is empty")
    if User.objects.filter(email__iexact=email).exists():
        raise NameTaken(f"a user {email} exists already")
    return User.objects.create(
        email=email,
        password=encoded_password or make_password(password),
        is_staff=is_staff,
        is_superuser=is_superuser,
    )


@transaction.atomic
def set_password(*, user_id: int, password: str) -> None:
    """Replace a user's password; ends cached logins."""
    if not password:
        raise InvalidValue("the password is empty")
    User.objects.filter(pk=user_id).update(password=make_password(password), auth_version=F("auth_version") + 1)


@transaction.atomic
def set_active(*, user_id: int, active: bool) -> None:
    """Allow or forbid a user to log in; ends cached logins."""
    User.objects.filter(pk=user_id).update(is_active=active, auth_version=F("auth_version") + 1)


@transaction.atomic
def set_operator(*, user_id: int, is_staff: bool, is_superuser: bool) -> None:
    """Give or take the right to use the console, and to make others operators; ends open sessions."""
    User.objects.filter(pk=user_id).update(
        is_staff=is_staff or is_superuser, is_superuser=is_superuser, auth_version=F("auth_version") + 1
    )


@transaction.atomic
def set_root_account(*, user_id: int, account_id: int | None) -> None:
    """Choose which of the user's accounts stands at the root; moves every path, so it ends open sessions."""
    if account_id is not None and not Account.objects.of_user(user_id).filter(pk=account_id).exists():
        raise InvalidValue("only an account of the user can stand at the root of their mailboxes")
    User.objects.filter(pk=user_id).update(root_account=account_id, auth_version=F("auth_version") + 1)


@transaction.atomic
def create_app_password(*, user_id: int, label: str) -> str:
    """Create a further password for one mail client and return it; it cannot be read again."""
    if AppPassword.objects.filter(user_id=user_id, label=label).exists():
        raise NameTaken(f"an app password {label!r} exists already")
    password = secrets.token_urlsafe(_APP_PASSWORD_BYTES)
    AppPassword.objects.create(user_id=user_id, label=label, hash=make_password(password))
    return password


@transaction.atomic
def revoke_app_password(*, user_id: int, label: str) -> None:
    """Make one app password useless; ends cached logins."""
    AppPassword.objects.filter(user_id=user_id, label=label, revoked_at=None).update(revoked_at=timezone.now())
    User.objects.filter(pk=user_id).update(auth_version=F("auth_version") + 1)
