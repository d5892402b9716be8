"""An account beside its real upstream, of which a proxy sees the commands: for tests of comparisons."""

from __future__ import annotations

import os
import shutil

from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from tests.builders import make_account, message_bytes
from tests.fakes.recording_proxy import Command, RecordingProxy
from tests.servers.dovecot import Dovecot
from tests.sync.mirror import mirrored, upstream

IN_A_MAILBOX = ("EXAMINE", "SELECT", "STATUS", "UID SEARCH", "UID FETCH")


class Mirror:
    """An account whose upstream is spoken to through a recording proxy."""

    def __init__(self, dovecot: Dovecot, proxy: RecordingProxy, user: str) -> None:
        self.dovecot = dovecot
        self.user = user
        self.account = make_account(port=proxy.port, username=user, secret=dovecot.password)
        self._proxy = proxy

    def sync(self) -> list[Command]:
        """Sync; returns the commands about mailboxes."""
        seen = len(self._proxy.commands())
        assert run_account_until_done(self.account.pk) is SliceEnd.DONE
        return [command for command in self._proxy.commands()[seen:] if command.verb in IN_A_MAILBOX]

    def agrees(self) -> bool:
        """Tell whether INBOX is the same here and there."""
        return mirrored(self.account)["INBOX"] == upstream(self.dovecot, self.user, "INBOX")["INBOX"]

    def checkpoint(self) -> Checkpoint:
        """Return that of INBOX."""
        return Checkpoint.objects.get(account=self.account, mailbox__name="INBOX")

    def edit(self, *commands: tuple[str, ...]) -> None:
        """Do as another client does in INBOX: UID commands, or EXPUNGE."""
        with self.dovecot.login(self.user) as client:
            client.select("INBOX")
            for name, *arguments in commands:
                status, _ = client.expunge() if name == "EXPUNGE" else client.uid(name, *arguments)
                assert status == "OK"

    def deliver(self, count: int = 1) -> None:
        """Put messages into INBOX."""
        with self.dovecot.login(self.user) as client:
            for number in range(count):
                client.append("INBOX", "()", '"17-May-2024 10:30:00 +0200"', message_bytes(f"{number}"))

    def fill(self, count: int) -> None:
        """Put many messages into a new INBOX, past IMAP."""
        maildir = self.dovecot.ca_file.parent / "mail" / self.user
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        for number in range(count):
            data = message_bytes(f"{number}")
            (maildir / "cur" / f"1715934600.M{number:06d}P1.test,S={len(data)}:2,").write_bytes(data)
        if os.geteuid() == 0:
            for path in (maildir, *maildir.rglob("*")):
                shutil.chown(path, "nobody")
