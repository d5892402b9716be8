"""How an account's upstream is treated and what it costs: profile, latches, connections, usage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, Sum
from django.utils import timezone

from imapped_site.units import age, decimal, octets
from mailcache.models import Account
from sync.connection import profile_of
from sync.models import ConnectionSlot, Purpose, UpstreamUsage
from sync.profiles import Profile, choose_profile
from sync.services.slots import ConnectionLimits, connection_limits
from sync.services.upstream_notes import latches_of

USAGE_DAYS = 30
_KINDS_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Usage:
    """What commands of one kind, or all, cost today (UTC) and in the last 30 days, today included."""

    kind: str
    commands_today: int = 0
    bytes_today: int = 0
    commands: int = 0
    bytes: int = 0

    @property
    def shown_today(self) -> str:
        """Return today's cost for people."""
        return f"{self.shown_commands_today} commands, {octets(self.bytes_today)}"

    @property
    def shown_days(self) -> str:
        """Return the cost of the last days for people."""
        return f"{self.shown_commands} commands, {octets(self.bytes)}"

    @property
    def shown_commands_today(self) -> str:
        """Return today's commands for people."""
        return decimal(self.commands_today)

    @property
    def shown_commands(self) -> str:
        """Return the commands of the last days for people."""
        return decimal(self.commands)

    @property
    def shown_bytes_today(self) -> str:
        """Return today's octets for people."""
        return octets(self.bytes_today)

    @property
    def shown_bytes(self) -> str:
        """Return the octets of the last days for people."""
        return octets(self.bytes)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection in use, or the right to it."""

    purpose: str
    since: str
    holder: str


@dataclass(frozen=True, slots=True)
class UpstreamFacts:
    """What is known of one account's upstream."""

    account: Account
    profile: Profile
    connections: Sequence[Connection]
    limits: ConnectionLimits
    usage: Sequence[Usage]
    now: datetime

    @property
    def origin(self) -> str:
        """Return why it is this profile."""
        account = self.account
        if account.profile == self.profile.name:
            return "chosen by an operator"
        if choose_profile(host=account.host) is self.profile and self.profile.hosts:
            return "by its host"
        return "by what it says it is" if account.detected_profile == self.profile.name else "nothing else fits"

    @property
    def masked(self) -> str:
        """Return the capabilities that are not used even where advertised."""
        return " ".join(sorted(self.profile.masked))

    @property
    def latches(self) -> str:
        """Return the capabilities that it refused."""
        return " ".join(sorted(latches_of(self.account, self.now)))

    @property
    def is_slow(self) -> bool:
        """Tell whether the account is synced in the slow lane."""
        return self.account.slow_until is not None and self.account.slow_until > self.now

    @property
    def slow_until(self) -> str:
        """Return until when."""
        return age(self.now, self.account.slow_until)

    @property
    def total(self) -> Usage:
        """Return the usage of all kinds together."""
        return Usage(
            "all",
            sum(row.commands_today for row in self.usage),
            sum(row.bytes_today for row in self.usage),
            sum(row.commands for row in self.usage),
            sum(row.bytes for row in self.usage),
        )


def read_upstream_facts(account: Account) -> UpstreamFacts:
    """Read what is known of an account's upstream, in three statements."""
    now = timezone.now()
    profile = profile_of(account)
    slots = ConnectionSlot.objects.filter(account=account, expires_at__gt=now).order_by("purpose", "created_at")
    connections = [
        Connection(Purpose(purpose).label, age(now, created_at), holder)
        for purpose, created_at, holder in slots.values_list("purpose", "created_at", "holder")
    ]
    return UpstreamFacts(account, profile, connections, connection_limits(account, profile), _usage(account, now), now)


def _usage(account: Account, now: datetime) -> list[Usage]:
    """Return the usage by kind, the most octets first."""
    today = Q(day=now.date())
    rows = UpstreamUsage.objects.filter(account=account, day__gt=now.date() - timedelta(days=USAGE_DAYS))
    sums = rows.values("kind").annotate(
        commands_today=Sum("commands", filter=today, default=0),
        in_today=Sum("bytes_in", filter=today, default=0),
        out_today=Sum("bytes_out", filter=today, default=0),
        total=Sum("commands"),
        total_in=Sum("bytes_in"),
        total_out=Sum("bytes_out"),
    )
    usage = [
        Usage(
            row["kind"], row["commands_today"], row["in_today"] + row["out_today"],
            row["total"], row["total_in"] + row["total_out"],
        )
        for row in sums
    ]  # fmt: skip
    return sorted(usage, key=lambda row: (-row.bytes, row.kind))[:_KINDS_SHOWN]
