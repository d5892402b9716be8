"""An upstream with one mailbox that tells its connections apart, and may treat them differently."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from mailcache.wire.number_set import NumberSet
from tests.builders import message_bytes
from tests.fakes.scripted_imap import Action, Answer
from tests.sync.one_mailbox import OneMailbox

_PADDING = "0123456789abcdef" * 128


Interfere = Callable[[int, str, bytes], Answer | None]
"""Answers by the number of the connection, the command's name and the whole command; None: as usual."""


class SeveralConnections(OneMailbox):
    """Messages of 2 KB each; ``interfere`` may answer by the number of the connection and the command."""

    def __init__(self, count: int) -> None:
        self.interfere: Interfere = lambda number, name, command: None
        self.by_connection: defaultdict[int, list[bytes]] = defaultdict(list)
        super().__init__(count)
        self.messages = {uid: message_bytes(f"number {uid}", _PADDING + "\r\n") for uid in range(1, count + 1)}

    def bodies_over(self, number: int) -> list[bytes]:
        """Return the commands of one connection that asked for bodies."""
        return [command for command in self.by_connection[number] if b"BODY.PEEK[]" in command]

    def fetched(self) -> list[int]:
        """Return the UID of every body that was asked for, as often as it was."""
        uids: list[int] = []
        for command in self.bodies_asked():
            uids += NumberSet.parse(command.split(b" ")[2])
        return uids

    def _next_answer(self, name: str) -> Answer:
        self.by_connection[self.number_of_connection].append(self.command)
        answer = self.interfere(self.number_of_connection, name, self.command)
        return super()._next_answer(name) if answer is None else answer


def drops_bodies_of(connection: int) -> Interfere:
    """Break one connection whenever it asks for bodies."""
    return lambda number, name, command: Action.DROP if number == connection and b"BODY.PEEK[]" in command else None


class Gate:
    """Holds an answer back until a test lets it go."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        """Let it go."""
        self._event.set()

    def wait(self) -> None:
        """Wait for that, but not for ever."""
        assert self._event.wait(20), "nobody opened the gate"
