"""Accounts: creating and changing them, and noting how their sync went."""

from __future__ import annotations

from datetime import datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from mailcache.errors import InvalidValue, NameTaken
from mailcache.models import OAUTH_METHODS, Account, AccountState, AuthMethod, OAuthGrant, TlsMode, User
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.sealed_secrets import open_secret, seal_secret

_LARGEST_PORT = 65_535
_SIGN_IN = "sign in at the provider: nobody has yet"


@transaction.atomic
def create_account(
    *,
    user: User,
    address: str,
    host: str,
    port: int,
    username: str,
    secret: str,
    tls_mode: TlsMode = TlsMode.TLS,
    auth_method: AuthMethod = AuthMethod.LOGIN,
    display_name: str = "",
) -> Account:
    """Add an upstream account to a user; the first one stands at the root of their mailbox tree.

    An account that logs in with OAuth has no ``secret``; it waits for somebody to sign in at the provider. Raises
    ``InvalidValue`` or ``NameTaken``.
    """
    uses_oauth = auth_method in OAUTH_METHODS
    if not secret and not uses_oauth:
        raise InvalidValue("the upstream password is empty")
    owner = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if Account.objects.filter(user=owner, address__iexact=address).exists():
        raise NameTaken(f"{owner} has an account {address} already")
    account = Account(
        user=owner,
        address=address,
        host=host,
        port=port,
        username=username,
        tls_mode=tls_mode,
        auth_method=auth_method,
        display_name=display_name,
        sealed_secret=b"",
        state=AccountState.AUTH_FAILED if uses_oauth else AccountState.ACTIVE,
        state_reason=_SIGN_IN if uses_oauth else "",
    )
    _validate(account)
    account.save()
    # The row's id is sealed into the secret, so the row comes first.
    account.sealed_secret = seal_secret(account_id=account.pk, secret=secret)
    account.save(update_fields=["sealed_secret"])
    if owner.root_account_id is None:
        owner.root_account = account
        owner.save(update_fields=["root_account"])
    return account


@transaction.atomic
def change_upstream(
    *,
    account_id: int,
    host: str,
    port: int,
    username: str,
    tls_mode: TlsMode,
    auth_method: AuthMethod,
    secret: str | None = None,
) -> Account:
    """Change how the upstream is reached; ``secret`` None keeps the stored one. Refused credentials are tried again."""
    account = Account.objects.select_for_update().get(pk=account_id)
    # What was learnt of the upstream may be true of another one, or of another user of it.
    account.latches, account.latched_at, account.detected_profile = [], None, ""
    account.crowded_limit = account.crowded_until = account.slow_until = None
    account.host, account.port, account.username = host, port, username
    account.tls_mode, account.auth_method = tls_mode, auth_method
    _validate(account)
    if secret:
        account.sealed_secret = seal_secret(account_id=account.pk, secret=secret)
    elif auth_method not in OAUTH_METHODS and not open_secret(account):
        raise InvalidValue("the upstream password is empty")
    needs_consent = auth_method in OAUTH_METHODS and not OAuthGrant.objects.filter(account=account).exists()
    account.state = AccountState.AUTH_FAILED if needs_consent else AccountState.ACTIVE
    account.state_reason, account.failures = _SIGN_IN if needs_consent else "", 0
    account.next_sync_at = timezone.now()
    # What waits to be replayed need not wait for the end of a pause that the old settings were the reason of.
    account.replay_failures, account.replay_reason, account.next_replay_at = 0, "", None
    account.upstream_away = False
    account.save()
    return account


@transaction.atomic
def pause_sync(*, account_id: int, paused: bool) -> None:
    """Stop or resume syncing an account; a running slice ends at its next checkpoint."""
    Account.objects.filter(pk=account_id).update(sync_paused=paused, next_sync_at=timezone.now())


@transaction.atomic
def request_sync(*, account_id: int) -> None:
    """Make the account due now; the scheduler finds it even when no task could be enqueued."""
    Account.objects.filter(pk=account_id).update(next_sync_at=timezone.now())


@transaction.atomic
def retry_credentials(*, account_id: int) -> None:
    """Let an account whose credentials were refused be synced again: an operator has reason to think they work."""
    Account.objects.filter(pk=account_id, state=AccountState.AUTH_FAILED).update(
        state=AccountState.FAILING, failures=0, next_sync_at=timezone.now()
    )


@transaction.atomic
def set_display_name(*, account_id: int, display_name: str) -> None:
    """Change what the account is called in the console."""
    Account.objects.filter(pk=account_id).update(display_name=display_name)


@transaction.atomic
def record_sync_success(*, fence: Fence, next_sync_at: datetime) -> None:
    """Note that the account is in step as of now."""
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        state=AccountState.ACTIVE,
        state_reason="",
        failures=0,
        last_synced_at=timezone.now(),
        next_sync_at=next_sync_at,
    )


@transaction.atomic
def record_sync_failure(*, fence: Fence, state: AccountState, reason: str, next_sync_at: datetime) -> None:
    """Note why the account is not in step and when it is tried again."""
    leases.check(fence)
    Account.objects.filter(pk=fence.account_id).update(
        state=state, state_reason=reason[:2000], failures=F("failures") + 1, next_sync_at=next_sync_at
    )


def _validate(account: Account) -> None:
    if not 1 <= account.port <= _LARGEST_PORT:
        raise InvalidValue(f"port: {account.port} is not between 1 and {_LARGEST_PORT}")
    try:
        account.full_clean(exclude=["sealed_secret"], validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        raise InvalidValue(
            "; ".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
        ) from None
