"""What an operator can do, from the console or the command line: a service call and its audit event in one transaction.

Every function takes ``by``, who is doing it. Refusals are raised as ``MailcacheError`` with a text for a person.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction

from mailcache.errors import InvalidValue
from mailcache.models import Account, AccountState, AppPassword, AuthMethod, Mailbox, Mutation, TlsMode, User
from mailcache.services import accounts, mutation_control, replays, sealed_secrets, users
from mailcache.services import parked as parked_messages
from mailcache.services import policies as account_policies
from mailcache.services.audit import record_event
from mailcache.services.policies import Policies
from sync import mailbox_requests
from sync.models import UpstreamHost
from sync.profiles import BY_NAME
from sync.scheduling import request_sync
from sync.services import hosts

# As many mutations are named in one audit event.
_NOTED = 50


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts: the name for the audit log, and the IP address where there is one."""

    name: str
    address: str | None = None


def note(by: Operator, action: str, *, user: User | None = None, account: Account | None = None, **detail: str) -> None:
    """Write an audit event about a user or an account; ``detail`` must hold no secret."""
    record_event(
        action=action,
        actor=by.name,
        address=by.address,
        user_id=user.pk if user else account.user_id if account else None,
        account_id=account.pk if account else None,
        detail=detail,
    )


@transaction.atomic
def create_user(*, by: Operator, email: str, password: str, is_staff: bool = False, is_superuser: bool = False) -> User:
    """Create somebody who may log in. An administrator is an operator too."""
    user = users.create_user(
        email=email, password=password, is_staff=is_staff or is_superuser, is_superuser=is_superuser
    )
    note(by, "user.create", user=user, email=user.email, role=_role(user))
    return user


@transaction.atomic
def set_password(*, by: Operator, user: User, password: str) -> None:
    """Replace a user's password."""
    users.set_password(user_id=user.pk, password=password)
    note(by, "user.password", user=user)


@transaction.atomic
def set_active(*, by: Operator, user: User, active: bool) -> None:
    """Allow or forbid a user to log in."""
    users.set_active(user_id=user.pk, active=active)
    note(by, "user.activate" if active else "user.deactivate", user=user)


@transaction.atomic
def set_operator(*, by: Operator, user: User, is_staff: bool, is_superuser: bool) -> None:
    """Give or take the right to use the console."""
    users.set_operator(user_id=user.pk, is_staff=is_staff, is_superuser=is_superuser)
    user.refresh_from_db()
    note(by, "user.role", user=user, role=_role(user))


@transaction.atomic
def set_root_account(*, by: Operator, user: User, account: Account | None) -> None:
    """Choose the account whose mailboxes stand at the root."""
    users.set_root_account(user_id=user.pk, account_id=account.pk if account else None)
    note(by, "user.root_account", user=user, root=account.address if account else "")


@transaction.atomic
def create_app_password(*, by: Operator, user: User, label: str) -> str:
    """Create a password for one mail client of a user and return it, this once."""
    password = users.create_app_password(user_id=user.pk, label=label)
    note(by, "app_password.create", user=user, label=label)
    return password


@transaction.atomic
def revoke_app_password(*, by: Operator, user: User, label: str) -> None:
    """Make the password of one mail client useless."""
    if not AppPassword.objects.filter(user=user, label=label, revoked_at=None).exists():
        raise InvalidValue(f"{user} has no valid app password {label!r}")
    users.revoke_app_password(user_id=user.pk, label=label)
    note(by, "app_password.revoke", user=user, label=label)


@transaction.atomic
def add_account(
    *,
    by: Operator,
    user: User,
    address: str,
    host: str,
    port: int,
    username: str,
    secret: str,
    tls_mode: TlsMode,
    auth_method: AuthMethod,
    display_name: str = "",
    policies: Policies | None = None,
) -> Account:
    """Add an upstream account to a user; its first sync begins as soon as a worker is free."""
    account = accounts.create_account(
        user=user,
        address=address,
        host=host,
        port=port,
        username=username,
        secret=secret,
        tls_mode=tls_mode,
        auth_method=auth_method,
        display_name=display_name,
    )
    changes = _store_policies(account, policies) if policies else ""
    request_sync(account_id=account.pk)
    note(by, "account.create", account=account, address=address, upstream=_upstream(account), policies=changes)
    return account


@transaction.atomic
def change_upstream(*, by: Operator, account: Account, secret: str) -> Account:
    """Store how ``account`` (changed in memory) reaches its upstream; an empty secret keeps the stored one."""
    changed = accounts.change_upstream(
        account_id=account.pk,
        host=account.host,
        port=account.port,
        username=account.username,
        tls_mode=TlsMode(account.tls_mode),
        auth_method=AuthMethod(account.auth_method),
        secret=secret or None,
    )
    request_sync(account_id=account.pk)
    note(by, "account.change", account=changed, upstream=_upstream(changed), secret="new" if secret else "kept")
    return changed


@transaction.atomic
def set_display_name(*, by: Operator, account: Account, display_name: str) -> None:
    """Change what the account is called in the console."""
    accounts.set_display_name(account_id=account.pk, display_name=display_name)
    note(by, "account.display_name", account=account, display_name=display_name)


@transaction.atomic
def change_policies(*, by: Operator, account: Account, policies: Policies) -> None:
    """Decide how much of an account is fetched and how; what that makes possible begins at once."""
    changes = _store_policies(account, policies)
    if changes:
        request_sync(account_id=account.pk)
        note(by, "account.policies", account=account, changes=changes)


@transaction.atomic
def forget_latches(*, by: Operator, account: Account) -> None:
    """Let capabilities be tried again that the upstream had refused."""
    account_policies.forget_latches(account_id=account.pk)
    note(by, "account.forget_latches", account=account, latches=" ".join(account.latches))


@transaction.atomic
def retry_parked(*, by: Operator, account: Account, remote_ids: Collection[int] | None = None) -> int:
    """Have parked messages of an account fetched again, all or those named; returns how many."""
    count = parked_messages.retry_parked(account_id=account.pk, remote_ids=remote_ids)
    if count:
        request_sync(account_id=account.pk)
        note(by, "account.retry_parked", account=account, messages=str(count))
    return count


@transaction.atomic
def sync_mailbox(*, by: Operator, mailbox: Mailbox, everything: bool = False) -> None:
    """Have one mailbox compared now, with ``everything`` without trust in any number."""
    allow_sync(by=by, account=mailbox.account)
    mailbox_requests.sync_mailbox(mailbox=mailbox, everything=everything)
    if everything:
        note(by, "mailbox.compare_everything", account=mailbox.account, mailbox=mailbox.name)


@transaction.atomic
def confirm_deletions(*, by: Operator, mailbox: Mailbox) -> None:
    """Say that the many deletions seen upstream are meant: the messages go here, too."""
    mailbox_requests.confirm_deletions(mailbox=mailbox)
    note(by, "mailbox.confirm_deletions", account=mailbox.account, mailbox=mailbox.name)


@transaction.atomic
def set_host_limit(*, by: Operator, name: str, connection_limit: int | None) -> UpstreamHost:
    """Limit the connections of all accounts together to one upstream host; None: as its provider profile says."""
    host = hosts.set_host_limit(name=name, connection_limit=connection_limit)
    note(by, "host.limit", host=host.name, connections=str(connection_limit or ""))
    return host


@transaction.atomic
def pause_sync(*, by: Operator, account: Account) -> None:
    """Stop syncing an account until it is resumed."""
    accounts.pause_sync(account_id=account.pk, paused=True)
    note(by, "account.pause", account=account)


@transaction.atomic
def resume_sync(*, by: Operator, account: Account) -> None:
    """Sync an account again that was paused."""
    accounts.pause_sync(account_id=account.pk, paused=False)
    request_sync(account_id=account.pk)
    note(by, "account.resume", account=account)


@transaction.atomic
def sync_now(*, by: Operator, account: Account) -> None:
    """Have an account synced as soon as a worker is free; raises ``InvalidValue`` like ``allow_sync``."""
    allow_sync(by=by, account=account)
    request_sync(account_id=account.pk)


@transaction.atomic
def allow_sync(*, by: Operator, account: Account) -> None:
    """Make sure that the account can be synced, also when its credentials were refused.

    Asking for a sync of a paused account, or of an inactive user's, is refused with ``InvalidValue``, not swallowed.
    """
    if account.sync_paused:
        raise InvalidValue(f"syncing {account} is paused; resume it first")
    if not account.user.is_active:
        raise InvalidValue(f"the user {account.user} is not active; their accounts are not synced")
    if account.state == AccountState.AUTH_FAILED:
        accounts.retry_credentials(account_id=account.pk)
    note(by, "account.sync", account=account)


@transaction.atomic
def pause_replay(*, by: Operator, account: Account, paused: bool) -> None:
    """Stop sending an account's changes upstream, or go on; clients can change mail all the same."""
    replays.pause_replay(account_id=account.pk, paused=paused)
    note(by, "account.pause_replay" if paused else "account.resume_replay", account=account)


@transaction.atomic
def retry_mutations(*, by: Operator, account: Account, ids: Collection[int]) -> int:
    """Have parked changes tried again; returns how many."""
    count = mutation_control.retry_mutations(account_id=account.pk, ids=ids)
    note(by, "mutation.retry", account=account, mutations=_numbers(ids), retried=str(count))
    return count


@transaction.atomic
def drop_mutations(*, by: Operator, account: Account, ids: Collection[int]) -> int:
    """Give up on changes and on what depends on them; returns how many were dropped. What they did here is undone."""
    told = "; ".join(map(str, Mutation.objects.filter(account=account, pk__in=ids).order_by("pk")[:_NOTED]))
    dropped = mutation_control.drop_mutations(account_id=account.pk, ids=ids)
    for mailbox in Mailbox.objects.mirrored(account.pk).filter(pk__in=dropped.mailboxes, selectable=True, label=""):
        mailbox_requests.sync_mailbox(mailbox=mailbox, everything=True)
    note(by, "mutation.drop", account=account, mutations=told, dropped=str(len(dropped.ids)))
    return len(dropped.ids)


@transaction.atomic
def rotate_sealing_key(*, by: Operator) -> int:
    """Seal every secret again with a new key; returns how many."""
    count = sealed_secrets.rotate_sealing_key()
    note(by, "sealing_key.rotate", accounts=str(count))
    return count


def _store_policies(account: Account, policies: Policies) -> str:
    """Store what differs; returns it as text, which is empty where nothing does."""
    if policies.profile and policies.profile not in BY_NAME:
        raise InvalidValue(f"there is no provider profile {policies.profile!r}")
    changes = policies.changes(Policies.of(Account.objects.get(pk=account.pk)))
    if changes:
        account_policies.change_policies(account_id=account.pk, policies=policies)
    return ", ".join(f"{name}: {text or 'default'}" for name, text in changes.items())


def _role(user: User) -> str:
    return "administrator" if user.is_superuser else "operator" if user.is_staff else "user"


def _upstream(account: Account) -> str:
    return f"{account.username} at {account.host}:{account.port} ({account.tls_mode}, {account.auth_method})"


def _numbers(ids: Collection[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:_NOTED]))
