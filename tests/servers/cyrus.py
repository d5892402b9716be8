"""A real Cyrus on loopback, as the upstream of tests: Debian's packages, unpacked, because they exclude Dovecot's."""

from __future__ import annotations

import contextlib
import getpass
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.servers.imap_server import ImapServer, running
from tests.servers.required import lacking, required_program

# What `.ci/fetch-cyrus` downloads, without any place in the system.
_PACKAGES = ("cyrus-common", "cyrus-imapd")

# "alwaystrue" takes any password, so that any user name is a user; INBOX comes with the first login.
_IMAPD_CONF = """
configdirectory: {directory}/conf
partition-default: {directory}/spool
defaultpartition: default
cyrus_user: {user}
servername: cyrus.example.test
sasl_pwcheck_method: alwaystrue
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
tls_server_cert: {directory}/cert.pem
tls_server_key: {directory}/key.pem
unixhierarchysep: yes
altnamespace: yes
autocreate_users: anyone
autocreate_quota: 0
{mailboxes}
xlist-sent: Sent
xlist-drafts: Drafts
xlist-trash: Trash
xlist-junk: Junk
xlist-archive: Archive
conversations: yes
expunge_mode: immediate
"""
_CYRUS_CONF = """
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {directory}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {directory}/imapd.conf" listen="127.0.0.1:{plain_port}" prefork=1 maxforkrate=0
  imaps cmd="{programs}/imapd -C {directory}/imapd.conf -s" listen="127.0.0.1:{tls_port}" prefork=0 maxforkrate=0
}}
DAEMON {{
  idled cmd="{programs}/idled -C {directory}/imapd.conf"
}}
"""


class Cyrus(ImapServer):
    """One Cyrus with its own directory; any user name, any password. ``bare``: new users have INBOX only.

    It offers QRESYNC, OBJECTID and COMPRESS, and no NOTIFY.
    """

    def __init__(self, directory: Path, *, bare: bool = False) -> None:
        self._root = directory / "root"
        _unpack(self._root)
        super().__init__(directory)
        self._write_files(bare=bare)

    def _command(self) -> list[str]:
        files = ["-C", "imapd.conf", "-M", "cyrus.conf", "-p", "pid", "-L", "ready"]
        return [
            str(self._programs / "master"),
            "-D",
            *(each if each.startswith("-") else str(self._directory / each) for each in files),
        ]

    def _environment(self) -> dict[str, str]:
        # Its own libraries are in the packages; the programs look for them where a package would have put them.
        libraries = sorted({str(path.parent) for path in self._root.glob("usr/lib/**/libcyrus_imap.so*")})
        return {"LD_LIBRARY_PATH": ":".join(libraries)}

    @property
    def _programs(self) -> Path:
        return self._root / "usr/lib/cyrus/bin"

    def _write_files(self, *, bare: bool) -> None:
        user = _owner()
        values = {
            "directory": self._directory,
            "user": user,
            "mailboxes": "" if bare else "autocreate_inbox_folders: Sent|Drafts|Trash|Junk|Archive",
            "programs": self._programs,
            "plain_port": self.plain_port,
            "tls_port": self.tls_port,
        }
        (self._directory / "imapd.conf").write_text(_IMAPD_CONF.format(**values))
        (self._directory / "cyrus.conf").write_text(_CYRUS_CONF.format(**values))
        for name in ("conf", "conf/socket", "spool"):
            (self._directory / name).mkdir()
        if os.geteuid() == 0:
            (self._directory / "key.pem").chmod(0o644)  # a key of tests
            for path in (self._directory, *(self._directory / name for name in ("conf", "conf/socket", "spool"))):
                shutil.chown(path, user)


@contextlib.contextmanager
def running_cyrus(directory: Path, *, bare: bool = False) -> Iterator[Cyrus]:
    """Yield a started Cyrus; it is stopped and its directory removed at the end."""
    with running(Cyrus(directory, bare=bare), directory) as server:
        yield server


def _unpack(root: Path) -> None:
    dpkg = required_program("dpkg", "dpkg")
    downloads = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imapped" / "cyrus"
    for package in _PACKAGES:
        archive = max(downloads.glob(f"{package}_*.deb"), default=None)
        if archive is None:
            lacking(f"{package} is not in {downloads} (Debian: .ci/fetch-cyrus)")
        subprocess.run([dpkg, "--extract", archive, root], check=True)


def _owner() -> str:
    """Return who owns the mail: Cyrus does not serve as root."""
    return getpass.getuser() if os.geteuid() != 0 else pwd.getpwnam("nobody").pw_name
