"""Copies of an account made by ``mbsync``, as sets that can be compared."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

from tests.servers.required import required_program

_CONFIGURATION = """
IMAPStore remote
Host 127.0.0.1
Port {port}
User "{user}"
Pass "{password}"
SSLType None
AuthMechs LOGIN
Timeout 60

MaildirStore local
Path {directory}/
Inbox {directory}/INBOX
SubFolders Verbatim

Channel copy
Far :remote:
Near :local:
Patterns *
Create Near
Sync Pull
Expunge None
CopyArrivalDate yes
SyncState {directory}-state/
"""
# mbsync marks each message that it copies with a random header of its own.
_OWN_MARK = re.compile(rb"^X-TUID: [^\n]*\n", re.MULTILINE)

MaildirMessage = tuple[str, bytes, str, int]
"""Mailbox, bytes with LF (mbsync's form on disk), Maildir's flag letters, date in seconds."""


def copy_with_mbsync(directory: Path, *, port: int, user: str, password: str) -> Counter[MaildirMessage]:
    """Copy an account into Maildirs below ``directory`` and return what is in them."""
    program = required_program("mbsync", "isync")
    directory.mkdir()
    directory.with_name(directory.name + "-state").mkdir()
    configuration = directory.with_name(directory.name + ".conf")
    configuration.write_text(
        _CONFIGURATION.format(directory=directory, port=port, user=user, password=password), encoding="utf-8"
    )
    configuration.chmod(0o600)
    run = subprocess.run(
        [program, "--config", configuration, "copy"], capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
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
