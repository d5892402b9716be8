"""Random histories of a user's mail: what other programs do to it upstream, one edit after the other."""

from __future__ import annotations

import hashlib
import imaplib
from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Protocol

from tests.builders import message_bytes

_NAMES = ("Work", "Play", "Work/Old", "Gr&APwA3w-e", "a b", "[odd] name")
_FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "Later", "$Forwarded")
_DATES = ("17-May-2024 10:30:00 +0200", "01-Jan-2001 00:00:00 +0000", "29-Feb-2024 23:59:59 -0500")
_MOST_MAILBOXES = 4
_MOST_MESSAGES = 12


class Witness(Protocol):
    """Is told of every edit that was made; messages are known by the SHA-256 of their bytes."""

    def made(self, data: bytes, flags: Iterable[str]) -> None:
        """A message is delivered."""

    def copied(self, digests: Iterable[bytes]) -> None:
        """Messages are copied."""

    def taken(self, digests: Iterable[bytes]) -> None:
        """Messages are deleted, or the mailbox that they are in."""

    def moved_there(self, digests: Collection[bytes]) -> None:
        """Messages are moved, or the mailbox that they are in is renamed."""

    def stored_there(self, digests: Iterable[bytes], operation: str, flags: Iterable[str]) -> None:
        """Flags of messages are changed by ``operation``: one of STORE's."""


class Edits:
    """Edits through one connection; what there is to edit is read from the server."""

    def __init__(self, client: imaplib.IMAP4, rng: Random, told: list[str], witness: Witness | None = None) -> None:
        self._client = client
        self._witness = witness
        self._rng = rng
        self._mailboxes = ["INBOX"]
        self._sent: list[bytes] = []
        self.told = told
        """Gets what was done, in words."""
        self.touched: set[str] = set()
        """Mailboxes of which something changed; to be cleared by whoever counts what they cost."""

    def make(self, count: int) -> None:
        """Make ``count`` edits."""
        kinds: list[tuple[int, Callable[[], str]]] = [
            (8, self._deliver),
            (5, self._store),
            (4, self._expunge),
            (3, self._copy),
            (3, self._move),
            (2, self._create),
            (1, self._delete),
            (2, self._rename),
            (1, self._renumber),
            (1, self._empty),
        ]
        weights = [weight for weight, _ in kinds]
        for _ in range(count):
            (kind,) = self._rng.choices([kind for _, kind in kinds], weights)
            told = kind()
            if told:
                self.told.append(told)
        self._leave()

    def _deliver(self) -> str:
        mailbox = self._any_mailbox()
        count = self._rng.choice([1, 1, 2, 5])
        for _ in range(count):
            self._append(mailbox, self._message())
        return f"deliver {count} to {mailbox}"

    def _message(self) -> bytes:
        if self._sent and self._rng.random() < 0.15:
            return self._rng.choice(self._sent)  # the same bytes once more: a copy that was made elsewhere
        lines = self._rng.choice([1, 3, 40, 400])
        message = message_bytes(f"{len(self._sent)} of {self._rng.random():.9f}", "some words of text\r\n" * lines)
        self._sent.append(message)
        return message

    def _append(self, mailbox: str, message: bytes) -> None:
        flags = self._some(_FLAGS)
        self._must(
            self._client.append(f'"{mailbox}"', f"({' '.join(flags)})", f'"{self._rng.choice(_DATES)}"', message)
        )
        if self._witness is not None:
            self._witness.made(message, flags)
        self.touched.add(mailbox)

    def _store(self) -> str:
        return self._on_some("STORE", lambda: (self._rng.choice(["+FLAGS", "-FLAGS", "FLAGS"]), self._flag_list()))

    def _expunge(self) -> str:
        told = self._on_some("STORE", lambda: ("+FLAGS", "(\\Deleted)"))
        if told:
            deleted = self._digests(self._found("DELETED"))
            self._must(self._client.expunge())
            self._note_taken(deleted)
        return told and f"expunge: {told}"

    def _copy(self) -> str:
        return self._on_some("COPY", self._target)

    def _move(self) -> str:
        return self._on_some("MOVE", self._target)

    def _create(self) -> str:
        free = [name for name in _NAMES if name not in self._mailboxes]
        if len(self._mailboxes) > _MOST_MAILBOXES or not free:
            return ""
        name = self._rng.choice(free)
        status, _ = self._client.create(f'"{name}"')
        if status != "OK":
            return ""  # one below it has made it already
        self._mailboxes.append(name)
        self.touched.add(name)
        return f"create {name}"

    def _delete(self) -> str:
        name = self._other_mailbox()
        if name:
            exists = self._select(name) if self._witness is not None else 0
            deleted = self._digests(f"1:{exists}") if exists else []
            self._leave()
            self._must(self._client.delete(f'"{name}"'))
            self._note_taken(deleted)
            self._mailboxes.remove(name)
        return name and f"delete {name}"

    def _rename(self) -> str:
        name, free = self._other_mailbox(), [name for name in _NAMES if name not in self._mailboxes]
        if not name or not free:
            return ""
        other = self._rng.choice(free)
        # Renaming takes the levels below along, and a mailbox cannot go below itself, nor where levels below are.
        if "/" in name + other or {f"{name}/Old", f"{other}/Old"} & set(self._mailboxes):
            return ""
        exists = self._select(name) if self._witness is not None else 0
        moved = self._digests(f"1:{exists}") if exists else []
        self._leave()
        if self._client.rename(f'"{name}"', f'"{other}"')[0] != "OK":
            return ""  # one that was below it has left it behind
        if self._witness is not None:
            self._witness.moved_there(moved)
        self._mailboxes[self._mailboxes.index(name)] = other
        self.touched.add(other)
        return f"rename {name} to {other}"

    def _renumber(self) -> str:
        """Give a mailbox another UIDVALIDITY and its messages other UIDs: what a restored backup does."""
        name = self._other_mailbox()
        if not name or "/" in name or f"{name}/Old" in self._mailboxes:
            return ""
        self._leave()
        # Cyrus cannot delete two mailboxes of one name within a second.
        aside = f"Aside {len(self.told)}"
        self._must(self._client.rename(f'"{name}"', f'"{aside}"'))
        self._must(self._client.create(f'"{name}"'))
        if self._select(aside):
            self._must(self._client.uid("COPY", "1:*", f'"{name}"'))
        self._leave()
        self._must(self._client.delete(f'"{aside}"'))
        self.touched.add(name)
        return f"renumber {name}"

    def _empty(self) -> str:
        name = self._any_mailbox()
        if not self._select(name):
            return ""
        deleted = self._digests("1:*")
        self._must(self._client.store("1:*", "+FLAGS", "(\\Deleted)"))
        self._must(self._client.expunge())
        self._note_taken(deleted)
        self.touched.add(name)
        return f"empty {name}"

    def _on_some(self, command: str, arguments: Callable[[], tuple[str, ...]]) -> str:
        name = self._any_mailbox()
        exists = self._select(name)
        if not exists:
            return ""
        numbers = self._some(range(1, exists + 1), least=1)
        chosen, told = ",".join(map(str, numbers)), arguments()
        digests = self._digests(chosen)
        if command == "STORE":
            self._must(self._client.store(chosen, *told))
        elif command == "COPY":
            self._must(self._client.copy(chosen, *told))
        else:
            uids = self._client.uid("SEARCH", chosen)[1][0].decode().replace(" ", ",")
            self._must(self._client.uid("MOVE", uids, *told))
        self._note(command, digests, told)
        self.touched.add(name)
        return f"{command} {chosen} of {exists} in {name}: {' '.join(told)}"

    def _note(self, command: str, digests: list[bytes], told: tuple[str, ...]) -> None:
        if self._witness is None:
            return
        if command == "STORE":
            self._witness.stored_there(digests, told[0], told[1].strip("()").split())
        elif command == "COPY":
            self._witness.copied(digests)
        else:
            self._witness.moved_there(digests)

    def _note_taken(self, digests: list[bytes]) -> None:
        if self._witness is not None:
            self._witness.taken(digests)

    def _found(self, criteria: str) -> str:
        """Return the numbers of the messages of the open mailbox that are so."""
        numbers = self._must(self._client.search(None, criteria))[0] or b""
        return numbers.decode().replace(" ", ",")

    def _digests(self, chosen: str) -> list[bytes]:
        """Return what these messages of the open mailbox are known by, where somebody wants to know."""
        if self._witness is None:
            return []
        status, answer = self._client.fetch(chosen, "(BODY.PEEK[])")
        assert status == "OK", answer
        return [hashlib.sha256(part[1]).digest() for part in answer if isinstance(part, tuple)]

    def _target(self) -> tuple[str]:
        name = self._any_mailbox()
        self.touched.add(name)
        return (f'"{name}"',)

    def _flag_list(self) -> str:
        return f"({' '.join(self._some(_FLAGS))})"

    def _some(self, values: range | tuple[str, ...], least: int = 0) -> list[str]:
        texts = [str(value) for value in values]
        count = min(len(texts), max(least, int(self._rng.triangular(0, 4, 1))))
        chosen = set(self._rng.sample(texts, count))
        return [text for text in texts if text in chosen]

    def _any_mailbox(self) -> str:
        return self._rng.choice([*self._mailboxes, "INBOX"])

    def _other_mailbox(self) -> str:
        return self._rng.choice(self._mailboxes[1:]) if len(self._mailboxes) > 1 else ""

    def _select(self, name: str) -> int:
        (exists,) = self._must(self._client.select(f'"{name}"'))
        return int(exists or 0)

    def _leave(self) -> None:
        if self._client.state == "SELECTED":
            self._must(self._client.unselect())

    def _must(self, answer: tuple[str, Sequence[bytes | None]]) -> Sequence[bytes | None]:
        assert answer[0] == "OK", (answer, self.told)
        return answer[1]
