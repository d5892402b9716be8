"""A proxy in front of a real server that misbehaves on request: always (switches), or once, at a command (faults).

Nothing in it is left to chance: what happens follows from the switches, the faults, and the commands that come. Random
faults are drawn from the caller's seeded ``Random``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

from tests.fakes.capability_proxy import CapabilityProxy
from tests.fakes.meddling_proxy import Exchange
from tests.fakes.recording_proxy import Command, Side

_SIZE = re.compile(rb"\bRFC822\.SIZE (\d+)")
_LITERAL = re.compile(rb"\{(\d+)\}(\r?\n)\Z")
_UIDVALIDITY = re.compile(rb"\bUIDVALIDITY (\d+)")
_CAPABILITIES = re.compile(rb"(\* (?:OK \[|PREAUTH \[)?|^[^ ]+ OK \[)CAPABILITY [^\]\r\n]+")
_TAG = re.compile(rb"[^ *+]+ (?:OK|NO|BAD)\b")


@dataclass(frozen=True, slots=True)
class Switches:
    """How a connection behaves for as long as they are set."""

    latency: float = 0.0
    """Seconds before anything is passed on, in each direction."""
    bytes_per_second: float | None = None
    hang: bool = False
    """Bytes vanish in both directions, and nothing is closed."""
    accept_and_close: bool = False
    cut_after: int | None = None
    """The connection is cut when the server has said so many bytes (counted from its beginning)."""
    capabilities: bytes | None = None
    """What every list of capabilities says instead."""
    sizes: Callable[[int], int] | None = None
    """RFC822.SIZE as the client is told."""
    literal_sizes: Callable[[int], int] | None = None
    """What literals in FETCH answers are announced with; their bytes stay as they are."""
    uidvalidities: tuple[int, ...] = ()
    """The server's UIDVALIDITY plus one of these is told; each connection takes the next (a load balancer)."""


class Kind(Enum):
    """What happens at a command, once."""

    NO = "it is not done, and answered NO"
    BAD = "it is not done, and answered BAD"
    BYE = "it is not done, and the server says BYE and closes"
    CUT_BEFORE = "the connection is cut, the server never sees it"
    CUT_AFTER = "it is done, and the connection is cut before the answer"
    CUT_IN_ANSWER = "it is done, and the connection is cut within the answer"
    CUT_IN_LITERAL = "it is done, and the connection is cut within the first literal of the answer"
    DROP_REPLY = "it is done, its tagged reply never comes"
    HANG = "from then on nothing passes any more on this connection"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at the ``number``-th command (from 1, from when it was armed) with this verb."""

    kind: Kind
    verb: str = ""
    """In capitals, ``UID FETCH`` for those with UID; empty is any command."""
    number: int = 1
    text: str = "[UNAVAILABLE] Try later"
    after: int = 40
    """How many bytes of the answer, or of its literal, still come before a cut."""


@dataclass(slots=True)
class _Connection:
    """What one connection has come to."""

    told: int = 0
    until: int | None = None
    """The connection is cut when so many bytes have been told."""
    in_literal: int | None = None
    dropped_tag: bytes = b""
    hangs: bool = False
    switches: Switches | None = None


class ChaosProxy(CapabilityProxy):
    """Passes everything on until it is told otherwise; capabilities can be hidden beside."""

    def __init__(self, upstream_host: str, upstream_port: int, *, hidden: Iterable[str] = ()) -> None:
        self.switches = Switches()
        """Of all connections that have none of their own; may be set at any time."""
        self.fired: list[Fault] = []
        """Faults that have happened, in order."""
        self._armed: list[tuple[Fault, itertools.count[int]]] = []
        self._states: dict[int, _Connection] = {}
        super().__init__(upstream_host, upstream_port, hidden=hidden)

    @property
    def accepted(self) -> int:
        """How many connections there have been; they are numbered from 1."""
        return len(self._states)

    def switch(self, connection: int, switches: Switches) -> None:
        """Set the switches of one connection."""
        self._states[connection].switches = switches

    def arm(self, *faults: Fault) -> None:
        """Have these happen; each once."""
        with self._lock:
            self._armed += [(fault, itertools.count(1)) for fault in faults]

    def disarm(self) -> None:
        """Forget the faults that have not happened, and set all switches back."""
        with self._lock:
            self._armed.clear()
        self.switches = Switches()

    def on_connect(self, exchange: Exchange) -> None:
        """Begin a connection, or end it at once."""
        self._states[exchange.number] = _Connection()
        if self.switches.accept_and_close:
            exchange.close()

    def on_command(self, exchange: Exchange, command: Command | None, line: bytes) -> bytes | None:
        """Let an armed fault happen at this command, or pass it on."""
        fault = self._match(command) if command is not None else None
        if command is None or fault is None:
            return super().on_command(exchange, command, line)
        state = self._states[exchange.number]
        if fault.kind in {Kind.NO, Kind.BAD, Kind.BYE}:
            self._answer(exchange, command, fault)
            return None
        if fault.kind is Kind.CUT_BEFORE:
            exchange.close()
            return None
        if fault.kind is Kind.HANG:
            state.hangs = True
        elif fault.kind is Kind.DROP_REPLY:
            state.dropped_tag = command.tag.encode()
        elif fault.kind is Kind.CUT_IN_LITERAL:
            state.in_literal = fault.after
        else:
            state.until = state.told + (fault.after if fault.kind is Kind.CUT_IN_ANSWER else 0)
        return super().on_command(exchange, command, line)

    def on_response(self, exchange: Exchange, line: bytes, *, begins: bool) -> bytes | None:
        """Tell the client what the switches make of this line."""
        out = super().on_response(exchange, line, begins=begins)
        state, switches = self._states[exchange.number], self._switches(exchange)
        if out is None or (begins and state.dropped_tag and line.startswith(state.dropped_tag + b" ")):
            return None
        literal = _LITERAL.search(out)
        if literal is not None and state.in_literal is not None:
            state.until, state.in_literal = state.told + len(out) + state.in_literal, None
        if begins and _TAG.match(line):
            state.in_literal = None
        return _lie(switches, exchange.number, out)

    def on_bytes(self, exchange: Exchange, side: Side, data: bytes) -> bytes | None:
        """Delay, swallow or cut what is on the wire."""
        if not data:
            return data
        state, switches = self._states[exchange.number], self._switches(exchange)
        if switches.latency:
            self._closing.wait(switches.latency)
        if switches.hang or state.hangs:
            return b""
        if side is Side.CLIENT:
            return data
        if switches.bytes_per_second:
            self._closing.wait(len(data) / switches.bytes_per_second)
        return self._cut(exchange, state, switches, data)

    def _cut(self, exchange: Exchange, state: _Connection, switches: Switches, data: bytes) -> bytes | None:
        limits = [limit for limit in (state.until, switches.cut_after) if limit is not None]
        if not limits or state.told + len(data) < min(limits):
            state.told += len(data)
            return data
        # The client gets the bytes up to the limit, and then the end.
        exchange.client.sendall(data[: max(0, min(limits) - state.told)])
        return None

    def _switches(self, exchange: Exchange) -> Switches:
        return self._states[exchange.number].switches or self.switches

    def _match(self, command: Command) -> Fault | None:
        with self._lock:
            for armed in list(self._armed):
                fault, count = armed
                if fault.verb in {"", command.verb} and next(count) == fault.number:
                    self._armed.remove(armed)
                    self.fired.append(fault)
                    return fault
        return None

    def _answer(self, exchange: Exchange, command: Command, fault: Fault) -> None:
        if fault.kind is not Kind.BYE:
            exchange.answer(f"{command.tag} {fault.kind.name} {fault.text}\r\n".encode())
            return
        said = f"* BYE {fault.text}\r\n".encode()
        exchange.answer(said)
        state = self._states[exchange.number]
        state.until = state.told + len(said)


def _lie(switches: Switches, connection: int, line: bytes) -> bytes:
    if switches.capabilities is not None:
        line = _CAPABILITIES.sub(rb"\1CAPABILITY " + switches.capabilities, line)
    if sizes := switches.sizes:
        line = _SIZE.sub(lambda match: b"RFC822.SIZE %d" % sizes(int(match[1])), line)
    if literal_sizes := switches.literal_sizes:
        line = _LITERAL.sub(lambda match: b"{%d}%s" % (literal_sizes(int(match[1])), match[2]), line)
    if shifts := switches.uidvalidities:
        shift = shifts[connection % len(shifts)]
        line = _UIDVALIDITY.sub(lambda match: b"UIDVALIDITY %d" % (int(match[1]) + shift), line)
    return line


def random_fault(rng: Random, verbs: tuple[str, ...], kinds: tuple[Kind, ...]) -> Fault:
    """Draw a fault at one of the next commands with one of ``verbs``."""
    fault = Fault(rng.choice(kinds), rng.choice(verbs), rng.choice([1, 1, 2, 3]))
    return replace(
        fault, after=rng.randrange(200), text=rng.choice(["[UNAVAILABLE] Try later", "Server error", "Busy"])
    )
