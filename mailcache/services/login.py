"""Checking a login name and password, for every protocol.

A password hash costs tens of milliseconds on purpose. Mail clients log in many times a minute, so a password that was
verified a moment ago is remembered, as a keyed hash in this process only, for as long as the user's ``auth_version``
stays the same.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from django.contrib.auth.hashers import check_password, make_password
from django.utils import timezone

from mailcache.models import Account, AppPassword, User

_REMEMBERED = 10_000
_process_key = secrets.token_bytes(32)
_remembered: OrderedDict[bytes, None] = OrderedDict()
_remembered_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Login:
    """A successful login: the user, and the one account it is confined to (``user@x/account@y``), if any."""

    user_id: int
    auth_version: int
    account_id: int | None = None


def check_login(*, name: str, password: str) -> Login | None:
    """Return who may log in with this name and password, or None. Unknown names take as long as wrong passwords."""
    found = _find(name) if "\0" not in name else None
    if found is None:
        make_password(password)
        return None
    user, login = found
    fingerprint = _fingerprint(user, password)
    if not _is_remembered(fingerprint):
        if not _verify(user, password):
            return None
        _remember(fingerprint)
    return login


def user_name_of(name: str) -> str:
    """Return the part of a login name that the password belongs to: whose guesses are counted."""
    return name.partition("/")[0]


def _find(name: str) -> tuple[User, Login] | None:
    """Return the user of a login name, and what a login opens.

    All of the name has to be right before the password is looked at: an answer that comes sooner would tell whether the
    password is right where the account is not, and no such login may have it remembered.
    """
    _, _, account_name = name.partition("/")
    user = User.objects.filter(email__iexact=user_name_of(name), is_active=True).first()
    if user is None:
        return None
    if not account_name:
        return user, Login(user.pk, user.auth_version)
    account = Account.objects.of_user(user.pk).filter(address__iexact=account_name).first()
    return (user, Login(user.pk, user.auth_version, account.pk)) if account else None


def _verify(user: User, password: str) -> bool:
    if check_password(password, user.password):
        return True
    for app_password in AppPassword.objects.filter(user=user, revoked_at=None):
        if check_password(password, app_password.hash):
            AppPassword.objects.filter(pk=app_password.pk).update(last_used_at=timezone.now())
            return True
    return False


def _fingerprint(user: User, password: str) -> bytes:
    told = f"{user.pk}:{user.auth_version}:{user.password}:{password}".encode(errors="surrogateescape")
    return hashlib.blake2b(told, key=_process_key, digest_size=32).digest()


def _is_remembered(fingerprint: bytes) -> bool:
    with _remembered_lock:
        if fingerprint not in _remembered:
            return False
        _remembered.move_to_end(fingerprint)
        return True


def _remember(fingerprint: bytes) -> None:
    with _remembered_lock:
        _remembered[fingerprint] = None
        if len(_remembered) > _REMEMBERED:
            _remembered.popitem(last=False)
