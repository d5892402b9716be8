"""What a client does while something is killed: one scenario for each kind of change, over mail with pitfalls.

Every mailbox in which something happens holds two messages that are the same to the last byte, of which only the second
is meant. INBOX and Archive hold messages that another client has marked ``\\Deleted``, one of them unknown to us.
"""

from __future__ import annotations

import imaplib
from dataclasses import dataclass

from tests.builders import message_bytes
from tests.fakes.gmail import Place
from tests.fakes.gmail.account import GmailAccount

DATE = '"17-May-2024 08:30:00 +0000"'
LACKING = frozenset({"UIDPLUS", "MOVE", "MULTIAPPEND", "LITERAL+", "LITERAL-"})
_SAME = message_bytes("the same", "twice\r\n")
_NEW = message_bytes("new", "new words\r\n" * 20)
_LATER = message_bytes("later", "other words\r\n" * 20)
_OTHERS = [message_bytes(f"other {number}", "words\r\n" * number) for number in (1, 2, 3)]
_THROWN_AWAY = [message_bytes(f"thrown away {number}") for number in (1, 2, 3)]
_MARKED_LATER = "5"


@dataclass(frozen=True, slots=True)
class Act:
    """One command of a client, in a mailbox that is open or in none; ``{n}`` stands before each literal."""

    mailbox: str
    pieces: tuple[bytes, ...]
    """The command, cut behind the header of each literal."""


def _act(mailbox: str, command: str, *messages: bytes) -> Act:
    """Cut a command, in which each ``@`` stands for the literal that is next."""
    pieces = command.encode().split(b"@")
    headed = [piece + b"{%d}\r\n" % len(message) for piece, message in zip(pieces, messages, strict=False)]
    literals = (b"", *messages)
    rest = [*headed, pieces[-1] + b"\r\n"]
    return Act(mailbox, tuple(literal + piece for literal, piece in zip(literals, rest, strict=True)))


def _append(mailbox: str, *messages: bytes) -> Act:
    return _act("", f"APPEND {mailbox}" + f" (\\Seen $Work) {DATE} @" * len(messages), *messages)


AT_GMAIL: dict[str, tuple[Act, ...]] = {
    "Gmail, STORE": (_act("Work", "UID STORE 2 +FLAGS.SILENT (\\Seen)"),),
    "Gmail, APPEND": (_append("Work", _NEW),),
    "Gmail, COPY": (_act("INBOX", "UID COPY 2:3 Work"),),
    "Gmail, MOVE": (_act("INBOX", "UID MOVE 2:3 Family"),),
    "Gmail, EXPUNGE": (_act("Work", "UID STORE 1 +FLAGS.SILENT (\\Deleted)"), _act("Work", "EXPUNGE")),
    "Gmail, CLOSE": (_act("INBOX", "UID STORE 2:3 +FLAGS.SILENT (\\Deleted)"), _act("INBOX", "CLOSE")),
    "Gmail, MOVE to the Trash": (_act("INBOX", 'UID MOVE 2 "[Gmail]/Trash"'),),
    "Gmail, MOVE out of the Trash": (_act('"[Gmail]/Trash"', "UID MOVE 2 Work"),),
    "Gmail, EXPUNGE in the Trash": (
        _act('"[Gmail]/Trash"', "UID STORE 2 +FLAGS.SILENT (\\Deleted)"),
        _act('"[Gmail]/Trash"', "UID EXPUNGE 2"),
    ),
    "Gmail, CREATE": (_act("", "CREATE Projects"), _act("INBOX", "UID COPY 2 Projects")),
    "Gmail, RENAME": (_act("", "RENAME Work Labour"),),
    "Gmail, DELETE": (_act("", "DELETE Family"),),
}
SCENARIOS: dict[str, tuple[Act, ...]] = {
    "STORE": (
        _act("INBOX", "UID STORE 2:3 +FLAGS.SILENT (\\Seen $Work)"),
        _act("INBOX", "UID STORE 3 -FLAGS.SILENT (\\Flagged)"),
    ),
    "APPEND": (_append("Work", _SAME),),
    "MULTIAPPEND": (_append("Work", _NEW, _SAME, _NEW),),
    "COPY": (_act("INBOX", "UID COPY 2:3 Archive"),),
    "MOVE": (_act("Work", "UID MOVE 2:3 Archive"),),
    "MOVE beside others' marks": (_act("INBOX", "UID MOVE 2:3 Archive"),),
    "EXPUNGE": (_act("Work", "UID STORE 2:3 +FLAGS.SILENT (\\Deleted)"), _act("Work", "EXPUNGE")),
    "CLOSE": (_act("Work", "UID STORE 2:3 +FLAGS.SILENT (\\Deleted)"), _act("Work", "CLOSE")),
    "UID EXPUNGE beside others' marks": (
        _act("INBOX", "UID STORE 2:3 +FLAGS.SILENT (\\Deleted)"),
        _act("INBOX", "UID EXPUNGE 2:3"),
    ),
    "CREATE": (_act("", "CREATE Projects"), _append("Projects", _NEW)),
    "DELETE": (_act("", "DELETE Old/Below"),),
    "RENAME": (_act("", "RENAME Old Older"),),
    "SUBSCRIBE": (_act("", "SUBSCRIBE Archive"), _act("", "UNSUBSCRIBE Work")),
    "one after the other": (
        _append("Work", _LATER),
        _act("Work", "UID STORE 5 +FLAGS.SILENT (\\Flagged)"),
        _act("Work", "UID MOVE 5 Archive"),
    ),
    **AT_GMAIL,
}


def fill(client: imaplib.IMAP4) -> None:
    """Make the mail over which all scenarios play."""
    for mailbox in ("Archive", "Work", "Old", "Old/Below"):
        client.create(mailbox)
    for mailbox in ("INBOX", "Work", "Old"):
        client.subscribe(mailbox)
    other, third, fourth = _OTHERS
    marked = message_bytes("marked", "somebody may take that back\r\n")
    for mailbox, messages in {
        "INBOX": [(_SAME, ""), (_SAME, ""), (other, "\\Flagged"), (marked, "\\Deleted"), (third, ""), (fourth, "")],
        "Work": [(_SAME, ""), (_SAME, ""), (other, "Later"), (third, "\\Seen")],
        "Archive": [(_SAME, ""), (marked, "\\Deleted"), (other, "")],
        "Old": [(_SAME, ""), (other, "")],
        "Old/Below": [(third, "")],
    }.items():
        for message, flags in messages:
            status, told = client.append(mailbox, f"({flags})", DATE, message)
            assert status == "OK", told


def fill_gmail(account: GmailAccount) -> None:
    """Make mail with labels; nothing is there twice but two messages that are the same to the last byte."""
    other, third, fourth = _OTHERS
    for message, labels in (
        (_SAME, ("\\Inbox",)), (_SAME, ("\\Inbox",)), (other, ("\\Inbox", "Work")), (third, ("Work", "Family")),
        (fourth, ()),
    ):  # fmt: skip
        account.deliver(message, labels)
    for message in _THROWN_AWAY:
        account.deliver(message, place=Place.TRASH)


def mark(client: imaplib.IMAP4) -> None:
    """Do what another client does that nobody here knows of yet."""
    client.select("INBOX")
    status, told = client.uid("STORE", _MARKED_LATER, "+FLAGS", "(\\Deleted)")
    assert status == "OK", told
    client.unselect()


def take_marks_back(client: imaplib.IMAP4) -> None:
    """Let that client change its mind: where the upstream cannot expunge by UID, that is what ours wait for."""
    client.select("INBOX")
    for number in ("4", _MARKED_LATER):
        status, told = client.uid("STORE", number, "-FLAGS", "(\\Deleted)")
        assert status == "OK", told
    client.unselect()
