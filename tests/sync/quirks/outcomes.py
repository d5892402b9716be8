"""What the quirks' tests assert, and the profiles without which it fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

import pytest
from django.db.models import F

from mailcache.models import Account, Listing, Message
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import OFFERED, QuirkyImap
from tests.sync.mirror import Messages, mirrored


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
    # A row that had to be asked for again comes later here than there.
    assert in_any_order(mirrored(account)) == in_any_order(server.holds())
    assert list(Checkpoint.objects.filter(account=account).exclude(reason="").values_list("reason", flat=True)) == []


def assert_stays_in_step(server: QuirkyImap, account: Account) -> None:
    """Do so, then again after new mail, a changed flag and a deletion: clients keep their UIDs, bytes come once."""
    assert_in_step(server, account)
    uids = uids_here(account)
    first, second = sorted(server.inbox.messages)[:2]
    server.inbox.deliver(2)
    server.inbox.flag(second, "\\Seen", "\\Flagged")
    server.inbox.expunge(first)
    let_time_pass(account)
    server.commands.clear()
    assert_in_step(server, account)
    assert len(uids & uids_here(account)) == len(uids) - 1
    asked = NumberSet.parse(",".join(command.split()[2].decode() for command in server.asked(b"BODY.PEEK[]")))
    assert list(asked) == sorted(server.inbox.messages)[-2:]


def in_any_order(messages: Messages) -> Messages:
    """Return messages without regard to the order of their UIDs."""
    return {name: sorted(held, key=lambda message: message[0]) for name, held in messages.items()}


def uids_here(account: Account) -> set[tuple[int, int]]:
    """Return each message of INBOX with the UID that clients know it by."""
    return set(Message.objects.filter(account=account, mailbox__name="INBOX").values_list("pk", "uid"))


def let_time_pass(account: Account) -> None:
    """Make everything due that was put off, flags included."""
    day = timedelta(days=1)
    Checkpoint.objects.filter(account=account).update(retry_at=None, flags_compared_at=F("flags_compared_at") - day)
    Listing.objects.filter(account=account).update(retry_at=None)
