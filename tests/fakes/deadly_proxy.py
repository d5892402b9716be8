"""A proxy in front of an IMAP server during which the client, or the server, is killed at a chosen place on the wire.

The places are found by watching an undisturbed run: for each command those before, in the middle of and behind each of
its lines and literals, and the same of its answer.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from tests.e2e.processes import has_read_all
from tests.fakes.capability_proxy import CapabilityProxy
from tests.fakes.meddling_proxy import Exchange
from tests.fakes.recording_proxy import Command, Side
from tests.waiting import wait_until


class Place(Enum):
    """Where in a command or in its answer."""

    UNSENT = "before it is sent"
    IN_LINE = "in the middle of its line"
    BEFORE_LITERAL = "before its literal"
    IN_LITERAL = "in the middle of its literal"
    AFTER_LITERAL = "behind its literal"
    UNTOLD = "done, and nothing told"
    IN_ANSWER = "in the middle of the first untagged answer"
    UNTAGGED = "before the tagged answer"
    IN_TAGGED = "in the middle of the tagged answer"
    TOLD = "as soon as it is answered"


@dataclass(frozen=True, slots=True)
class Boundary:
    """A place at the ``number``-th command with a verb (both from 1); ``literal`` where it has several."""

    verb: str
    number: int
    place: Place
    literal: int = 0

    def __str__(self) -> str:
        which = f" {self.literal}" if self.literal else ""
        return f"{self.verb} {self.number}: {self.place.value}{which}"


_Name = tuple[str, int]


@dataclass(slots=True)
class _Connection:
    """What is on the way."""

    names: dict[str, _Name] = field(default_factory=dict)
    """The commands that are not answered, by tag."""
    sending: _Name = ("", 0)
    literals: int = 0
    line: str = "literal"
    """What the next bytes of the client are: the ``first`` line of a command, a ``later`` one, or of a ``literal``."""
    in_literal: bool = False
    answered: _Name | None = None
    """The command that the next bytes of the server answer."""
    is_tagged: bool = False
    told: set[_Name] = field(default_factory=set)
    """Commands of which something untagged was told."""


class DeadlyProxy(CapabilityProxy):
    """Passes everything on, and notes or uses the boundaries on the way."""

    def __init__(self, upstream_host: str, upstream_port: int, *, hidden: Iterable[str] = ()) -> None:
        self._counts: Counter[str] = Counter()
        self._passed: dict[Boundary, None] = {}
        self._armed: Boundary | None = None
        self._kill: Callable[[], None] = lambda: None
        self._states: dict[int, _Connection] = {}
        self.has_fired = False
        super().__init__(upstream_host, upstream_port, hidden=hidden)

    def watch(self) -> None:
        """Note boundaries from now on; commands are counted anew."""
        self._counts.clear()
        self._passed.clear()
        self._armed, self.has_fired = None, False

    def passed(self) -> list[Boundary]:
        """Return the boundaries since ``watch``, in their order."""
        return list(self._passed)

    def arm(self, boundary: Boundary, kill: Callable[[], None]) -> None:
        """Have ``kill`` called at this boundary, and the connection cut there; commands are counted anew."""
        self.watch()
        self._kill, self._armed = kill, boundary

    def on_connect(self, exchange: Exchange) -> None:
        """Begin a connection."""
        self._states[exchange.number] = _Connection()

    def on_command(self, exchange: Exchange, command: Command | None, line: bytes) -> bytes | None:
        """Note what the next bytes are."""
        state = self._states[exchange.number]
        if command is None:
            state.line = "later"
        else:
            self._counts[command.verb] += 1
            state.sending = (command.verb, self._counts[command.verb])
            state.names[command.tag] = state.sending
            state.line, state.literals = "first", 0
        state.in_literal = False
        return super().on_command(exchange, command, line)

    def on_response(self, exchange: Exchange, line: bytes, *, begins: bool) -> bytes | None:
        """Note which command the next bytes answer."""
        state = self._states[exchange.number]
        if begins:
            name = state.names.pop(line.split(b" ", 1)[0].decode(errors="replace"), None)
            state.is_tagged = name is not None
            oldest = next(iter(state.names.values()), None)
            state.answered = name or (None if line.startswith(b"+") else oldest)
        return super().on_response(exchange, line, begins=begins)

    def on_bytes(self, exchange: Exchange, side: Side, data: bytes) -> bytes | None:
        """Pass on what is not beyond the armed boundary."""
        if not data:
            return data
        state = self._states[exchange.number]
        if side is Side.CLIENT:
            return self._command_bytes(exchange, state, data)
        return self._answer_bytes(exchange, state, data)

    def _command_bytes(self, exchange: Exchange, state: _Connection, data: bytes) -> bytes | None:
        line, state.line = state.line, "literal"
        places = [(Place.UNSENT, 0), (Place.IN_LINE, len(data) // 2)]
        if line == "later":
            places = [(Place.AFTER_LITERAL, 0)]
        elif line == "literal":
            if state.in_literal:
                return data
            state.in_literal = True
            state.literals += 1
            places = [(Place.BEFORE_LITERAL, 0), (Place.IN_LITERAL, len(data) // 2)]
        for place, until in places:
            if self._is_armed(state.sending, place, state.literals):
                self._fire()
                exchange.server.sendall(data[:until])
                return None
        return data

    def _answer_bytes(self, exchange: Exchange, state: _Connection, data: bytes) -> bytes | None:
        name = state.answered
        if name is None:
            return data
        if not state.is_tagged:
            if self._is_armed(name, Place.UNTOLD):
                return b""
            if name not in state.told:
                state.told.add(name)
                return self._end_within(exchange, name, data, [(Place.IN_ANSWER, len(data) // 2)])
            return data
        state.answered = None
        places = [(Place.UNTOLD, 0), (Place.IN_TAGGED, len(data) // 2), (Place.TOLD, len(data))]
        if name in state.told:
            places.insert(1, (Place.UNTAGGED, 0))
        return self._end_within(exchange, name, data, places)

    def _end_within(
        self, exchange: Exchange, name: _Name, data: bytes, places: list[tuple[Place, int]]
    ) -> bytes | None:
        for place, until in places:
            if self._is_armed(name, place):
                exchange.client.sendall(data[:until])
                _wait_until_read(exchange.client)
                self._fire()
                return None
        return data

    def _is_armed(self, name: _Name, place: Place, literal: int = 0) -> bool:
        boundary = Boundary(*name, place, literal)
        self._passed.setdefault(boundary)
        return boundary == self._armed

    def _fire(self) -> None:
        self._armed, self.has_fired = None, True
        self._kill()


def _wait_until_read(ours: socket.socket) -> None:
    """Return when the other side has taken what it was told: it is killed with that in mind."""
    try:
        here, there = ours.getsockname()[1], ours.getpeername()[1]
    except OSError:
        return  # it had what it wanted, and has gone
    wait_until(lambda: has_read_all(local_port=there, remote_port=here))
