"""An upstream with one mailbox that misbehaves in the ways that field notes tell of, each by a switch."""

from __future__ import annotations

from collections.abc import Callable

from mailcache.models import Account
from mailcache.wire.number_set import NumberSet
from tests.builders import message_bytes
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap


class OneMailbox(ScriptedImap):
    """Answers for INBOX with ``messages`` (bytes by UID); the other attributes say how it lies."""

    def __init__(self, count: int) -> None:
        self.messages = {uid: message_bytes(f"number {uid}") for uid in range(1, count + 1)}
        self.uidvalidity: int | None = 7
        self.uidnext: int | None = count + 1
        """None leaves it out (Courier)."""
        self.flags: dict[int, bytes] = {}
        """Other flags than ``\\Seen``, by UID."""
        self.dates: dict[int, bytes] = {}
        self.without_flags: set[int] = set()
        self.refuses_search_all = False
        self.refuses_examine = False
        """And answers from the mailbox that was open, all the same."""
        self.modseq: int | None = None
        """HIGHESTMODSEQ of an upstream that offers CONDSTORE."""
        self.refuses_changedsince = False
        self.hidden_from_search: set[int] = set()
        self.says_exists: int | None = None
        self.without_skeleton: set[int] = set()
        self.refuses_skeleton: set[int] = set()
        self.refuses_headers: set[int] = set()
        self.without_date: set[int] = set()
        self.without_body: set[int] = set()
        self.refuses_body: set[int] = set()
        self.refusal = b"cannot read that one"
        self.drops_at_body: set[int] = set()
        self.hangs_at_body: set[int] = set()
        self.mailboxes = [b"INBOX"]
        super().__init__()

    def asked(self, beginning: bytes) -> list[bytes]:
        """Return the commands that began so."""
        return [command for command in self.commands if command.upper().startswith(beginning)]

    def bodies_asked(self) -> list[bytes]:
        """Return the UID FETCH commands that asked for bodies."""
        return [command for command in self.asked(b"UID FETCH") if b"BODY.PEEK[]" in command]

    def _next_answer(self, name: str) -> Answer:
        command = self.command
        if name == "CAPABILITY" and self.modseq is not None:
            return b"* CAPABILITY IMAP4rev1 CONDSTORE\r\n{tag} OK done\r\n"
        if name == "LIST":
            return b"".join(b'* LIST () "/" %s\r\n' % mailbox for mailbox in self.mailboxes) + b"{tag} OK done\r\n"
        if name in ("EXAMINE", "SELECT"):
            return b"{tag} BAD Request is throttled\r\n" if self.refuses_examine else self._examine()
        if name == "UID SEARCH" and self.refuses_search_all:
            return b"{tag} BAD no such search\r\n"
        if name == "UID SEARCH":
            found = b" ".join(b"%d" % uid for uid in sorted(self.messages.keys() - self.hidden_from_search))
            return b"* SEARCH " + found + b"\r\n{tag} OK done\r\n"
        if name == "UID FETCH":
            if self.refuses_changedsince and b"CHANGEDSINCE" in command:
                return b"{tag} BAD no such modifier\r\n"
            uids, _, items = command.split(b" ", 2)[2].partition(b" ")
            named = NumberSet.parse(uids, star=max(self.messages, default=0))
            wanted = [uid for uid in self.messages if uid in named]
            refuses = self.refuses_headers if b"[HEADER]" in items else self.refuses_skeleton
            if b"BODY.PEEK[]" in items:
                return self._bodies(wanted)
            return b"{tag} NO not this one\r\n" if refuses & set(wanted) else self._fetch(wanted, items)
        return super()._next_answer(name)

    def _examine(self) -> bytes:
        exists = len(self.messages) if self.says_exists is None else self.says_exists
        validity = b"" if self.uidvalidity is None else b"* OK [UIDVALIDITY %d] ok\r\n" % self.uidvalidity
        uidnext = b"" if self.uidnext is None else b"* OK [UIDNEXT %d] ok\r\n" % self.uidnext
        modseq = b"" if self.modseq is None else b"* OK [HIGHESTMODSEQ %d]\r\n" % self.modseq
        return b"* %d EXISTS\r\n%s%s%s{tag} OK [READ-ONLY] done\r\n" % (exists, validity, uidnext, modseq)

    def deliver(self, *, flags: bytes = b"") -> int:
        """Add a message; returns its UID."""
        uid = self.uidnext or max(self.messages, default=0) + 1
        self.messages[uid] = message_bytes(f"number {uid}")
        self.flags[uid] = flags
        if self.uidnext is not None:
            self.uidnext = uid + 1
        return uid

    def _fetch(self, uids: list[int], items: bytes) -> bytes:
        answer = b""
        for seq, uid in enumerate(self.messages, 1):
            if uid not in uids or (b"RFC822.SIZE" in items and uid in self.without_skeleton):
                continue
            data = self.messages[uid]
            found = [b"UID %d" % uid]
            if b"FLAGS" in items and uid not in self.without_flags:
                found.append(b"FLAGS (%s)" % self.flags.get(uid, b"\\Seen"))
            if b"INTERNALDATE" in items and uid not in self.without_date:
                found.append(b'INTERNALDATE "%s"' % self.dates.get(uid, b"17-May-2024 10:30:00 +0200"))
            if b"RFC822.SIZE" in items:
                found.append(b"RFC822.SIZE %d" % len(data))
            if b"HEADER.FIELDS (DATE)" in items:
                date = b"Date: Fri, 17 May 2024 10:30:00 +0200\r\n\r\n"
                found.append(b"BODY[HEADER.FIELDS (DATE)] {%d}\r\n%s" % (len(date), date))
            if b"HEADER.FIELDS (MESSAGE-ID)" in items:
                lines = data.splitlines(keepends=True)
                field = b"".join([line for line in lines if line.startswith(b"Message-ID")][:1]) + b"\r\n"
                found.append(b"BODY[HEADER.FIELDS (MESSAGE-ID)] {%d}\r\n%s" % (len(field), field))
            if b"[HEADER]" in items:
                header = data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                found.append(b"BODY[HEADER] {%d}\r\n%s" % (len(header), header))
            answer += b"* %d FETCH (%s)\r\n" % (seq, b" ".join(found))
        return answer + b"{tag} OK done\r\n"

    def _bodies(self, uids: list[int]) -> Answer:
        if self.drops_at_body & set(uids):
            return Action.DROP
        if self.hangs_at_body & set(uids):
            return Action.HANG
        if self.refuses_body & set(uids):
            return b"{tag} NO %s\r\n" % self.refusal
        answer = b""
        for seq, (uid, data) in enumerate(self.messages.items(), 1):
            if uid in uids:
                body = b"NIL" if uid in self.without_body else b"{%d}\r\n%s" % (len(data), data)
                answer += b"* %d FETCH (UID %d BODY[] %s)\r\n" % (seq, uid, body)
        return answer + b"{tag} OK done\r\n"


Upstream = Callable[[int], tuple[OneMailbox, Account]]
"""Starts one with so many messages; returns it and its account."""
