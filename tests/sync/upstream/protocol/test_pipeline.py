"""Two commands in one round trip: what is sent, and whose answer is whose."""

from __future__ import annotations

import pytest

from sync.upstream.errors import CommandNo
from sync.upstream.protocol import fetch, idle, selecting
from sync.upstream.protocol.pipeline import second_of, together
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.session import Session
from sync.upstream.values import FetchedMessage
from tests.sync.upstream.protocol.steps import run, session

EXAMINED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\nA%04d OK [READ-ONLY] done\r\n"
FETCHED = b"* 2 FETCH (UID 5 BODY[] {5}\r\nhello)\r\nA%04d OK done\r\n"


def body(open_session: Session, taken: list[FetchedMessage]) -> Steps[None]:
    return fetch.uid_fetch(open_session, [5], b"(BODY.PEEK[])", taken.append, None)


def test_a_fetch_right_behind_the_end_of_idle() -> None:
    idling, sent, taken = session("IDLE"), list[bytes](), list[FetchedMessage]()
    run(idle.wait(idling), [b"+ idling\r\n", b"* 4 EXISTS\r\n"])
    assert idling.idle_tag == b"A0001"
    answers = [b"* 5 EXISTS\r\nA0001 OK idle ended\r\n", FETCHED % 2]
    run(second_of(together(idling.end_idle(), body(idling, taken))), answers, sent)
    assert sent == [b"DONE\r\nA0002 UID FETCH 5 (BODY.PEEK[])\r\n"]
    assert [message.sections for message in taken] == [{b"": b"hello"}]
    assert [event.number for event in idling.pending] == [5]


def test_another_mailbox_and_its_message() -> None:
    fresh, sent, taken = session(), list[bytes](), list[FetchedMessage]()
    examine = selecting.select(fresh, b"Archive", read_only=True, resync=None)
    selected, _ = run(together(examine, body(fresh, taken)), [EXAMINED % 1, FETCHED % 2], sent)
    assert sent == [b"A0001 EXAMINE Archive\r\nA0002 UID FETCH 5 (BODY.PEEK[])\r\n"]
    assert selected.uidvalidity == 7
    assert len(taken) == 1


def test_when_the_first_is_refused_the_second_is_read_to_its_end() -> None:
    fresh, taken = session(), list[FetchedMessage]()
    examine = selecting.select(fresh, b"Archive", read_only=True, resync=None)
    answers = [b"A0001 NO no such mailbox\r\n", b"A0002 BAD no mailbox selected\r\n", b"A0003 OK done\r\n"]
    incoming = iter(answers)
    with pytest.raises(CommandNo, match="no such mailbox"):
        run(together(examine, body(fresh, taken)), [next(incoming), next(incoming)])
    assert run(fresh.command("NOOP"), incoming).condition == b"OK"


def test_a_name_that_needs_a_literal_is_sent_by_itself() -> None:
    fresh, sent, taken = session(), list[bytes](), list[FetchedMessage]()
    examine = selecting.select(fresh, b"Entw\xc3\xbcrfe", read_only=True, resync=None)
    run(together(examine, body(fresh, taken)), [b"+ go\r\n", EXAMINED % 1, FETCHED % 2], sent)
    assert sent[-1] == b"A0002 UID FETCH 5 (BODY.PEEK[])\r\n"
    assert len(taken) == 1
