"""Copies of an account made by ``mbsync``, as sets that can be compared."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.e2e.mbsync import PULL, Mbsync

# mbsync marks each message that it copies with a random header of its own.
_OWN_MARK = re.compile(rb"^X-TUID: [^\n]*\n", re.MULTILINE)

MaildirMessage = tuple[str, bytes, str, int]
"""Mailbox, bytes with LF (mbsync's form on disk), Maildir's flag letters, date in seconds."""


def copy_with_mbsync(directory: Path, *, port: int, user: str, password: str) -> Counter[MaildirMessage]:
    """Copy an account into Maildirs below ``directory`` and return what is in them."""
    Mbsync(directory, rules=PULL, port=port, user=user, password=password).run()
    return Counter(_read(directory))


def mailbox_names(directory: Path) -> set[str]:
    """Return the mailboxes in a copy, also empty ones."""
    return {str(path.parent.relative_to(directory)) for path in directory.rglob("cur")}


def _read(directory: Path) -> list[MaildirMessage]:
    found: list[MaildirMessage] = []
    for path in directory.rglob("*"):
        if path.is_file() and path.parent.name in {"cur", "new"}:
            data = _OWN_MARK.sub(b"", path.read_bytes(), count=1)
            mailbox = str(path.parent.parent.relative_to(directory))
            flags = path.name.partition(":2,")[2]
            found.append((mailbox, data, flags, int(path.stat().st_mtime)))
    return found
