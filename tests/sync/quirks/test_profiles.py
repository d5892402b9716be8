"""Quirks that a provider's profile answers: with it the mirror gets in step, without it the same test fails."""

from __future__ import annotations

import pytest

from mailcache.models import AccountState, BodyPolicy, Listing
from sync.account_run import SliceEnd, run_account_until_done
from sync.audit import AuditEnd, audit_account
from tests.builders import message_bytes
from tests.fakes.quirky.box import Box
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import OFFERED
from tests.sync.mirror import mirrored
from tests.sync.quirks.outcomes import (
    Quirky,
    assert_in_step,
    assert_stays_in_step,
    let_time_pass,
    needs_profile,
    uids_here,
)

pytestmark = pytest.mark.django_db(transaction=True)

WITH_QRESYNC = OFFERED + b" QRESYNC"


@needs_profile("gmail")
def test_who_is_throttled_slows_down(quirky: Quirky, profile: str) -> None:
    """Quirk 5."""
    server, account = quirky(Quirk.THROTTLED_TEXT_5, profile=profile)

    assert_in_step(server, account)
    assert server.hung_up == []


@needs_profile("office365")
def test_a_login_that_says_ok_is_put_to_the_test(quirky: Quirky, profile: str) -> None:
    """Quirk 11: one command shows it; the account is left alone for a while, and its password not given up."""
    server, account = quirky(Quirk.NOT_CONNECTED_11, profile=profile)

    assert run_account_until_done(account.pk) is SliceEnd.FAILED
    account.refresh_from_db()
    assert account.state == AccountState.FAILING
    logins = [number for number, command in enumerate(server.commands) if command.startswith(b"LOGIN")]
    assert [server.commands[number + 1 :] for number in logins] == [[b"NAMESPACE"]]


@needs_profile("office365")
def test_a_message_that_is_rewritten_before_it_comes(quirky: Quirky, profile: str) -> None:
    """Quirk 15: a new Message-ID between the header and the body does not make it another message."""
    server, account = quirky(profile=profile)
    account.body_policy = BodyPolicy.ON_DEMAND
    account.save(update_fields=["body_policy"])
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    assert Listing.objects.filter(account=account, header__isnull=False).count() == 8

    server.inbox.messages[4].data = message_bytes("number 4")
    account.body_policy = BodyPolicy.ALL
    account.save(update_fields=["body_policy"])
    assert_in_step(server, account)


@needs_profile("office365")
def test_id_is_nil(quirky: Quirky, profile: str) -> None:
    """Quirk 17."""
    server, account = quirky(Quirk.ID_LIST_17, profile=profile, offered=OFFERED + b" ID")

    run_account_until_done(account.pk)
    assert_in_step(server, account)
    assert server.hung_up == []


@needs_profile("icloud")
def test_mail_does_not_disappear_because_of_vanished(quirky: Quirky, profile: str) -> None:
    """Quirk 22."""
    server, account = quirky(Quirk.VANISHED_LIES_22, profile=profile, offered=WITH_QRESYNC)

    assert_in_step(server, account)
    server.inbox.flag(3, "\\Seen")
    assert_in_step(server, account)


@needs_profile("yahoo")
def test_all_of_a_large_mailbox_is_seen(quirky: Quirky, profile: str) -> None:
    """Quirk 25."""
    server, account = quirky(Quirk.PARTIAL_VIEW_25, profile=profile, count=50, offered=OFFERED + b" UIDONLY")

    assert_stays_in_step(server, account)


@needs_profile("yahoo")
def test_another_message_is_not_taken_for_the_one_that_was_asked_for(quirky: Quirky, profile: str) -> None:
    """Quirk 26."""
    server, account = quirky(Quirk.WRONG_MESSAGE_26, profile=profile)

    assert run_account_until_done(account.pk) is SliceEnd.DONE
    let_time_pass(account)
    assert_in_step(server, account)


@needs_profile("yahoo")
def test_ranges_are_narrow(quirky: Quirky, profile: str) -> None:
    """Quirk 27: a few messages, far apart, whose flags are read and changed."""
    server, account = quirky(Quirk.NARROW_RANGES_27, profile=profile, count=0)
    server.inbox.deliver(uids=range(1, 40_000, 900))

    assert_stays_in_step(server, account)
    server.inbox.deliver(1)
    server.inbox.flag(40_000 // 900 * 900 + 1, "\\Seen")
    assert_in_step(server, account)
    assert audit_account(account.pk) is AuditEnd.AGREED


@needs_profile("coremail")
def test_id_comes_before_select(quirky: Quirky, profile: str) -> None:
    """Quirk 28."""
    server, account = quirky(Quirk.ID_FIRST_28, Quirk.EMPTY_STATUS_28, profile=profile, offered=b"IMAP4rev1")

    assert_stays_in_step(server, account)


@needs_profile("zimbra")
def test_news_of_another_mailbox_is_not_taken_for_this_one(quirky: Quirky, profile: str) -> None:
    """Quirk 37: without CLOSED, EXISTS of the larger mailbox stands in the answer for the smaller one."""
    server, account = quirky(Quirk.NO_CLOSED_37, profile=profile, offered=WITH_QRESYNC)
    server.mailboxes[b"Small"] = Box()
    server.mailboxes[b"Small"].deliver(2)

    assert_stays_in_step(server, account)


@needs_profile("courier")
def test_a_mailbox_is_selected_because_examine_lies(quirky: Quirky, profile: str) -> None:
    """Quirk 38."""
    server, account = quirky(Quirk.EXAMINE_LIES_38, profile=profile, offered=b"IMAP4rev1")

    assert_in_step(server, account)
    uids = uids_here(account)
    for _ in range(5):
        assert_in_step(server, account)
    assert uids_here(account) == uids


@needs_profile("davmail")
def test_sizes_are_asked_of_few(quirky: Quirky, profile: str) -> None:
    """Quirk 39."""
    server, account = quirky(Quirk.DEAR_SIZES_39, Quirk.DOUBLE_SPACE_39, profile=profile, count=250)

    assert_in_step(server, account)
    assert server.hung_up == []


@needs_profile("davmail")
def test_sizes_are_asked_once(quirky: Quirky, profile: str) -> None:
    """Quirk 39: flags of what is here are read without."""
    server, account = quirky(profile=profile, offered=b"IMAP4rev1")
    assert_in_step(server, account)

    server.commands.clear()
    server.inbox.deliver(1)
    assert_in_step(server, account)
    assert [command.split()[2] for command in server.asked(b"SIZE")] == [b"9"]


@needs_profile("hmail")
def test_search_is_not_tried_where_there_is_none(quirky: Quirky, profile: str) -> None:
    """Quirk 40; others find out, and remember it."""
    server, account = quirky(Quirk.NO_SEARCH_40, profile=profile, offered=b"IMAP4rev1")

    assert_in_step(server, account)
    assert server.asked(b"UID SEARCH") == []


@needs_profile("office365")
def test_sizes_that_vary_are_no_other_numbering(quirky: Quirky, profile: str) -> None:
    """Quirks 15 and 41: known messages show that UIDs mean the same, but not by a size that never was exact."""
    server, account = quirky(Quirk.SIZES_VARY_41, profile=profile)

    assert_in_step(server, account)
    for _ in range(5):
        run_account_until_done(account.pk)
    assert account.mailboxes.get().upstream_uidvalidity == 1
    assert len(mirrored(account)["INBOX"]) == 8
