"""QRESYNC and CONDSTORE: what changed since the last time, in one command; and servers that only say that they can."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator

import pytest

from mailcache.wire.number_set import NumberSet
from sync.upstream.errors import NotOffered, ProtocolViolation
from sync.upstream.protocol import selecting
from sync.upstream.values import FetchedMessage, IdleKind, Resync, SelectedMailbox
from tests.fakes.scripted_imap import Answer
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.answers import offering
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, fetched
from tests.sync.upstream.protocol.steps import run, session

MESSAGE = b"Subject: x\r\n\r\ny\r\n"
KNOWN = Resync(7, 90)
QRESYNC = offering(b"ENABLE", b"QRESYNC", b"CONDSTORE") | {"ENABLE": b"* ENABLED QRESYNC\r\n{tag} OK done\r\n"}
OPENED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n"
END = b"{tag} OK [READ-ONLY] done\r\n"


@pytest.fixture
def other(dovecot: Dovecot, upstream_user: str) -> Iterator[imaplib.IMAP4]:
    """Another client of the same account, with five messages in INBOX."""
    for _ in range(5):
        dovecot.deliver(upstream_user, MESSAGE)
    with dovecot.login(upstream_user) as plain:
        plain.select("INBOX")
        yield plain


def known(mailbox: SelectedMailbox) -> Resync:
    """Return what is to be remembered of a mailbox."""
    assert mailbox.uidvalidity
    assert mailbox.highestmodseq
    return Resync(mailbox.uidvalidity, mailbox.highestmodseq)


def test_dovecot_tells_what_happened_since(
    client: Client, other: imaplib.IMAP4, dovecot: Dovecot, upstream_user: str
) -> None:
    assert client.enabled >= {"QRESYNC"}
    before = known(client.examine(b"INBOX"))
    unchanged = client.examine(b"INBOX", resync=before)
    assert (unchanged.resynced, unchanged.vanished, unchanged.changed) == (True, NumberSet(), ())

    other.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
    other.uid("STORE", "3:4", "+FLAGS", "(\\Deleted)")
    other.expunge()
    dovecot.deliver(upstream_user, MESSAGE, flags=("\\Seen",))
    commands = client.statistics.commands
    after = client.examine(b"INBOX", resync=before)

    assert client.statistics.commands == commands + 1
    assert after.resynced
    assert after.vanished & NumberSet([(1, 6)]) == NumberSet([(3, 4)])
    assert {message.uid: set(message.flags or ()) - {"\\Recent"} for message in after.changed} == {
        2: {"\\Flagged"},
        6: {"\\Seen"},
    }
    assert all(message.modseq and message.modseq > before.modseq for message in after.changed)
    assert after.exists == 4


def test_dovecot_tells_of_a_set(client: Client, other: imaplib.IMAP4) -> None:
    before = known(client.examine(b"INBOX"))
    other.uid("STORE", "2", "+FLAGS", "(\\Flagged)")
    other.uid("STORE", "3", "+FLAGS", "(\\Deleted)")
    other.expunge()
    client.noop()
    messages: list[FetchedMessage] = []

    gone = client.uid_fetch_set(
        b"1:*", b"(FLAGS)", on_message=messages.append, changed_since=before.modseq, vanished=True
    )
    assert gone & NumberSet([(1, 5)]) == NumberSet([(3, 3)])
    assert [(message.uid, message.flags) for message in messages] == [(2, ("\\Flagged",))]

    messages.clear()
    assert client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=messages.append) == NumberSet()
    assert [message.uid for message in messages] == [1, 2, 4, 5]


def test_dovecot_announces_uids_that_vanish(client: Client, other: imaplib.IMAP4) -> None:
    client.examine(b"INBOX")
    other.uid("STORE", "2:3", "+FLAGS", "(\\Deleted)")
    other.expunge()

    gone = next(event.vanished for event in client.idle(seconds=30) if event.kind is IdleKind.VANISHED)

    assert gone == NumberSet([(2, 3)])


def test_another_uidvalidity_answers_nothing(script: Script) -> None:
    changed = b"* VANISHED (EARLIER) 1:2\r\n* 1 FETCH (UID 3 FLAGS () MODSEQ (95))\r\n"
    server, client = script(QRESYNC | {"EXAMINE": OPENED + changed + END})

    assert client.examine(b"INBOX", resync=KNOWN).vanished == NumberSet([(1, 2)])
    other = client.examine(b"INBOX", resync=Resync(8, 90))
    assert (other.resynced, other.vanished, other.changed) == (False, NumberSet(), ())
    assert server.commands[-2:] == [b"EXAMINE INBOX (QRESYNC (7 90))", b"EXAMINE INBOX (QRESYNC (8 90))"]


@pytest.mark.parametrize(
    "told",
    [
        b"* VANISHED (EARLIER) 1:x\r\n",
        b"* VANISHED (EARLIER) 0:5\r\n",
        b"* VANISHED (EARLIER) 1:*\r\n",
        b"* 1 FETCH (UID 0 FLAGS ())\r\n",
        b"* 1 FETCH (FLAGS (\\Seen))\r\n",
        b"* 1 FETCH (UID 5 MODSEQ (95))\r\n",
        b"* 1 FETCH (UID 5 FLAGS (\r\n",
        b"* OK [NOMODSEQ] none\r\n",
    ],
)
def test_an_answer_that_is_not_whole_is_none(script: Script, told: bytes) -> None:
    _, client = script(QRESYNC | {"EXAMINE": OPENED + b"* 2 FETCH (UID 6 FLAGS ())\r\n" + told + END})

    mailbox = client.examine(b"INBOX", resync=KNOWN)

    assert (mailbox.resynced, mailbox.vanished, mailbox.changed) == (False, NumberSet(), ())
    assert mailbox.exists == 3


def test_four_thousand_million_vanished_uids_cost_nothing(script: Script) -> None:
    _, client = script(QRESYNC | {"EXAMINE": OPENED + b"* VANISHED (EARLIER) 1:4294967295\r\n" + END})

    vanished = client.examine(b"INBOX", resync=KNOWN).vanished
    assert vanished.ranges == ((1, 4294967295),)


def test_too_many_changes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "MAX_CHANGED", 3)
    monkeypatch.setattr(selecting, "MAX_VANISHED_RANGES", 3)
    for told in (b"".join(b"* 1 FETCH (UID %d FLAGS ())\r\n" % uid for uid in range(1, 5)), b"* VANISHED 1,3,5,7\r\n"):
        state = session("QRESYNC")
        state.enabled = frozenset({"QRESYNC"})
        answer = (OPENED + told + END).replace(b"{tag}", b"A0001")
        mailbox = run(selecting.select(state, b"x", read_only=True, resync=KNOWN), [answer])

        assert (mailbox.resynced, mailbox.vanished, mailbox.changed) == (False, NumberSet(), ())


def test_what_came_before_closed_is_of_another_mailbox(script: Script) -> None:
    before = b"* 9 EXISTS\r\n* VANISHED 1:2\r\n* 4 FETCH (UID 4 FLAGS (old))\r\n* OK [HIGHESTMODSEQ 500] x\r\n"
    answer = before + b"* OK [CLOSED] closed\r\n" + OPENED + b"* 1 FETCH (UID 8 FLAGS (new))\r\n" + END
    _, client = script(QRESYNC | {"EXAMINE": answer})

    mailbox = client.examine(b"INBOX", resync=KNOWN)

    assert (mailbox.exists, mailbox.highestmodseq, mailbox.vanished) == (3, 99, NumberSet())
    assert [message.uid for message in mailbox.changed] == [8]
    assert client.noop() == []


@pytest.mark.parametrize(
    ("enable", "refused"),
    [
        (b"{tag} OK done\r\n", {"QRESYNC"}),
        (b"* ENABLED\r\n{tag} OK done\r\n", {"QRESYNC"}),
        (b"* ENABLED CONDSTORE\r\n{tag} OK done\r\n", {"QRESYNC"}),
        (b"{tag} BAD no\r\n", {"ENABLE"}),
        (b"{tag} NO [UNAVAILABLE] later\r\n", set()),
    ],
)
def test_qresync_is_used_only_where_enabled_names_it(script: Script, enable: bytes, refused: set[str]) -> None:
    # Quirk 22: iCloud.
    server, client = script(QRESYNC | {"ENABLE": enable, "EXAMINE": OPENED + b"* VANISHED (EARLIER) 1:9\r\n" + END})

    mailbox = client.examine(b"INBOX", resync=KNOWN)

    assert (mailbox.resynced, mailbox.vanished) == (False, NumberSet())
    assert server.commands[-1] == b"EXAMINE INBOX (CONDSTORE)"
    assert client.refused == refused
    with pytest.raises(NotOffered):
        client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=print, changed_since=5, vanished=True)
    assert not client.poisoned


def test_qresync_may_be_enabled_and_refused(script: Script) -> None:
    answers: dict[str, Answer | list[Answer]] = {"EXAMINE": [b"{tag} BAD what\r\n", OPENED + END]}
    server, client = script(QRESYNC | answers)

    assert client.examine(b"INBOX", resync=KNOWN).exists == 3
    assert client.examine(b"INBOX", resync=KNOWN).exists == 3
    assert client.refused == {"QRESYNC"}
    assert server.commands[-3:] == [
        b"EXAMINE INBOX (QRESYNC (7 90))",
        b"EXAMINE INBOX (CONDSTORE)",
        b"EXAMINE INBOX (CONDSTORE)",
    ]


def test_a_mailbox_that_cannot_be_opened_is_no_proof_against_qresync(script: Script) -> None:
    _, client = script(QRESYNC | {"EXAMINE": b"{tag} BAD Command Argument Error. 11\r\n"})

    with pytest.raises(Exception, match="Argument Error"):
        client.examine(b"INBOX", resync=KNOWN)
    assert client.refused == set()


def test_gmail_has_condstore_only(script: Script) -> None:
    # Quirk 3.
    fetch = b"* 1 FETCH (UID 4 FLAGS (a) MODSEQ (12))\r\n{tag} OK done\r\n"
    server, client = script(offering(b"ENABLE", b"CONDSTORE") | {"EXAMINE": OPENED + END, "UID FETCH": fetch})
    messages: list[FetchedMessage] = []

    assert client.examine(b"INBOX", resync=KNOWN).highestmodseq == 99
    assert client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=messages.append, changed_since=5) == NumberSet()

    assert [message.modseq for message in messages] == [12]
    assert server.commands[-2:] == [b"EXAMINE INBOX (CONDSTORE)", b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 5)"]
    with pytest.raises(NotOffered):
        client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=print, changed_since=5, vanished=True)


def test_vanished_earlier_of_a_fetch(script: Script) -> None:
    told = (
        b"* VANISHED (EARLIER) 1:4294967295\r\n* VANISHED 7\r\n* 1 FETCH (UID 5 FLAGS () MODSEQ (8))\r\n"
        b"* 2 FETCH (UID 500 FLAGS () MODSEQ (8))\r\n{tag} OK done\r\n"
    )
    _, client = script(QRESYNC | {"UID FETCH": told})
    messages: list[FetchedMessage] = []

    gone = client.uid_fetch_set(b"1:99", b"(FLAGS)", on_message=messages.append, changed_since=5, vanished=True)

    assert gone.ranges == ((1, 4294967295),)
    assert [message.uid for message in messages] == [5]
    assert [event.kind for event in client.noop()] == [IdleKind.VANISHED, IdleKind.FETCH]


def test_a_vanished_that_cannot_be_read_is_a_fault(script: Script) -> None:
    _, client = script(QRESYNC | {"UID FETCH": b"* VANISHED (EARLIER) 1:x\r\n{tag} OK done\r\n"})

    with pytest.raises(ProtocolViolation):
        client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=print, changed_since=5, vanished=True)
    assert client.poisoned


def test_vanished_while_fetching_is_announced(script: Script) -> None:
    _, client = script(QRESYNC | {"UID FETCH": b"* VANISHED 2,4:5\r\n* VANISHED x\r\n{tag} OK done\r\n"})

    assert fetched(client, [2], b"(FLAGS)") == []
    assert [(event.kind, event.vanished) for event in client.noop()] == [
        (IdleKind.VANISHED, NumberSet([(2, 2), (4, 5)])),
        (IdleKind.VANISHED, NumberSet()),
    ]


def test_the_last_message_is_in_every_set_that_ends_with_a_star(script: Script) -> None:
    _, client = script({"UID FETCH": b"* 3 FETCH (UID 200 FLAGS ())\r\n{tag} OK done\r\n"})
    messages: list[FetchedMessage] = []

    client.uid_fetch_set(b"300:*", b"(FLAGS)", on_message=messages.append)
    assert [message.uid for message in messages] == [200]
