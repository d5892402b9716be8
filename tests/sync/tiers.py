"""Accounts whose upstream is used as one of a lower tier: what the tier lacks is masked by a profile of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailcache.models import Account
from sync.profiles import BY_NAME, GENERIC, Profile

TIERS: dict[str, frozenset[str]] = {
    "qresync": frozenset(),
    "condstore": frozenset({"QRESYNC"}),
    "plain": frozenset({"QRESYNC", "CONDSTORE"}),
}


def use_profile(monkeypatch: pytest.MonkeyPatch, account: Account, profile: Profile) -> None:
    """Let an account be treated by ``profile``."""
    monkeypatch.setitem(BY_NAME, profile.name, profile)
    Account.objects.filter(pk=account.pk).update(profile=profile.name)


def use_tier(
    monkeypatch: pytest.MonkeyPatch, account: Account, tier: str, *, hidden: frozenset[str] = frozenset()
) -> None:
    """Let an account's upstream be one of ``TIERS``, also without ``hidden``."""
    masked = TIERS[tier] | hidden
    use_profile(monkeypatch, account, replace(GENERIC, name=f"tier-{tier}", masked=masked))
