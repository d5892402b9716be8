"""Whatever a server sends, in whatever chunks: a result or an ``UpstreamError``, and always the same one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.upstream.errors import UpstreamError
from sync.upstream.protocol import fetch, idle, mailboxes, search, selecting
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.session import Session
from sync.upstream.values import Resync
from tests.sync.upstream.protocol.steps import cut, run, session

TOKENS = st.sampled_from(
    [
        b"* ", b"1 ", b"FETCH ", b"(", b")", b"UID 5", b" ", b"FLAGS (\\Seen a)", b"FLAGS ", b"BODY[]", b"BODY[HEADER",
        b"{3}\r\nabc", b"{99}\r\n", b"{0}\r\n", b"NIL", b'"x\\"y"', b'"', b"\r\n", b"\n", b"\x00", b"\xff", b"LIST ",
        b"SEARCH 1 2", b"ESEARCH UID ALL 1:9", b"EXISTS", b"OK ", b"[UIDVALIDITY 5]", b"[", b"]", b"NO ", b"BYE ",
        b"+ ", b"A0001 OK done\r\n", b"A0001 NO bad\r\n", b"* 1 FETCH (UID 5 FLAGS ())\r\n", b"CAPABILITY X",
        b"* SEARCH 5\r\n",
        b'INTERNALDATE "01-Jan-2020 00:00:00 +0000"', b"RFC822.SIZE 7", b"ENVELOPE (", b"99999999999999999999", b"-",
        b'* LIST (\\Sent) "/" x\r\n', b"VANISHED 1:5", b"NAMESPACE ((", b"MODSEQ (5)", b"EMAILID (x)",
        b"* OK [HIGHESTMODSEQ 9] x\r\n",
        b"* OK [UIDVALIDITY 5] x\r\n", b"* VANISHED (EARLIER) 3:4\r\n", b"* VANISHED (EARLIER) ", b"UIDFETCH ",
        b"* STATUS x (MESSAGES 3)\r\n", b"STATUS x (", b"X-GM-LABELS (", b'("OLDNAME" (', b"* OK [CLOSED] x\r\n",
 b"\\", b"%",
    ]
)  # fmt: skip
STREAMS = st.lists(st.one_of(TOKENS, st.binary(max_size=5)), max_size=25).map(b"".join)
COMMANDS: dict[str, Callable[[Session], Steps[object]]] = {
    "fetch": lambda state: _fetch(state),
    "list": lambda state: mailboxes.list_mailboxes(state, b"", b"*", status=True),
    "status": lambda state: mailboxes.mailbox_status(state, b"x"),
    "namespace": lambda state: mailboxes.namespaces(state),
    "examine": lambda state: selecting.select(state, b"INBOX", read_only=True, resync=None),
    "resync": lambda state: selecting.select(state, b"INBOX", read_only=True, resync=Resync(5, 1)),
    "fetch set": lambda state: _fetch_set(state),
    "search": lambda state: search.uid_search(state, b"ALL"),
    "idle": lambda state: idle.wait(state),
    "noop": lambda state: idle.noop(state),
}


def _fetch(state: Session) -> Steps[object]:
    messages: list[object] = []
    yield from fetch.uid_fetch(state, [5], b"(FLAGS)", messages.append, None)
    return messages


def _fetch_set(state: Session) -> Steps[object]:
    messages: list[object] = []
    gone = yield from fetch.uid_fetch_set(state, b"1:*", b"(FLAGS)", messages.append, changed_since=1, vanished=True)
    return messages, gone


def outcome(command: str, chunks: list[bytes]) -> tuple[object, ...]:
    """Return everything that can be told of what happened."""
    state = session("NAMESPACE", "IDLE", "ESEARCH", "QRESYNC")
    state.enabled = frozenset({"QRESYNC"})
    result: object
    try:
        result = run(COMMANDS[command](state), [*chunks, b"\r\nA0001 OK the end\r\n"])
    except UpstreamError as error:
        return type(error), str(error), state.statistics.malformed
    return result, list(state.pending), state.selected, state.statistics.malformed


@pytest.mark.parametrize("command", list(COMMANDS))
@given(stream=STREAMS, size=st.integers(1, 7))
def test_any_bytes_in_any_chunks(command: str, stream: bytes, size: int) -> None:
    if command == "idle":
        # When events are handed out depends on when they arrive; only the kind of failure is looked at.
        outcome(command, cut(stream, size))
        return
    assert outcome(command, cut(stream, size)) == outcome(command, [stream])
