"""An upstream that takes changes and misbehaves with them, in the ways that field notes tell of, each by a switch."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mailcache.wire.number_set import NumberSet
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap

_APPEND = re.compile(rb'APPEND "?([^" ]+)"? (.*)\Z', re.DOTALL)
_PIECE = re.compile(rb'\(([^)]*)\) "[^"]*" \{(\d+)\+?\}\r\n', re.DOTALL)
_STORE = re.compile(rb"UID STORE (\S+) ([+-])FLAGS\.SILENT \(([^)]*)\)")
_DONE = b"{tag} OK done\r\n"


@dataclass
class Box:
    """One mailbox: bytes and flags by UID."""

    uidvalidity: int = 7
    uidnext: int = 1
    messages: dict[int, bytes] = field(default_factory=dict)
    flags: dict[int, set[bytes]] = field(default_factory=dict)

    def add(self, data: bytes, flags: set[bytes] | None = None) -> int:
        """Put a message there; returns its UID."""
        uid = self.uidnext
        self.uidnext += 1
        self.messages[uid], self.flags[uid] = data, flags or set()
        return uid


class WritableImap(ScriptedImap):
    """INBOX, Sent and Archive; the attributes say how it misbehaves."""

    def __init__(self) -> None:
        self._selected = Box()
        self.boxes = {name: Box() for name in (b"INBOX", b"Sent", b"Archive")}
        self.capabilities = b"IMAP4rev1 LITERAL+ UIDPLUS MULTIAPPEND MOVE"
        self.says_appenduid = True
        self.permanentflags: bytes | None = b"\\Seen \\Flagged \\Deleted \\Answered \\Draft \\*"
        self.read_only = False
        self.says_uidvalidity = True
        self.refuses_select = 0
        """How many SELECTs are refused."""
        self.deduplicates = False
        self.rewrites: Callable[[bytes], bytes] = lambda data: data
        self.refuses_append: Callable[[bytes], bytes] = lambda data: b""
        """The NO or BAD with which a message is refused; empty where it is not."""
        self.loses_append_answer = 0
        """How many APPENDs are done and then cut off before the answer."""
        super().__init__()

    def asked(self, beginning: bytes) -> list[bytes]:
        """Return the commands that began so."""
        return [command for command in self.commands if command.upper().startswith(beginning)]

    def _next_answer(self, name: str) -> Answer:
        command = self.command
        method = getattr(self, "_do_" + name.lower().replace(" ", "_"), None)
        if method is None:
            return super()._next_answer(name)
        answer: Answer = method(command)
        return answer

    def _do_capability(self, command: bytes) -> bytes:
        return b"* CAPABILITY " + self.capabilities + b"\r\n" + _DONE

    def _do_list(self, command: bytes) -> bytes:
        wanted = command.rpartition(b" ")[2].strip(b'"')
        names = [name for name in self.boxes if wanted in (b"*", name)]
        uses = {b"Sent": b"\\Sent", b"Archive": b"\\Archive"}
        return b"".join(b'* LIST (%s) "/" %s\r\n' % (uses.get(name, b""), name) for name in names) + _DONE

    def _do_create(self, command: bytes) -> bytes:
        self.boxes[command.split(b" ")[1].strip(b'"')] = Box()
        return _DONE

    def _do_status(self, command: bytes) -> bytes:
        name = command.split(b" ")[1].strip(b'"')
        if name not in self.boxes:
            return b"{tag} NO [NONEXISTENT] no such mailbox\r\n"
        box = self.boxes[name]
        told = (name, len(box.messages), box.uidnext, b" UIDVALIDITY %d" % box.uidvalidity * self.says_uidvalidity)
        return b"* STATUS %s (MESSAGES %d UIDNEXT %d%s)\r\n" % told + _DONE

    def _do_examine(self, command: bytes) -> bytes:
        return self._opened(command, b"READ-ONLY")

    def _do_select(self, command: bytes) -> bytes:
        if self.refuses_select:
            self.refuses_select -= 1
            return b"{tag} NO [UNAVAILABLE] later\r\n"
        return self._opened(command, b"READ-ONLY" if self.read_only else b"READ-WRITE")

    def _opened(self, command: bytes, mode: bytes) -> bytes:
        name = command.split(b" ")[1].strip(b'"')
        if name not in self.boxes:
            return b"{tag} NO [NONEXISTENT] no such mailbox\r\n"
        box = self._selected = self.boxes[name]
        told = b"* %d EXISTS\r\n* OK [UIDNEXT %d] ok\r\n" % (len(box.messages), box.uidnext)
        told += b"* OK [UIDVALIDITY %d] ok\r\n" % box.uidvalidity * self.says_uidvalidity
        if self.permanentflags is not None:
            told += b"* OK [PERMANENTFLAGS (%s)] ok\r\n" % self.permanentflags
        return told + b"{tag} OK [%s] done\r\n" % mode

    def _do_uid_search(self, command: bytes) -> bytes:
        box = self._selected
        criteria = command.split(b" ", 2)[2]
        found = sorted(box.messages)
        if criteria.startswith(b"UID "):
            named = NumberSet.parse(criteria[4:], star=max(box.messages, default=0))
            found = [uid for uid in found if uid in named]
        elif criteria.startswith(b"HEADER MESSAGE-ID "):
            wanted = criteria.rpartition(b" ")[2].strip(b'"')
            found = [uid for uid in found if wanted in box.messages[uid]]
        elif criteria == b"DELETED":
            found = [uid for uid in found if b"\\Deleted" in box.flags[uid]]
        return b"* SEARCH%s\r\n" % b"".join(b" %d" % uid for uid in found) + _DONE

    def _do_uid_fetch(self, command: bytes) -> bytes:
        uids, _, items = command.split(b" ", 2)[2].partition(b" ")
        box = self._selected
        named = NumberSet.parse(uids, star=max(box.messages, default=0))
        answer = b""
        for seq, (uid, data) in enumerate(box.messages.items(), 1):
            if uid in named:
                answer += b"* %d FETCH (%s)\r\n" % (seq, self._items(box, uid, data, items))
        return answer + _DONE

    def _items(self, box: Box, uid: int, data: bytes, items: bytes) -> bytes:
        header = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
        told = [b"UID %d" % uid, b"FLAGS (%s)" % b" ".join(sorted(box.flags[uid]))]
        told += [b"RFC822.SIZE %d" % len(data), b'INTERNALDATE "17-May-2024 08:30:00 +0000"']
        for section in re.findall(rb"BODY\.PEEK\[([^\]]*)\]", items):
            text = header if section else data
            told.append(b"BODY[%s] {%d}\r\n%s" % (section, len(text), text))
        return b" ".join(told)

    def _do_uid_store(self, command: bytes) -> bytes:
        found = _STORE.match(command)
        assert found is not None, command
        named = NumberSet.parse(found[1])
        for uid in self._selected.messages:
            if uid in named:
                flags = set(found[3].split())
                own = self._selected.flags[uid]
                self._selected.flags[uid] = own | flags if found[2] == b"+" else own - flags
        return _DONE

    def _do_append(self, command: bytes) -> Answer:
        found = _APPEND.match(command)
        assert found is not None, command
        if found[1] not in self.boxes:
            return b"{tag} NO [TRYCREATE] no such mailbox\r\n"
        box = self.boxes[found[1]]
        pieces = _pieces(found[2])
        refused = next((answer for _, data in pieces if (answer := self.refuses_append(data))), b"")
        if refused:
            return b"{tag} " + refused + b"\r\n"
        uids = [self._add(box, self.rewrites(data), flags) for flags, data in pieces]
        if self.loses_append_answer:
            self.loses_append_answer -= 1
            return Action.DROP
        told = b"[APPENDUID %d %s] " % (box.uidvalidity, b",".join(b"%d" % uid for uid in uids))
        return b"{tag} OK %sdone\r\n" % (told if self.says_appenduid else b"")

    def _add(self, box: Box, data: bytes, flags: set[bytes]) -> int:
        known = [uid for uid, there in box.messages.items() if there == data] if self.deduplicates else []
        return known[0] if known else box.add(data, flags)


def _pieces(arguments: bytes) -> list[tuple[set[bytes], bytes]]:
    pieces = []
    position = 0
    while found := _PIECE.match(arguments, position):
        end = found.end() + int(found[2])
        pieces.append((set(found[1].split()), arguments[found.end() : end]))
        position = end + (arguments[end : end + 1] == b" ")
    return pieces
