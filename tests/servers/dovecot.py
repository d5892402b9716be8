"""A real Dovecot on loopback, as the upstream of tests."""

from __future__ import annotations

import contextlib
import getpass
import grp
import os
import pwd
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.servers.imap_server import PASSWORD, ImapServer, free_port, new_user, running
from tests.servers.required import required_program

__all__ = ["PASSWORD", "Dovecot", "free_port", "new_user", "running_dovecot"]

_DELIVERED = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)

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
    auto = {auto}
  }}
  mailbox Drafts {{
    special_use = \\Drafts
    auto = {auto}
  }}
  mailbox Trash {{
    special_use = \\Trash
    auto = {auto}
  }}
  mailbox Junk {{
    special_use = \\Junk
    auto = {auto}
  }}
  mailbox Archive {{
    special_use = \\Archive
    auto = {auto}
  }}
}}
service imap-login {{
  chroot =
  service_count = 0
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service imap {{
  service_count = 100
  process_min_avail = 2
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


class Dovecot(ImapServer):
    """One Dovecot with its own directory; any user name, one password. ``bare``: new users have INBOX only."""

    def __init__(self, directory: Path, *, separator: str = "/", extra: str = "", bare: bool = False) -> None:
        self._program = required_program("dovecot", "dovecot-imapd")
        super().__init__(directory)
        self._write_files(separator, extra, bare=bare)

    def fill_inbox(self, user: str, messages: Iterable[bytes]) -> int:
        """Write many messages, with CRLF, where Dovecot finds them as INBOX of a new user; returns their octets.

        As a delivery leaves them: with bare line feeds, and both sizes in the file's name.
        """
        maildir = self._directory / "mail" / user
        for name in ("cur", "new", "tmp"):
            (maildir / name).mkdir(parents=True)
        octets, delivered_at = 0, int(_DELIVERED.timestamp())
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

    def _command(self) -> list[str]:
        return [self._program, "-F", "-c", str(self._directory / "dovecot.conf")]

    def _write_files(self, separator: str, extra: str, *, bare: bool) -> None:
        mail = self._directory / "mail"
        mail.mkdir()
        mail.chmod(0o777)
        internal_user, login_user, mail_uid, mail_gid = _identities()
        text = _CONFIGURATION.format(
            directory=self._directory,
            password=self.password,
            separator=separator,
            auto="no" if bare else "create",
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


@contextlib.contextmanager
def running_dovecot(directory: Path, *, separator: str = "/", extra: str = "", bare: bool = False) -> Iterator[Dovecot]:
    """Yield a started Dovecot; it is stopped and its directory removed at the end."""
    with running(Dovecot(directory, separator=separator, extra=extra, bare=bare), directory) as server:
        yield server


def _identities() -> tuple[str, str, int, int]:
    """Return Dovecot's internal user, its login user, and the uid and gid that own the mail."""
    if os.geteuid() != 0:
        me = getpass.getuser()
        return me, me, os.getuid(), os.getgid()
    mail = pwd.getpwnam("nobody")
    return "dovecot", "dovenull", mail.pw_uid, mail.pw_gid
