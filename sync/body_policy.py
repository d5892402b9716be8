"""Which bodies are fetched ahead of being asked for: the account's policy, its quota, and its budget for the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from random import Random

from django.utils import timezone

from mailcache.models import Account, BodyPolicy
from mailcache.models.messages import ListingQuerySet
from mailcache.services.notices import set_notice
from sync.profiles import Profile
from sync.services.usage import received_on

_TOPIC = "bodies"
_SPREAD_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class BodyRights:
    """What may be fetched in one slice. What a client waits for may always be."""

    ahead: bool = True
    """Whether anything is fetched that nobody waits for."""
    since: datetime | None = None
    """Only messages at least as young are fetched ahead."""
    octets: int | None = None
    """So many octets may be fetched ahead; None for any number."""
    until_tomorrow: bool = False
    """``octets`` is what is left of the day's budget."""

    def withholds(self, waiting: int) -> bool:
        """Tell whether some of ``waiting`` octets stay where they are, so that clients need the headers."""
        return not self.ahead or self.since is not None or (self.octets is not None and waiting > self.octets)

    def permitted(self, rows: ListingQuerySet, *, spent: int) -> ListingQuerySet:
        """Return those of ``rows`` that may be fetched when ``spent`` octets were fetched ahead already."""
        if not self.ahead or (self.octets is not None and spent >= self.octets):
            return rows.wanted()
        return rows if self.since is None else rows.wanted_or_younger(self.since)


def body_rights(account: Account, profile: Profile, now: datetime) -> BodyRights:
    """Return what an account may fetch now."""
    quota = max(0, account.quota_bytes - account.used_bytes)
    daily = account.daily_bytes if account.daily_bytes is not None else profile.daily_bytes
    today = None if daily is None else max(0, daily - received_on(account_id=account.pk, day=now.date()))
    is_recent = account.body_policy == BodyPolicy.RECENT
    return BodyRights(
        ahead=account.body_policy != BodyPolicy.ON_DEMAND,
        since=now - timedelta(days=account.body_days) if is_recent else None,
        octets=quota if today is None else min(quota, today),
        until_tomorrow=today is not None and today < quota,
    )


def show_withheld(account: Account, rights: BodyRights, *, withheld: bool) -> None:
    """Have the account show why bodies do not come, or that they do."""
    text = ""
    if withheld and rights.until_tomorrow:
        text = "the day's budget is used up; the rest is fetched from midnight UTC on"
    elif withheld:
        text = "the quota is used up; only what somebody reads is fetched"
    if text or f"{_TOPIC}: " in account.notice:
        set_notice(account_id=account.pk, topic=_TOPIC, text=text)


def next_budget(rng: Random) -> datetime:
    """Return when the next day's budget is used: soon after midnight UTC, not at once with all other accounts."""
    midnight = datetime.combine(timezone.now().date() + timedelta(days=1), time(), tzinfo=UTC)
    return midnight + timedelta(seconds=rng.uniform(0, _SPREAD_SECONDS))
