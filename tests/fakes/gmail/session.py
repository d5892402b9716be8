"""One connection to the fake Gmail: reading commands, what every state allows, and what is told out of turn."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from mailcache.wire.framing import Choice, ContinuationWanted, Frame, Framer, Literal
from mailcache.wire.scanner import Scanner
from tests.fakes.gmail.commands import HANDLERS
from tests.fakes.gmail.mail import Folder, Mail, Refusal
from tests.fakes.gmail.message_commands import MESSAGE_HANDLERS

if TYPE_CHECKING:
    from tests.fakes.gmail.server import FakeGmail

_BEFORE_LOGIN = frozenset({"CAPABILITY", "NOOP", "ID", "LOGIN", "LOGOUT"})
_NEEDS_MAILBOX = frozenset({
    "CHECK", "CLOSE", "COPY", "EXPUNGE", "FETCH", "MOVE", "SEARCH", "STORE", "UID", "UNSELECT",
})  # fmt: skip


class Session:
    """One connection. ``view`` is the open mailbox as this client knows it: message by UID."""

    def __init__(self, server: FakeGmail, connection: socket.socket) -> None:
        self.server = server
        self.account = server.account
        self.logged_in = False
        self.folder: Folder | None = None
        self.read_only = False
        self.condstore = False
        self.view: dict[int, int] = {}
        self.closing = False
        self._connection = connection
        self._framer = Framer(choose_literal=lambda header: Choice.COLLECT, max_line=1_000_000)
        self._writing = threading.RLock()
        self._idle_tag: bytes | None = None

    def serve(self) -> None:
        """Answer commands until the client goes."""
        self.send(b"* OK Gimap ready for requests from 127.0.0.1 a1mb1")
        while not self.closing and (frame := self._read()) is not None:
            self._command(frame)

    def hang_up(self) -> None:
        """Close the connection from any thread."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def send(self, line: bytes) -> None:
        """Send one response."""
        with self._writing:
            self._connection.sendall(line + b"\r\n")

    def announce(self) -> None:
        """Tell an idling client what has changed; called from the thread that changed it."""
        with self._writing, contextlib.suppress(OSError):
            if self._idle_tag is not None:
                self.tell_changes()

    def tell_changes(self) -> None:
        """Tell which messages came and went. Changes of labels and flags are not pushed (quirk 2)."""
        if self.folder is None:
            return
        with self.account.lock:
            now = self.account.visible(self.folder)
        for uid in [uid for uid in self.view if uid not in now]:
            self.send(b"* %d EXPUNGE" % (list(self.view).index(uid) + 1))
            del self.view[uid]
        new = [uid for uid in now if uid not in self.view]
        self.view = now
        if new:
            self.send(b"* %d EXISTS" % len(now))

    def open(self, folder: Folder | None, *, read_only: bool = False) -> None:
        """Change the open mailbox."""
        self.folder, self.read_only = folder, read_only
        self.view = {} if folder is None else self.account.visible(folder)

    def messages(self) -> list[tuple[int, int, Mail]]:
        """Return number, UID and message of what the client knows and is still there."""
        mails = self.account.mails
        return [
            (seq, uid, mails[msgid])
            for seq, (uid, msgid) in enumerate(self.view.items(), 1)
            if msgid in mails and self.folder is not None and msgid in self.folder.uids
        ]

    def _read(self) -> Frame | None:
        while True:
            event = self._framer.next_event()
            if isinstance(event, Frame):
                return event
            if isinstance(event, ContinuationWanted):
                self.send(b"+ go ahead")
                continue
            data = self._connection.recv(65536)
            if not data:
                return None
            self._framer.feed(data)

    def _command(self, frame: Frame) -> None:
        if self._idle_tag is not None:
            with self._writing:
                tag, self._idle_tag = self._idle_tag, None
                self.send(tag + b" OK IDLE terminated (Success)")
            return
        tag, _, text = as_text(frame).partition(b" ")
        self.server.commands.append(text)
        scan = Scanner(frame)
        scan.atom()
        try:
            scan.space()
            name = scan.atom().decode().upper()
            if name == "IDLE":
                self._idle(tag)
                return
            self._check(name)
            scan.skip_spaces()
            handler = HANDLERS.get(name) or MESSAGE_HANDLERS.get(name)
            if handler is None:
                raise Refusal("BAD Unknown command")
            done = handler(self, scan)
        except Refusal as refusal:
            self.send(tag + b" " + str(refusal).encode())
        except ValueError as error:
            self.send(tag + b" BAD " + str(error).encode())
        else:
            self.send(tag + b" OK " + done)

    def _check(self, name: str) -> None:
        if not self.logged_in and name not in _BEFORE_LOGIN:
            raise Refusal("BAD Unknown command")
        if name in _NEEDS_MAILBOX and self.folder is None:
            raise Refusal("BAD No folder selected")

    def _idle(self, tag: bytes) -> None:
        with self._writing:
            self.send(b"+ idling")
            self._idle_tag = tag
            self.tell_changes()


def as_text(frame: Frame) -> bytes:
    """Return a command as one piece of text, literals inside."""
    return b"".join(
        b"{%d}%b" % (piece.size, piece.data or b"") if isinstance(piece, Literal) else piece for piece in frame.pieces
    )
