"""An upstream with several mailboxes, whose LIST says what a test wants it to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.builders import message_bytes
from tests.fakes.scripted_imap import Answer
from tests.sync.one_mailbox import OneMailbox


@dataclass(slots=True)
class Folder:
    """One mailbox upstream; messages are bytes by UID."""

    uidvalidity: int
    object_id: str = ""
    attributes: str = ""
    messages: dict[int, bytes] = field(default_factory=dict)


def folder(uidvalidity: int, count: int = 0, *, object_id: str = "", attributes: str = "") -> Folder:
    """Return a mailbox with ``count`` new messages."""
    return Folder(uidvalidity, object_id, attributes, {uid: message_bytes() for uid in range(1, count + 1)})


class ManyMailboxes(OneMailbox):
    """Answers for ``folders``, by their names on the wire."""

    def __init__(self, *, capabilities: bytes = b"", delimiter: bytes = b"/", namespace: bytes = b"") -> None:
        self.folders = {b"INBOX": folder(1)}
        self.delimiter = delimiter
        self.list_ends = b"{tag} OK done\r\n"
        self._capabilities = capabilities
        self._namespace = namespace
        super().__init__(0)

    def _next_answer(self, name: str) -> Answer:
        command = self.commands[-1]
        if name == "CAPABILITY":
            offered = b"NAMESPACE " + self._capabilities if self._namespace else self._capabilities
            return b"* CAPABILITY IMAP4rev1 %b\r\n{tag} OK done\r\n" % offered
        if name == "NAMESPACE":
            return b"* NAMESPACE %b\r\n{tag} OK done\r\n" % self._namespace
        if name == "LIST":
            return self._list(with_status=b"STATUS" in command)
        if name == "EXAMINE":
            wanted = command.split(b" ", 1)[1].partition(b" (")[0].strip(b'"')
            found = self.folders.get(wanted)
            if found is None or "\\Noselect" in found.attributes:
                return b"{tag} NO no such mailbox\r\n"
            self.messages, self.uidvalidity = found.messages, found.uidvalidity
        return super()._next_answer(name)

    def _list(self, *, with_status: bool) -> bytes:
        lines = b""
        for name, each in self.folders.items():
            lines += b'* LIST (%b) "%b" "%b"\r\n' % (each.attributes.encode(), self.delimiter, name)
            if with_status and "\\Noselect" not in each.attributes:
                values = f"MESSAGES {len(each.messages)} UIDNEXT {max(each.messages, default=0) + 1} UIDVALIDITY"
                status = f"{values} {each.uidvalidity} MAILBOXID ({each.object_id})"
                lines += b'* STATUS "%b" (%b)\r\n' % (name, status.encode())
        return lines + self.list_ends
