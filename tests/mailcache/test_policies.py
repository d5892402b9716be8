"""What an operator decides about an account."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Account, BodyPolicy
from mailcache.services.policies import Policies, change_policies, forget_latches
from tests.builders import make_account

pytestmark = pytest.mark.django_db


def test_policies_are_stored_and_nothing_else() -> None:
    account = make_account()
    policies = Policies(BodyPolicy.RECENT, 7, 10_000, 3, "gmail", 5_000)
    Account.objects.filter(pk=account.pk).update(display_name="changed meanwhile")
    change_policies(account_id=account.pk, policies=policies)
    account.refresh_from_db()
    assert Policies.of(account) == policies
    assert account.display_name == "changed meanwhile"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"body_policy": "some"}, "body_policy"),
        ({"body_days": -1}, "body_days"),
        ({"connection_limit": 0}, "connection limit"),
        ({"quota_bytes": -1}, "quota"),
    ],
)
def test_refusals(change: dict[str, object], complaint: str) -> None:
    account = make_account()
    policies: Policies = replace(Policies.of(account), **change)  # type: ignore[arg-type] # wrong on purpose
    with pytest.raises(InvalidValue, match=complaint):
        change_policies(account_id=account.pk, policies=policies)
    account.refresh_from_db()
    assert Policies.of(account) == Policies.default()


def test_changes_are_told_by_name() -> None:
    before = Policies.default()
    after = replace(before, body_days=7, daily_bytes=5)
    assert after.changes(before) == {"body_days": "7", "daily_bytes": "5"}
    assert before.changes(after)["daily_bytes"] == ""


def test_latches_are_forgotten() -> None:
    account = make_account()
    Account.objects.update(latches=["IDLE"], latched_at=timezone.now())
    forget_latches(account_id=account.pk)
    account.refresh_from_db()
    assert (account.latches, account.latched_at) == ([], None)
