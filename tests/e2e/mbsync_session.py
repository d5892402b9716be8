"""A person who works offline with ``mbsync``: Maildirs that are kept in step in both directions."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.mbsync import BOTH_WAYS, Mbsync


class MbsyncSession:
    """Maildirs below ``directory``, which must not exist yet, and the account that they belong to."""

    def __init__(self, directory: Path, *, port: int, user: str, password: str) -> None:
        self._directory = directory
        self._mbsync = Mbsync(directory, rules=BOTH_WAYS, port=port, user=user, password=password)

    def sync(self) -> None:
        """Run mbsync; fails the test if it does not succeed."""
        self._mbsync.run()

    def prepare(self) -> None:
        """Copy everything."""
        self.sync()

    def work(self) -> None:
        """Change flags, delete, write drafts, file mail in a new mailbox; then sync, twice."""
        self._mark("one", "S")
        self._mark("two", "FS")
        self._find("three").unlink()
        self._write("INBOX", "put here by hand", "S")
        self._write("Drafts", "a draft", "D")
        (self._directory / "Projects").mkdir()
        for name in ("cur", "new", "tmp"):
            (self._directory / "Projects" / name).mkdir()
        filed = self._find("four")
        filed.rename(self._directory / "Projects" / "cur" / re.sub(",U=[0-9]+", "", filed.name))
        self.sync()
        # What was pushed is there as any other mail is.
        self._mark("put here by hand", "FS")
        self._find("a draft").unlink()
        self.sync()

    def _find(self, subject: str) -> Path:
        wanted = f"Subject: {subject}\n".encode()
        found = [path for path in self._directory.rglob("*") if path.is_file() and wanted in path.read_bytes()]
        assert len(found) == 1, (subject, found)
        return found[0]

    def _mark(self, subject: str, flags: str) -> None:
        path = self._find(subject)
        path.rename(path.parent.parent / "cur" / f"{path.name.partition(':')[0]}:2,{flags}")

    def _write(self, mailbox: str, subject: str, flags: str) -> None:
        text = f"From: me@example.test\nSubject: {subject}\nMessage-ID: <{subject.replace(' ', '.')}@here>\n\nText.\n"
        (self._directory / mailbox / "cur" / f"{subject.replace(' ', '-')}:2,{flags}").write_text(text)
