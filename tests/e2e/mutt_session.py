"""A person who works with ``mutt``: a real terminal, and the keys that are pressed."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from pathlib import Path

from tests.servers.required import required_program

_CONFIGURATION = """
set folder = "imap://127.0.0.1:{port}/"
set spoolfile = "+INBOX"
set record = "+Sent"
set postponed = "+Drafts"
set imap_user = "{user}"
set imap_pass = "{password}"
set ssl_starttls = no
set ssl_force_tls = no
set from = "me@example.test"
set realname = "Me"
set sendmail = "/bin/true"
set editor = "/bin/true"
set abort_unmodified = no
set confirmcreate = no
set confirmappend = no
set delete = yes
set quit = yes
set move = no
set wait_key = no
set sort = mailbox-order
set message_cachedir = ""
set header_cache = ""
set timeout = 1
"""
_SECONDS = 60.0


class MuttSession:
    """One account as mutt sees it. ``directory`` must not exist yet; it keeps mutt's settings."""

    def __init__(self, directory: Path, *, port: int, user: str, password: str) -> None:
        self._program = required_program("mutt", "mutt")
        directory.mkdir()
        self._configuration = directory / "muttrc"
        self._configuration.write_text(_CONFIGURATION.format(port=port, user=user, password=password))
        self._configuration.chmod(0o600)
        self._environment = {**os.environ, "TERM": "xterm", "HOME": str(directory), "LANG": "C.UTF-8"}

    def prepare(self) -> None:
        """Look at the mailbox."""
        self._press("")

    def work(self) -> None:
        """Flag, delete, copy, save elsewhere, write a draft, send; each is a key in the index, then a sync."""
        self._press(
            "<search>~s one<enter><flag-message>"
            "<search>~s two<enter><set-flag>r<copy-message>=Archive<enter>"
            "<search>~s three<enter><delete-message>"
            "<search>~s four<enter><save-message>=Projects<enter>"
            "<sync-mailbox>"
            "<mail>you@example.test<enter>a draft<enter><postpone-message>"
            "<search>~s five<enter><copy-message>=Projects<enter>"
        )
        self._send("sent by mutt")
        self._press("<search>~s four<enter><flag-message><sync-mailbox>", mailbox="=Projects")

    def _press(self, keys: str, *, mailbox: str = "+INBOX") -> None:
        """Open a mailbox, press keys, quit; fails the test when mutt does not end by itself, or fails."""
        command = [self._program, "-F", str(self._configuration), "-f", mailbox, "-e", f"push '{keys}<quit>'"]
        shown = self._run_in_terminal(command)
        assert shown.status == 0, shown.text

    def _send(self, subject: str) -> None:
        """Send a message; its copy goes to Sent."""
        command = [self._program, "-F", str(self._configuration), "-s", subject, "--", "you@example.test"]
        run = subprocess.run(
            command, input="Text.\n", env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr

    def _run_in_terminal(self, command: list[str]) -> _Shown:
        master, slave = pty.openpty()
        try:
            process = subprocess.Popen(
                command, stdin=slave, stdout=slave, stderr=slave, env=self._environment, start_new_session=True
            )
            try:
                text = _read_until_end(process, master)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait(_SECONDS)
        finally:
            os.close(slave)
            os.close(master)
        return _Shown(process.returncode, text)


class _Shown:
    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.text = text


def _read_until_end(process: subprocess.Popen[bytes], master: int) -> str:
    shown = bytearray()
    ends_at = time.monotonic() + _SECONDS
    while process.poll() is None and time.monotonic() < ends_at:
        if select.select([master], [], [], 0.05)[0]:
            shown += os.read(master, 65_536)
    return shown[-4000:].decode(errors="replace")
