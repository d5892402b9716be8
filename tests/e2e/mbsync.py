"""``mbsync`` (isync) between an account and Maildirs."""

from __future__ import annotations

import subprocess
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

Channel mail
Far :remote:
Near :local:
Patterns *
{rules}
CopyArrivalDate yes
SyncState {directory}-state/
"""
PULL = "Create Near\nSync Pull\nExpunge None"
BOTH_WAYS = "Create Both\nExpunge Both\nSync All"


class Mbsync:
    """Maildirs below ``directory``, which must not exist yet; ``rules``: what goes where (``PULL``, ``BOTH_WAYS``)."""

    def __init__(self, directory: Path, *, rules: str, port: int, user: str, password: str) -> None:
        self._program = required_program("mbsync", "isync")
        directory.mkdir()
        directory.with_name(directory.name + "-state").mkdir()
        self._configuration = directory.with_name(directory.name + ".conf")
        values = {"directory": directory, "rules": rules, "port": port, "user": user, "password": password}
        self._configuration.write_text(_CONFIGURATION.format(**values), encoding="utf-8")
        self._configuration.chmod(0o600)

    def run(self) -> None:
        """Run it once; fails the test if it does not succeed."""
        command = [self._program, "--config", str(self._configuration), "mail"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
