"""An IMAP server that says what a test wants it to say, when real servers do not misbehave on request."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from types import TracebackType
from typing import Self

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class Action(Enum):
    """What a server may do instead of talking."""

    HANG = auto()
    """Say nothing until the client goes away."""
    DROP = auto()
    """Close the connection."""
    RESET = auto()
    """Close the connection with a TCP reset."""
    TLS = auto()
    """Do the server's part of a TLS handshake."""


Step = bytes | Action
Answer = Step | tuple[Step, ...]
Answers = Mapping[str, Answer | list[Answer]]

LOGGED_IN: dict[str, Answer | list[Answer]] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n",
    "LOGIN": b"{tag} OK welcome\r\n",
    "AUTHENTICATE": b"{tag} OK welcome\r\n",
    "ID": b"* ID NIL\r\n{tag} OK done\r\n",
    "LOGOUT": b"* BYE bye\r\n{tag} OK done\r\n",
    "NOOP": b"{tag} OK done\r\n",
    "EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 9] ok\r\n{tag} OK [READ-ONLY] done\r\n",
}


class ScriptedImap:
    """Answers each command by its name from ``answers``; ``{tag}`` stands for the command's tag.

    A list holds one answer for each time the command comes, the last one for ever. A command without an answer is BAD.
    ``DONE`` answers the end of IDLE, ``RESPONSE`` what follows a ``+`` of AUTHENTICATE. ``commands`` records every line
    without its tag. ``number_of_connection`` tells on which connection, from 1, the command came that is
    being answered.
    """

    def __init__(
        self,
        answers: Answers | None = None,
        *,
        greeting: Answer = b"* OK ready\r\n",
        tls: ssl.SSLContext | None = None,
        logged_in: bool = True,
    ) -> None:
        self.commands: list[bytes] = []
        self.connections = 0
        self.over = threading.Event()
        """Set when a connection has ended: where the server hangs, because the client closed it."""
        self._answers = {**(LOGGED_IN if logged_in else {}), **(answers or {})}
        self._counts: dict[str, int] = {}
        self._current = threading.local()
        self._greeting = greeting
        self._tls = tls
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="scripted-imap", daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def answer(self, name: str, answer: Answer | list[Answer]) -> None:
        """Answer a command otherwise from now on."""
        self._answers[name] = answer

    @property
    def number_of_connection(self) -> int:
        """The connection whose command is being answered."""
        number: int = self._current.number
        return number

    @property
    def command(self) -> bytes:
        """The command that is being answered; other connections may have sent others meanwhile."""
        command: bytes = self._current.command
        return command

    def more_comes(self, seconds: float) -> bool:
        """Tell whether the client sends more without waiting for the answer to its command."""
        conversation: _Conversation = self._current.conversation
        return conversation.more_comes(seconds)

    def say(self, data: bytes) -> None:
        """Send something to the client that came last, out of turn."""
        with contextlib.suppress(OSError):
            self._open[-1].sendall(data)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        self._current.number = number
        conversation = _Conversation(connection, self._tls)
        try:
            if conversation.perform(self._greeting, b""):
                while self._answer(conversation):
                    pass
        except OSError:
            pass  # the client went away
        finally:
            self.over.set()
            conversation.close()

    def _answer(self, conversation: _Conversation) -> bool:
        line = conversation.read_command()
        if line is None:
            return False
        if line.upper() == b"DONE" or conversation.awaits_response:
            name, command = ("DONE" if line.upper() == b"DONE" else "RESPONSE"), line
        else:
            conversation.tag, _, command = line.partition(b" ")
            words = command.decode("latin-1").upper().split(" ")
            name = " ".join(words[:2]) if words[0] == "UID" else words[0]
        self.commands.append(command)
        self._current.command = command
        self._current.conversation = conversation
        return conversation.perform(self._next_answer(name), name.encode())

    def _next_answer(self, name: str) -> Answer:
        answer = self._answers.get(name, b"{tag} BAD unknown\r\n")
        if not isinstance(answer, list):
            return answer
        index = self._counts.get(name, 0)
        self._counts[name] = index + 1
        return answer[min(index, len(answer) - 1)]


class _Conversation:
    """One connection of the server."""

    def __init__(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        self._connection = connection
        self._tls = tls
        self._buffer = b""
        self.tag = b""
        self.awaits_response = False

    def close(self) -> None:
        self._connection.close()

    def perform(self, answer: Answer, name: bytes) -> bool:
        """Do what the answer says; False at the end of the conversation."""
        steps: Sequence[Step] = answer if isinstance(answer, tuple) else (answer,)
        self.awaits_response = False
        for step in steps:
            if isinstance(step, bytes):
                self._connection.sendall(step.replace(b"{tag}", self.tag))
                self.awaits_response = name in {b"AUTHENTICATE", b"RESPONSE"} and step.startswith(b"+")
            elif step is Action.TLS:
                assert self._tls is not None
                self._connection = self._tls.wrap_socket(self._connection, server_side=True)
            else:
                self._end(step)
                return False
        return True

    def more_comes(self, seconds: float) -> bool:
        return bool(self._buffer) or bool(select.select([self._connection], [], [], seconds)[0])

    def read_command(self) -> bytes | None:
        """Return a command without its CRLF, literals inside; None when the client is gone."""
        command = b""
        while True:
            line = self._read_line()
            if not line:
                return None
            command += line
            found = _LITERAL.search(line)
            if not found:
                return command.removesuffix(b"\r\n")
            if not found[2]:
                self._connection.sendall(b"+ go\r\n")
            command += self._read_exactly(int(found[1]))

    def _end(self, action: Action) -> None:
        if action is Action.HANG:
            while self._connection.recv(65536):
                pass
        elif action is Action.RESET:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    def _read_line(self) -> bytes:
        while b"\n" not in self._buffer:
            data = self._connection.recv(65536)
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"

    def _read_exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            data = self._connection.recv(65536)
            if not data:
                return b""
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken
