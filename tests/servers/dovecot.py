"""A real Dovecot on loopback, as the upstream of tests."""

from __future__ import annotations

import contextlib
import getpass
import grp
import imaplib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from mailcache.crypto.certificates import write_self_signed
from tests.servers.required import required_program
from tests.waiting import wait_until

PASSWORD = "upstream-secret"
_DATE = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)

_CONFIGURATION = """
protocols = imap
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/log
listen = 127.0.0.1
ssl = yes
ssl_cert = <{directory}/cert.pem
ssl_key = <{directory}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_max_userip_connections = 0
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:{directory}/mail/%u
maildir_very_dirty_syncs = yes
mail_fsync = never
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={directory}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Sent {{
    special_use = \\Sent
    auto = create
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = create
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = create
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = create
  }}
  mailbox Archive {{
    special_use = \\Archive
    auto = create
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
{extra}
"""


class Dovecot:
    """One Dovecot with its own directory; any user name, one password. It can be stopped and started again."""

    host = "127.0.0.1"
    password = PASSWORD

    def __init__(self, directory: Path, *, separator: str = "/", extra: str = "") -> None:
        self._program = required_program("dovecot", "dovecot-imapd")
        self._directory = directory
        self.plain_port, self.tls_port = free_port(), free_port()
        self.ca_file = directory / "cert.pem"
        self._process: subprocess.Popen[bytes] | None = None
        self._write_files(separator, extra)

    @property
    def pid(self) -> int:
        """Process id of the master while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and return when connections are served."""
        command = [self._program, "-F", "-c", str(self._directory / "dovecot.conf")]
        with (self._directory / "output").open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_until(self._greets)

    def stop(self) -> None:
        """Stop; connections end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=20)
            self._process = None

    @contextlib.contextmanager
    def login(self, user: str) -> Iterator[imaplib.IMAP4]:
        """Yield a logged-in imaplib client."""
        client = imaplib.IMAP4(self.host, self.plain_port, timeout=60)
        try:
            client.login(user, self.password)
            yield client
        finally:
            with contextlib.suppress(OSError, imaplib.IMAP4.error):
                client.logout()

    def deliver(
        self,
        user: str,
        message: bytes,
        mailbox: str = "INBOX",
        *,
        flags: tuple[str, ...] = (),
        internal_date: datetime = _DATE,
    ) -> None:
        """Put a message into a mailbox of a user."""
        with self.login(user) as client:
            stamp = internal_date.strftime('"%d-%b-%Y %H:%M:%S %z"')
            status, answer = client.append(f'"{mailbox}"', f"({' '.join(flags)})", stamp, message)
            assert status == "OK", answer

    def fill_inbox(self, user: str, messages: Iterable[bytes]) -> int:
        """Write many messages, with CRLF, where Dovecot finds them as INBOX of a new user; returns their octets.

        As a delivery leaves them: with bare line feeds, and both sizes in the file's name.
        """
        maildir = self._directory / "mail" / user
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        octets, delivered_at = 0, int(_DATE.timestamp())
        for number, wire in enumerate(messages):
            stored = wire.replace(b"\r\n", b"\n")
            name = f"{delivered_at + number}.M{number:06d}P1.bench,S={len(stored)},W={len(wire)}:2,"
            (maildir / "cur" / name).write_bytes(stored)
            octets += len(wire)
        _, _, mail_uid, mail_gid = _identities()
        for path in (maildir, *maildir.rglob("*")):
            os.chown(path, mail_uid, mail_gid)
        with self.login(user) as client:
            client.select("INBOX")  # the index is built now
        return octets

    def log(self) -> str:
        """Return what Dovecot logged."""
        return (self._directory / "log").read_text(errors="replace")

    def _write_files(self, separator: str, extra: str) -> None:
        self._directory.chmod(0o755)
        write_self_signed(
            self.ca_file, self._directory / "key.pem", hostnames=["localhost", "127.0.0.1"], now=datetime.now(UTC)
        )
        mail = self._directory / "mail"
        mail.mkdir()
        mail.chmod(0o777)
        internal_user, login_user, mail_uid, mail_gid = _identities()
        text = _CONFIGURATION.format(
            directory=self._directory,
            password=self.password,
            separator=separator,
            plain_port=self.plain_port,
            tls_port=self.tls_port,
            internal_user=internal_user,
            internal_group=grp.getgrgid(pwd.getpwnam(internal_user).pw_gid).gr_name,
            login_user=login_user,
            mail_uid=mail_uid,
            mail_gid=mail_gid,
            extra=extra,
        )
        (self._directory / "dovecot.conf").write_text(text)

    def _greets(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Dovecot ended: {(self._directory / 'output').read_text(errors='replace')}")
        try:
            with socket.create_connection((self.host, self.plain_port), timeout=5) as connection:
                return connection.recv(4) == b"* OK"
        except OSError:
            return False


@contextlib.contextmanager
def running_dovecot(directory: Path, *, separator: str = "/", extra: str = "") -> Iterator[Dovecot]:
    """Yield a started Dovecot; it is stopped and its directory removed at the end."""
    server = Dovecot(directory, separator=separator, extra=extra)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def new_user() -> str:
    """Return a user name that no test has used."""
    return f"user-{secrets.token_hex(6)}"


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _identities() -> tuple[str, str, int, int]:
    """Return Dovecot's internal user, its login user, and the uid and gid that own the mail."""
    if os.geteuid() != 0:
        me = getpass.getuser()
        return me, me, os.getuid(), os.getgid()
    mail = pwd.getpwnam("nobody")
    return "dovecot", "dovenull", mail.pw_uid, mail.pw_gid
