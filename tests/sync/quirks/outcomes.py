"""What the quirks' tests assert, and the profiles without which it fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import pytest
from django.db.models import F

from mailcache.models import Account, Listing, Message
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import OFFERED, QuirkyImap
from tests.sync.mirror import mirrored


class Quirky(Protocol):
    """The fixture ``quirky``."""

    def __call__(
        self, *quirks: Quirk, profile: str = "generic", count: int = 8, offered: bytes = OFFERED
    ) -> tuple[QuirkyImap, Account]: ...


def needs_profile(name: str, *, without: str = "generic") -> pytest.MarkDecorator:
    """Run a test with its ``profile``, and once more with that switched off, when it has to fail."""
    off = pytest.mark.xfail(strict=True, raises=AssertionError, reason=f"fails without the profile {name}, as it must")
    return pytest.mark.parametrize("profile", [name, pytest.param(without, marks=off)])


def assert_in_step(server: QuirkyImap, account: Account) -> None:
    """Sync an account and compare what is here with what the server holds."""
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    assert mirrored(account) == server.holds()
    assert list(Checkpoint.objects.filter(account=account).exclude(reason="").values_list("reason", flat=True)) == []


def assert_stays_in_step(server: QuirkyImap, account: Account) -> None:
    """Do so, then again after new mail, a changed flag and a deletion, and once more with nothing new."""
    assert_in_step(server, account)
    uids = list(account_uids(account))
    first, second = sorted(server.inbox.messages)[:2]
    server.inbox.deliver(2)
    server.inbox.flag(second, "\\Seen", "\\Flagged")
    server.inbox.expunge(first)
    let_time_pass(account)
    assert_in_step(server, account)
    assert list(account_uids(account))[: len(uids) - 1] == uids[1:], "clients have to forget what they knew"
    server.commands.clear()
    assert_in_step(server, account)
    assert server.asked(b"BODY.PEEK[]") == [], "bytes come once"


def account_uids(account: Account) -> list[int]:
    """Return the UIDs that clients know in INBOX."""
    rows = Message.objects.filter(account=account, mailbox__name="INBOX")
    return list(rows.order_by("uid").values_list("uid", flat=True))


def let_time_pass(account: Account) -> None:
    """Make everything due that was put off, flags included."""
    day = timedelta(days=1)
    Checkpoint.objects.filter(account=account).update(retry_at=None, flags_compared_at=F("flags_compared_at") - day)
    Listing.objects.filter(account=account).update(retry_at=None)
