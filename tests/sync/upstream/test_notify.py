"""NOTIFY (RFC 5465): all mailboxes announced on one connection."""

from __future__ import annotations

import pytest

from sync.upstream.endpoint import Deadlines
from sync.upstream.errors import NotOffered, ProtocolViolation
from sync.upstream.values import IdleEvent, IdleKind, MailboxStatus
from tests.fakes.scripted_imap import Answer
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.answers import offering
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client

FULL = (
    b"NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge FlagChange)) "
    b"(PERSONAL (MessageNew MessageExpunge FlagChange MailboxName))"
)
IDLES: dict[str, Answer | list[Answer]] = {
    "NOTIFY": b"{tag} OK done\r\n",
    "IDLE": b"+ idling\r\n",
    "DONE": b"{tag} OK done\r\n",
}
ANNOUNCED = (
    b'* STATUS "Lists/x" (MESSAGES 5 UIDNEXT 9 UIDVALIDITY 3 HIGHESTMODSEQ 77)\r\n'
    b'* LIST (\\NonExistent) "/" gone\r\n'
    b'* LIST () "/" "new name" ("OLDNAME" ("old name"))\r\n'
    b"* 4 EXISTS\r\n"
)


def until(client: Client, kind: IdleKind, name_raw: bytes) -> IdleEvent:
    """Return the first event of a kind that concerns a mailbox."""
    return next(event for event in client.idle(seconds=60) if (event.kind, event.name_raw) == (kind, name_raw))


def test_dovecot_tells_of_other_mailboxes(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    client.examine(b"INBOX")
    assert client.notify()
    dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n", mailbox="Sent")
    status = until(client, IdleKind.STATUS, b"Sent").status
    assert status is not None
    assert (status.messages, status.uidnext) == (1, 2)

    with dovecot.login(upstream_user) as plain:
        plain.create("Made")
        listed = until(client, IdleKind.LIST, b"Made").listed
        assert listed is not None
        assert listed.name == "Made"
    dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n")
    assert until(client, IdleKind.EXISTS, b"").number == 1


def test_dovecot_tells_the_state_at_once(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, b"Subject: x\r\n\r\n", mailbox="Archive")
    assert client.notify(status=True)

    told = {event.name_raw: event.status for event in client.noop() if event.kind is IdleKind.STATUS}
    status = told[b"Archive"]
    assert status is not None
    assert (status.messages, status.uidnext) == (1, 2)


@pytest.mark.parametrize("idles", [True, False])
def test_events_carry_their_mailbox(script: Script, idles: bool) -> None:
    offered = offering(b"NOTIFY", b"IDLE") if idles else offering(b"NOTIFY")
    server, client = script(offered | IDLES)
    assert client.notify()
    waiting = client.idle(seconds=30)
    if idles:
        server.answer("IDLE", b"+ idling\r\n" + ANNOUNCED)
    else:
        server.say(ANNOUNCED)

    status, gone, renamed, exists = (next(waiting) for _ in range(4))

    assert (status.kind, status.name_raw) == (IdleKind.STATUS, b"Lists/x")
    assert status.status == MailboxStatus(5, 9, 3, 77)
    assert (gone.kind, gone.name_raw) == (IdleKind.LIST, b"gone")
    assert gone.listed is not None
    assert "\\NonExistent" in gone.listed.attributes
    assert renamed.listed is not None
    assert (renamed.name_raw, renamed.listed.old_name_raw) == (b"new name", b"old name")
    assert (exists.kind, exists.number) == (IdleKind.EXISTS, 4)
    assert FULL in server.commands
    assert (b"IDLE" in server.commands) is idles


def test_without_idle_the_connection_is_kept_alive(script: Script) -> None:
    alive: dict[str, Answer | list[Answer]] = {"NOOP": [b"{tag} OK\r\n", b"* STATUS x (MESSAGES 1)\r\n{tag} OK\r\n"]}
    server, client = script(offering(b"NOTIFY") | IDLES | alive, deadlines=Deadlines(idle=0.1))
    client.notify()

    assert next(client.idle(seconds=30)).name_raw == b"x"
    assert server.commands[-3:] == [FULL, b"NOOP", b"NOOP"]


def test_waiting_ends_with_its_time_and_goes_on(script: Script) -> None:
    server, client = script(offering(b"NOTIFY") | IDLES)
    client.notify()

    assert list(client.idle(seconds=0.05)) == []
    assert client.noop() == []
    server.say(b"* 5 EXISTS\r\n")
    assert next(client.idle(seconds=30)).number == 5


def test_other_mailboxes_are_not_forgotten_by_opening_one(script: Script) -> None:
    noop = b"* STATUS x (MESSAGES 1)\r\n* 9 EXISTS\r\n{tag} OK\r\n"
    _, client = script(offering(b"NOTIFY") | IDLES | {"UID SEARCH": b"* SEARCH\r\n" + noop})
    client.uid_search()
    client.examine(b"INBOX")

    assert [event.name_raw for event in client.noop()] == [b"x"]


def test_an_overflow_is_told(script: Script) -> None:
    overflow = b"+ idling\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n"
    _, client = script(offering(b"NOTIFY", b"IDLE") | IDLES | {"IDLE": overflow})
    client.notify()

    assert next(client.idle(seconds=30)).kind is IdleKind.OVERFLOW


def test_after_an_overflow_nothing_is_waited_for_without_idle(script: Script) -> None:
    _, client = script(offering(b"NOTIFY") | IDLES | {"NOOP": b"* OK [NOTIFICATIONOVERFLOW] too much\r\n{tag} OK\r\n"})
    client.notify()

    assert [event.kind for event in client.noop()] == [IdleKind.OVERFLOW]
    with pytest.raises(NotOffered):
        next(client.idle(seconds=30))


def test_names_may_be_refused(script: Script) -> None:
    bad = b"{tag} NO [BADEVENT (MessageNew MessageExpunge FlagChange)] not these\r\n"
    server, client = script(offering(b"NOTIFY") | {"NOTIFY": [bad, b"{tag} OK done\r\n"]})

    assert client.notify()
    assert client.notify()
    assert b"MailboxName" not in server.commands[-1]
    assert len(server.commands) == server.commands.index(FULL) + 3
    assert client.refused == {"NOTIFY MailboxName"}


def test_notify_may_be_advertised_and_refused(script: Script) -> None:
    server, client = script(offering(b"NOTIFY") | {"NOTIFY": b"{tag} BAD no\r\n"})

    assert not client.notify()
    commands = len(server.commands)
    assert not client.notify()
    assert len(server.commands) == commands
    assert client.refused == {"NOTIFY"}
    _, client = script()
    assert not client.notify()


def test_a_tagged_response_while_waiting_is_a_fault(script: Script) -> None:
    server, client = script(offering(b"NOTIFY") | IDLES)
    client.notify()
    server.say(b"A0001 OK what\r\n")

    with pytest.raises(ProtocolViolation):
        next(client.idle(seconds=30))
