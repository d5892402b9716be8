"""Quirks that every upstream is forgiven, whatever its profile: the mirror gets in step and stays there.

Each is told by the note to concern "any" server, or costs nothing to expect of all. What a whole sync must not do at
such a server hangs up on it, or is BAD.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from mailcache.models import AccountState, Listing, MailboxRole, Message
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from sync.profiles import GENERIC
from tests.fakes.quirky.box import Box
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import OFFERED
from tests.sync.mirror import mirrored
from tests.sync.quirks.outcomes import Quirky, assert_in_step, assert_stays_in_step, let_time_pass, uids_here
from tests.sync.tiers import use_profile

pytestmark = pytest.mark.django_db(transaction=True)

WITH_QRESYNC = OFFERED + b" QRESYNC"


@pytest.mark.parametrize(
    ("offered", "quirks"),
    [
        (OFFERED, []),
        (WITH_QRESYNC, []),
        (b"IMAP4rev1", []),
        (OFFERED, [Quirk.SEQ_ABOVE_EXISTS_14, Quirk.UNORDERED_26]),
        (b"IMAP4rev1", [Quirk.SEQ_ABOVE_EXISTS_14, Quirk.UNORDERED_26]),
        (b"IMAP4rev1", [Quirk.PARTIAL_20, Quirk.RFC822_EMPTY_23, Quirk.ENVELOPE_31, Quirk.SEARCH_LIMITS_33]),
        (b"IMAP4rev1", [Quirk.CAPABILITY_REWRITTEN_21]),
        (WITH_QRESYNC, [Quirk.NOT_ENABLED_22]),
        (OFFERED + b" LIST-STATUS", [Quirk.EMPTY_STATUS_28]),
        (b"IMAP4rev1", [Quirk.DOUBLE_SPACE_39]),
        (b"IMAP4rev1", [Quirk.NO_SEARCH_40]),
        (OFFERED, [Quirk.UIDVALIDITY_ZERO_41]),
        (b"IMAP4rev1", [Quirk.UIDVALIDITY_MISSING_41]),
        (b"IMAP4rev1", [Quirk.UID_ZERO_41]),
        (WITH_QRESYNC, [Quirk.REJECTS_OFFERED_42]),
        (OFFERED, [Quirk.ROWS_LACK_43]),
        (b"IMAP4rev1", [Quirk.UNSOLICITED_43, Quirk.NUL_PADDING_43]),
        (OFFERED, [Quirk.BODY_NIL_43]),
        (WITH_QRESYNC, [Quirk.OTHER_CAPABILITIES_45]),
    ],
)
def test_a_mirror_stays_in_step(quirky: Quirky, offered: bytes, quirks: list[Quirk]) -> None:
    server, account = quirky(*quirks, offered=offered)

    assert_stays_in_step(server, account)
    assert server.hung_up == []


def test_lines_are_short_and_sets_ascend_in_a_scattered_mailbox(quirky: Quirky) -> None:
    """Quirks 18, 32 and 42: UIDs of ten digits, none next to another."""
    server, account = quirky(Quirk.LONG_LINES_18, Quirk.ASCENDING_32, count=0, offered=b"IMAP4rev1")
    server.inbox.deliver(uids=range(4_000_000_001, 4_000_001_401, 2))

    assert_in_step(server, account)
    assert server.hung_up == []


@pytest.mark.parametrize("quirk", [Quirk.BARE_LINE_17, Quirk.LIMIT_26, Quirk.UNAVAILABLE_23, Quirk.READ_ONLY_NO_37])
def test_what_passes_is_tried_again(quirky: Quirky, quirk: Quirk) -> None:
    server, account = quirky(quirk)

    run_account_until_done(account.pk)
    account.refresh_from_db()
    assert account.state in (AccountState.FAILING, AccountState.ACTIVE)
    let_time_pass(account)
    assert_stays_in_step(server, account)


def test_a_limit_ends_the_run_and_its_time_is_obeyed(quirky: Quirky) -> None:
    """Quirk 12: after so many milliseconds, and not one command before."""
    server, account = quirky(Quirk.BACKOFF_12)

    assert run_account_until_done(account.pk) is SliceEnd.FAILED
    account.refresh_from_db()
    assert len(server.asked(b"UID FETCH")) == 1
    assert account.next_sync_at > timezone.now() + timedelta(seconds=110)


def test_rev2_is_used_where_it_is_allowed_only(quirky: Quirky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quirk 13: an allow-list, which no provider is on; whoever were on it would break this server."""
    server, account = quirky(Quirk.REV2_BREAKS_13, offered=b"IMAP4rev1")
    assert_stays_in_step(server, account)

    use_profile(monkeypatch, account, replace(GENERIC, name="allowed", rev2=True))
    assert run_account_until_done(account.pk) is SliceEnd.FAILED
    assert server.hung_up


def test_the_first_bytes_are_those_of_a_message(quirky: Quirky) -> None:
    """Quirk 15: Exchange adds a header when a message is flagged, which makes it another size, too."""
    server, account = quirky(offered=b"IMAP4rev1")
    assert_in_step(server, account)
    first = mirrored(account)["INBOX"]

    mail = server.inbox.messages[4]
    mail.data = b"X-Message-Flag: Follow up\r\n" + mail.data
    server.inbox.flag(4, "\\Flagged")
    let_time_pass(account)
    server.commands.clear()
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    assert [data for data, _ in mirrored(account)["INBOX"]] == [data for data, _ in first]
    assert "\\Flagged" in mirrored(account)["INBOX"][3][1]
    assert server.asked(b"BODY") == []


@pytest.mark.parametrize(("quirk", "parked"), [(Quirk.NO_BODY_16, [2, 4]), (Quirk.STUCK_26, [3])])
def test_messages_without_a_body_block_nobody(quirky: Quirky, quirk: Quirk, parked: list[int]) -> None:
    server, account = quirky(quirk)

    assert run_account_until_done(account.pk) is SliceEnd.DONE
    waiting = Listing.objects.filter(account=account)
    assert list(waiting.order_by("uid").values_list("uid", flat=True)) == parked
    assert all(row.parked_reason and row.retry_at for row in waiting)
    here = Message.objects.filter(account=account, content__isnull=False)
    assert set(here.values_list("uid", flat=True)) == set(server.inbox.messages) - set(parked)

    server.commands.clear()
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    assert server.asked(b"BODY.PEEK[]") == [], "set aside until it is time"

    server.quirks = frozenset()
    let_time_pass(account)
    assert_in_step(server, account)


def test_the_root_of_a_shared_namespace_stops_nobody(quirky: Quirky) -> None:
    """Quirk 36: it is left alone, and its reason shown."""
    server, account = quirky(Quirk.SHARED_ROOT_36)
    server.mailboxes[b"Archive"] = Box()
    server.mailboxes[b"Archive"].deliver(3)

    assert run_account_until_done(account.pk) is SliceEnd.DONE
    assert mirrored(account) == server.holds() | {"Shared": []}
    root = Checkpoint.objects.exclude(reason="").get()
    assert (root.mailbox.name, root.retry_at is not None) == ("Shared", True)
    assert len(server.asked(b"EXAMINE", b"Shared")) == 1


def test_special_uses_are_asked_for(quirky: Quirky) -> None:
    """Quirk 36: a name that nobody would recognise, and LIST RETURN."""
    server, account = quirky(Quirk.USES_LEFT_OUT_36)
    server.mailboxes[b"Elsewhere"] = Box(attributes=b"\\Sent")

    assert_in_step(server, account)
    assert account.mailboxes.get(name="Elsewhere").role == MailboxRole.SENT


def test_names_tell_roles_where_special_use_is_unknown(quirky: Quirky) -> None:
    """Quirk 10: none of the extensions, and a German server."""
    server, account = quirky(offered=b"IMAP4rev1")
    server.mailboxes |= {b"Gesendete Elemente": Box(), b"Gel&APY-schte Elemente": Box(), b"Reports ": Box()}
    server.mailboxes[b"Reports "].deliver(2)

    assert run_account_until_done(account.pk) is SliceEnd.DONE
    roles = account.mailboxes.values_list("upstream_name", "role")
    assert {bytes(name or b""): role for name, role in roles} == {
        b"INBOX": "inbox", b"Gesendete Elemente": "sent", b"Gel&APY-schte Elemente": "trash", b"Reports ": "",
    }  # fmt: skip
    assert Message.objects.filter(mailbox__upstream_name=b"Reports ", content__isnull=False).count() == 2


def test_two_connections_are_enough_where_there_are_no_more(quirky: Quirky) -> None:
    """Quirks 4 and 36: the host refuses the third; the account goes on with fewer and tells why."""
    server, account = quirky(Quirk.FEW_CONNECTIONS_36, count=0)
    account.connection_limit = 8
    account.save(update_fields=["connection_limit"])
    server.inbox.deliver(600, data=b"Subject: much\r\n\r\n" + b"0123456789" * 200)

    assert_in_step(server, account)
    account.refresh_from_db()
    assert (account.state, account.failures) == (AccountState.ACTIVE, 0)
    assert account.crowded_limit in (None, 1, 2)


def test_a_mailbox_that_somebody_else_locks_is_tried_again(quirky: Quirky) -> None:
    """Quirk 37: BYE when a shared folder is opened."""
    server, account = quirky(Quirk.LOCKED_BYE_37)
    server.mailboxes[b"Locked"] = Box()
    server.mailboxes[b"Locked"].deliver(3)

    assert_in_step(server, account)


def test_the_largest_count_is_the_one_that_counts(quirky: Quirky) -> None:
    """Quirk 37: with another one the mailbox would look changed each time."""
    server, account = quirky(Quirk.SEVERAL_EXISTS_37)
    assert_stays_in_step(server, account)

    server.commands.clear()
    assert_in_step(server, account)
    assert server.asked(b"UID") == []


def test_dates_are_read_as_they_are_meant(quirky: Quirky) -> None:
    """Quirk 44: a blank or one digit for the day, and a year before the mail."""
    server, account = quirky(Quirk.ODD_DATES_44, count=3)

    assert_in_step(server, account)
    dates = Message.objects.order_by("uid").values_list("internal_date", flat=True)
    seventh, last = datetime(2024, 5, 7, 8, 30, tzinfo=UTC), datetime(2002, 5, 17, 8, 30, tzinfo=UTC)
    assert list(dates) == [seventh, last, seventh]


def test_what_was_refused_once_is_not_tried_on_the_next_connection(quirky: Quirky) -> None:
    """Quirk 42."""
    server, account = quirky(Quirk.REJECTS_OFFERED_42)
    assert_in_step(server, account)

    server.commands.clear()
    assert_stays_in_step(server, account)
    assert [command for command in server.commands if b"RETURN" in command or b"CONDSTORE" in command] == []
    account.refresh_from_db()
    assert {"CONDSTORE", "ESEARCH", "LIST-EXTENDED"} <= set(account.latches)


@pytest.mark.parametrize("changes", [[3, 2], [8, 9]])
def test_uidvalidity_that_changes_moves_nobody(quirky: Quirky, changes: list[int]) -> None:
    """Quirk 41: it falls, or it grows; the messages are known again."""
    server, account = quirky()
    assert_in_step(server, account)
    before = uids_here(account)

    for uidvalidity in changes:
        server.inbox.uidvalidity = uidvalidity
        server.commands.clear()
        assert_in_step(server, account)
        assert server.asked(b"BODY.PEEK[]") == []
    assert uids_here(account) == before
