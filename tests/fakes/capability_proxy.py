"""A proxy that hides capabilities of a real server, and has it behave as one that lacks them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.fakes.meddling_proxy import Exchange, MeddlingProxy
from tests.fakes.recording_proxy import Command

NO_CONDSTORE = frozenset({"CONDSTORE", "QRESYNC"})
NO_QRESYNC = frozenset({"QRESYNC"})

_LISTS = re.compile(rb"(\* (?:OK |PREAUTH )?\[?|^[^ ]+ OK \[)CAPABILITY((?: [^\] \r\n]+)*)", re.IGNORECASE)
_ENABLED = re.compile(rb"\* ENABLED((?: [^ \r\n]+)*)", re.IGNORECASE)
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')
_USES = r"\\(?:All|Archive|Drafts|Junk|Sent|Trash)"


@dataclass(frozen=True, slots=True)
class Lack:
    """What a server does that lacks a capability."""

    refuses: re.Pattern[bytes] | None = None
    """Commands (verb and arguments, without quoted strings) that are BAD."""
    leaves_out: re.Pattern[bytes] | None = None
    """Parts of responses."""
    drops: re.Pattern[bytes] | None = None
    """Whole responses."""


def _lack(refuses: str = "", leaves_out: str = "", drops: str = "") -> Lack:
    return Lack(*(re.compile(text.encode(), re.IGNORECASE) if text else None for text in (refuses, leaves_out, drops)))


LACKS = {
    "CONDSTORE": _lack(
        r"\((?:CONDSTORE|CHANGEDSINCE|UNCHANGEDSINCE) ?|\bSTATUS\b.*\bHIGHESTMODSEQ\b|FETCH .*\bMODSEQ\b|"
        r"SEARCH .*\bMODSEQ\b|(?:SELECT|EXAMINE) .*\(CONDSTORE",
        r"(?<=\()(?:HIGHEST)?MODSEQ (?:\(\d+\)|\d+) ?| (?:HIGHEST)?MODSEQ (?:\(\d+\)|\d+)(?=[ )])|"
        r"\[(?:HIGHESTMODSEQ \d+|NOMODSEQ)\] ?",
        r"\* OK \[(?:HIGHESTMODSEQ|NOMODSEQ)",
    ),
    "QRESYNC": _lack(r"(?:SELECT|EXAMINE) .*\(QRESYNC|FETCH .*\bVANISHED\b", drops=r"\* OK \[CLOSED\]"),
    "ENABLE": _lack(r"ENABLE\b"),
    "ESEARCH": _lack(r"SEARCH RETURN\b"),
    "LIST-STATUS": _lack(r"LIST .*RETURN .*STATUS"),
    "LIST-EXTENDED": _lack(r"LIST \(|LIST .* RETURN\b"),
    "SPECIAL-USE": _lack(r"LIST .*SPECIAL-USE", rf"(?<=\(){_USES} ?| {_USES}(?=[ )])"),
    "OBJECTID": _lack(r"\bSTATUS\b.*MAILBOXID|FETCH .*(?:EMAILID|THREADID)", drops=r"\* OK \[MAILBOXID"),
    "UIDPLUS": _lack(r"UID EXPUNGE", r"\[(?:APPENDUID|COPYUID) [^\]]*\] ?"),
    "MOVE": _lack(r"(?:UID )?MOVE\b"),
    "IDLE": _lack(r"IDLE\b"),
    "ID": _lack(r"ID\b"),
    "NAMESPACE": _lack(r"NAMESPACE\b"),
    "NOTIFY": _lack(r"NOTIFY\b"),
    "UNSELECT": _lack(r"UNSELECT\b"),
    "COMPRESS=DEFLATE": _lack(r"COMPRESS\b"),
}
"""What hiding means beyond the lists of capabilities; those that are not here only vanish from the lists."""


class CapabilityProxy(MeddlingProxy):
    """Hides ``hidden``; everything else is the server's own."""

    def __init__(self, upstream_host: str, upstream_port: int, *, hidden: Iterable[str] = ()) -> None:
        self.hidden = frozenset(hidden)
        super().__init__(upstream_host, upstream_port)

    def on_command(self, exchange: Exchange, command: Command | None, line: bytes) -> bytes | None:
        """Answer BAD to what the server would not know."""
        if command is None or not self.hidden:
            return line
        if command.verb == "ENABLE" and "ENABLE" not in self.hidden:
            return self._enable(command)
        text = _QUOTED.sub(b'""', command.verb.encode() + b" " + command.arguments)
        if any(lack.refuses and lack.refuses.search(text) for lack in self._lacks()):
            exchange.answer(command.tag.encode() + b" BAD Unknown command or arguments\r\n")
            return None
        return line

    def on_response(self, exchange: Exchange, line: bytes, *, begins: bool) -> bytes | None:
        """Leave out what the server would not say."""
        if not self.hidden:
            return line
        if begins:
            line = _LISTS.sub(lambda match: match[1] + b"CAPABILITY" + self._without_hidden(match[2]), line)
            line = _ENABLED.sub(lambda match: b"* ENABLED" + self._without_hidden(match[1]), line)
        for lack in self._lacks():
            if begins and lack.drops and lack.drops.match(line):
                return None
            if lack.leaves_out:
                line = lack.leaves_out.sub(b"", line)
        return line

    def _lacks(self) -> list[Lack]:
        return [LACKS[name] for name in sorted(self.hidden) if name in LACKS]

    def _enable(self, command: Command) -> bytes:
        # What it does not know, a server passes over (RFC 5161 3.1); it gets something to pass over in any case.
        known = self._without_hidden(b" " + command.arguments) or b" X-NOTHING"
        return command.tag.encode() + b" ENABLE" + known + b"\r\n"

    def _without_hidden(self, words: bytes) -> bytes:
        kept = [word for word in words.split() if word.decode().upper() not in self.hidden]
        return b"".join(b" " + word for word in kept)
