"""How the sync of accounts is doing, for the console and the command line; a fixed number of queries for any number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Aggregate, Count, Q, QuerySet, Sum
from django.utils import timezone

from imapped_site.units import age, decimal, octets, span
from mailcache.models import Account, AccountState, Listing, Mailbox
from sync.models import STALE_AFTER, Checkpoint, SyncRun

MAILBOXES_SHOWN = 50
_WAITING: dict[str, Aggregate] = {
    "headers_waiting": Count("pk", filter=Q(header__isnull=True)),
    "bodies_waiting": Count("pk"),
    "bytes_waiting": Sum("size", default=0),
}


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """One account's state, what of it is here, and its latest run, as of ``now``."""

    account: Account
    run: SyncRun | None
    now: datetime
    mailboxes: int = 0
    messages: int = 0
    unseen: int = 0
    message_bytes: int = 0
    headers_waiting: int = 0
    bodies_waiting: int = 0
    bytes_waiting: int = 0
    bodies_parked: int = 0
    parked_reason: str = ""

    @property
    def is_scheduled(self) -> bool:
        """Tell whether the account will be synced without anybody doing something."""
        account = self.account
        return not account.sync_paused and account.user.is_active and account.state != AccountState.AUTH_FAILED

    @property
    def is_running(self) -> bool:
        """Tell whether a run is under way, by its own account."""
        return self.run is not None and self.run.finished_at is None

    @property
    def is_stale(self) -> bool:
        """Tell whether the run under way has given no sign of life for longer than a run may."""
        return self.is_running and self.run is not None and self.now - self.run.heartbeat_at > STALE_AFTER

    @property
    def summary(self) -> str:
        """Return the state in a few words."""
        return self._verdict[1]

    @property
    def tone(self) -> str:
        """Return how the state is to be taken: good, busy, idle, warn or bad."""
        return self._verdict[0]

    @property
    def _verdict(self) -> tuple[str, str]:
        account = self.account
        if not account.user.is_active:
            return "idle", "user not active"
        if account.sync_paused:
            return "idle", "paused"
        if account.state == AccountState.AUTH_FAILED:
            return "bad", "credentials refused"
        if self.is_stale:
            return "warn", "no sign of life"
        if self.is_running:
            return "busy", "syncing"
        if account.state == AccountState.FAILING:
            return "warn", "failing"
        if account.last_synced_at is None:
            return "idle", "waiting for its first sync"
        return "good", "in step"

    @property
    def next_try(self) -> str:
        """Return when the next sync is due."""
        return "at once" if self.account.next_sync_at <= self.now else age(self.now, self.account.next_sync_at)

    @property
    def last_synced(self) -> str:
        """Return how long ago the account was in step."""
        return age(self.now, self.account.last_synced_at)

    @property
    def lag_seconds(self) -> float:
        """Return for how long the account has not been known to be in step; since it was added, if it never was."""
        account = self.account
        return max(0.0, (self.now - (account.last_synced_at or account.created_at)).total_seconds())

    @property
    def shown_lag(self) -> str:
        """Return the lag for people."""
        never = "" if self.account.last_synced_at else "never in step, "
        return f"{never}{span(self.lag_seconds)}"

    @property
    def shown_messages(self) -> str:
        """Return the number of messages for people."""
        return decimal(self.messages)

    @property
    def shown_size(self) -> str:
        """Return the octets of all messages for people."""
        return octets(self.message_bytes)

    @property
    def shown_waiting(self) -> str:
        """Return what is still to be fetched for people."""
        return f"{decimal(self.bodies_waiting)} ({octets(self.bytes_waiting)})"

    @property
    def shown_run(self) -> str:
        """Return the latest run in a few words."""
        return describe_run(self.run, self.now) if self.run else "-"

    @property
    def bodies_here_percent(self) -> int:
        """Return the share of messages whose bytes are here; 100 only when none is missing."""
        if not self.bodies_waiting:
            return 100
        return min(99, 100 * max(0, self.messages - self.bodies_waiting) // max(1, self.messages))


@dataclass(frozen=True, slots=True)
class MailboxProgress:
    """A mailbox that is not in step: never compared, failing, or with something still to be fetched."""

    mailbox: Mailbox
    expected: int | None
    reason: str
    headers_waiting: int = 0
    bodies_waiting: int = 0
    bytes_waiting: int = 0

    @property
    def is_behind(self) -> bool:
        """Tell whether anything is missing here."""
        return self.expected is None or bool(self.reason) or self.bodies_waiting > 0

    @property
    def shown_size(self) -> str:
        """Return the octets still to be fetched for people."""
        return octets(self.bytes_waiting)


_RUN_VALUES = (
    "kind", "outcome", "reason", "cause", "started_at", "heartbeat_at", "finished_at", "messages_added",
    "messages_removed", "flags_changed", "headers_added", "bodies_added", "bodies_parked", "commands", "bytes_in",
)  # fmt: skip


def status_values(status: AccountStatus) -> dict[str, Any]:
    """Return a status for programs."""
    account, run = status.account, status.run
    return {
        "account": account.address,
        "user": account.user.email,
        "state": account.state,
        "summary": status.summary,
        "reason": account.state_reason,
        "failures": account.failures,
        "paused": account.sync_paused,
        "notice": account.notice,
        "last_synced_at": account.last_synced_at,
        "lag_seconds": round(status.lag_seconds, 1),
        "next_sync_at": account.next_sync_at if status.is_scheduled else None,
        "mailboxes": status.mailboxes,
        "messages": status.messages,
        "message_bytes": status.message_bytes,
        "headers_waiting": status.headers_waiting,
        "bodies_waiting": status.bodies_waiting,
        "bytes_waiting": status.bytes_waiting,
        "bodies_parked": status.bodies_parked,
        "run": {name: getattr(run, name) for name in _RUN_VALUES} if run else None,
    }


def describe_counts(run: SyncRun) -> str:
    """Return what a run has changed here, for people."""
    done = (
        ("new", run.messages_added),
        ("gone", run.messages_removed),
        ("changes of flags", run.flags_changed),
        ("headers", run.headers_added),
        ("bodies", run.bodies_added),
        ("parked", run.bodies_parked),
    )
    return ", ".join(f"{decimal(number)} {what}" for what, number in done if number) or "nothing"


def describe_run(run: SyncRun, now: datetime) -> str:
    """Return how a run went or goes, for people."""
    if run.finished_at is None:
        when = f"for {span((now - run.started_at).total_seconds())}, last sign of life {age(now, run.heartbeat_at)}"
    else:
        when = f"{age(now, run.finished_at)}, took {span((run.finished_at - run.started_at).total_seconds())}"
    received = f"{octets(run.bytes_in)} received in {decimal(run.commands)} commands"
    parts = [f"{run.get_outcome_display()} {when}", describe_counts(run), received, run.reason]
    return "; ".join(part for part in parts if part)


def read_status(account: Account) -> AccountStatus:
    """Return the status of one account, with why the most tried of its parked messages cannot be fetched."""
    parked = Listing.objects.parked(account.pk).order_by("-attempts")
    reason = parked.values_list("parked_reason", flat=True).first()
    return replace(read_statuses([account])[account.pk], parked_reason=reason or "")


def read_statuses(accounts: Sequence[Account]) -> dict[int, AccountStatus]:
    """Return the status of each account by its id, in three statements; their users have been read with them."""
    ids = [account.pk for account in accounts]
    totals = _by(
        "account",
        Mailbox.objects.filter(account__in=ids),
        mailboxes=Count("pk"),
        messages=Sum("messages", default=0),
        unseen=Sum("unseen", default=0),
        message_bytes=Sum("bytes", default=0),
    )
    parked = Count("pk", filter=~Q(parked_reason=""))
    waiting = _by("account", Listing.objects.filter(account__in=ids), **_WAITING, bodies_parked=parked)
    newest = SyncRun.objects.filter(account__in=ids).order_by("account", "-started_at").distinct("account")
    runs = {run.account_id: run for run in newest}
    now = timezone.now()
    return {
        account.pk: AccountStatus(
            account=account,
            run=runs.get(account.pk),
            now=now,
            **totals.get(account.pk, {}),
            **waiting.get(account.pk, {}),
        )
        for account in accounts
    }


def read_mailbox_progress(account: Account) -> list[MailboxProgress]:
    """Return the mailboxes that are behind: failing ones first, then the furthest; at most ``MAILBOXES_SHOWN``."""
    waiting = _by("mailbox", Listing.objects.filter(account=account), **_WAITING)
    checkpoints = {row.mailbox_id: row for row in Checkpoint.objects.filter(account=account)}
    rows = [
        _progress(mailbox, checkpoints.get(mailbox.pk), waiting.get(mailbox.pk, {}))
        for mailbox in Mailbox.objects.mirrored(account.pk).filter(selectable=True).order_by("name")
    ]
    behind = [row for row in rows if row.is_behind]
    return sorted(behind, key=lambda row: (not row.reason, -row.bodies_waiting))[:MAILBOXES_SHOWN]


def _progress(mailbox: Mailbox, checkpoint: Checkpoint | None, waiting: dict[str, Any]) -> MailboxProgress:
    expected = checkpoint.exists if checkpoint else None
    return MailboxProgress(mailbox, expected, checkpoint.reason if checkpoint else "", **waiting)


def _by(key: str, rows: QuerySet[Any], **totals: Aggregate) -> dict[int, dict[str, Any]]:
    return {row.pop(key): row for row in rows.order_by().values(key).annotate(**totals)}
