"""The state table: every command has its states, and every state refuses what does not belong to it."""

from __future__ import annotations

import pytest

from imapfront.states import ALLOWED_STATES, State, is_allowed, may_expunge
from imapfront.wire import commands as c
from imapfront.wire.parse_command import parse_command
from mailcache.wire.framing import Frame, Literal

_NOT, _AUTH, _SELECTED = State.NOT_AUTHENTICATED, State.AUTHENTICATED, State.SELECTED

_LINES = {
    b"CAPABILITY": {_NOT, _AUTH, _SELECTED},
    b"NOOP": {_NOT, _AUTH, _SELECTED},
    b"LOGOUT": {_NOT, _AUTH, _SELECTED},
    b"ID NIL": {_NOT, _AUTH, _SELECTED},
    b"STARTTLS": {_NOT},
    b"LOGIN x y": {_NOT},
    b"AUTHENTICATE PLAIN": {_NOT},
    b"ENABLE X": {_AUTH},
    b"NAMESPACE": {_AUTH, _SELECTED},
    b'LIST "" *': {_AUTH, _SELECTED},
    b'LSUB "" *': {_AUTH, _SELECTED},
    b"STATUS x (UNSEEN)": {_AUTH, _SELECTED},
    b"SELECT x": {_AUTH, _SELECTED},
    b"EXAMINE x": {_AUTH, _SELECTED},
    b"IDLE": {_AUTH, _SELECTED},
    b"APPEND x {1}": {_AUTH, _SELECTED},
    b"CREATE x": {_AUTH, _SELECTED},
    b"DELETE x": {_AUTH, _SELECTED},
    b"RENAME x y": {_AUTH, _SELECTED},
    b"SUBSCRIBE x": {_AUTH, _SELECTED},
    b"UNSUBSCRIBE x": {_AUTH, _SELECTED},
    b"CLOSE": {_SELECTED},
    b"UNSELECT": {_SELECTED},
    b"CHECK": {_SELECTED},
    b"EXPUNGE": {_SELECTED},
    b"UID EXPUNGE 1": {_SELECTED},
    b"COPY 1 x": {_SELECTED},
    b"UID MOVE 1 x": {_SELECTED},
    b"STORE 1 FLAGS ()": {_SELECTED},
    b"FETCH 1 UID": {_SELECTED},
    b"UID FETCH 1 UID": {_SELECTED},
    b"SEARCH ALL": {_SELECTED},
    b"UID SEARCH ALL": {_SELECTED},
}


def _command(line: bytes) -> c.Command:
    text, literal, _ = line.partition(b"{1}")
    pieces: tuple[bytes | Literal, ...] = (b"t " + text, Literal(1, b"y"), b"") if literal else (b"t " + text,)
    return parse_command(Frame(pieces)).command


@pytest.mark.parametrize("line", _LINES, ids=bytes.decode)
def test_commands_are_allowed_in_their_states_only(line: bytes) -> None:
    command = _command(line)

    assert {state for state in State if is_allowed(command, state)} == _LINES[line]


def test_the_table_knows_these_commands_and_no_others() -> None:
    assert {_command(line).name for line in _LINES} == set(ALLOWED_STATES)


@pytest.mark.parametrize("line", [b"FETCH 1 UID", b"SEARCH ALL", b"STORE 1 FLAGS ()"], ids=bytes.decode)
def test_numbers_stay_while_an_answer_is_told_by_them(line: bytes) -> None:
    assert not may_expunge(_command(line))


@pytest.mark.parametrize("line", [b"UID FETCH 1 UID", b"UID SEARCH ALL", b"NOOP", b"IDLE", b"CHECK"], ids=bytes.decode)
def test_numbers_may_change_elsewhere(line: bytes) -> None:
    assert may_expunge(_command(line))
