"""As whom the servers run: PostgreSQL refuses to run as root, so root has to become somebody else."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imapped_site.embedded.errors import EmbeddedError

_NOBODY = 65534
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose rights a server has: *uid* is switched to if given; *own_namespace* makes root look like another user."""

    uid: int | None = None
    own_namespace: bool = False

    def popen_options(self, *, death_signal: signal.Signals) -> dict[str, Any]:
        """Arguments for ``subprocess.Popen``: take the identity on, then get *death_signal* when the parent dies."""
        options: dict[str, Any] = {
            "preexec_fn": before_exec(death_signal=death_signal, own_namespace=self.own_namespace),
            "start_new_session": True,  # Ctrl-C at the terminal is for the launcher, which stops servers in order
        }
        if self.uid is not None:
            options |= {"user": self.uid, "group": self.uid, "extra_groups": []}
        return options

    def take_over(self, path: Path) -> None:
        """Make *path* and everything in it belong to this identity (root only; others own their files)."""
        if os.geteuid() != 0:
            return
        owner = self.uid if self.uid is not None else 0
        if path.stat().st_uid == owner:
            return
        for child in (path, *path.rglob("*")):
            os.chown(child, owner, owner, follow_symlinks=False)


def before_exec(*, death_signal: signal.Signals, own_namespace: bool = False) -> Callable[[], None]:
    """What a child does between fork and exec. The death signal comes last: a change of user would clear it."""
    parent = os.getpid()

    def prepare() -> None:
        if own_namespace:
            _enter_namespace()
        die_with_parent(death_signal, parent=parent)

    return prepare


def die_with_parent(death_signal: signal.Signals, *, parent: int) -> None:
    """Have the kernel send *death_signal* to this process when *parent* ends, however it ends (Linux only)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _enter_namespace() -> None:
    """Enter a user namespace in which our own files, and nothing else, belong to "nobody", who is us."""
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{_NOBODY} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{_NOBODY} {group} 1", encoding="ascii")


def choose_identity(programs: Sequence[Path], directory: Path) -> Identity:
    """Choose how to run *programs* with data below *directory*.

    An ordinary user stays what they are. Root becomes "nobody" if that user can reach programs and data, else stays
    the owner of the files inside a user namespace, as does a user without a name, whom initdb refuses. Raises
    EmbeddedError if none of it is possible.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Identity()
    nobody = Identity(uid=_NOBODY)
    if os.geteuid() == 0 and _reaches(nobody, programs, directory):
        return nobody
    namespace = Identity(own_namespace=True)
    if _reaches(namespace, programs, directory):
        return namespace
    raise EmbeddedError(
        f"PostgreSQL runs neither as root nor as a user without a name, user {_NOBODY} can not reach {directory} and "
        "the virtual environment, and user namespaces are not allowed here. Move the checkout to a directory that "
        "others may enter (not /root), run as an ordinary user, or set DATABASE_URL and REDIS_URL."
    )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _reaches(identity: Identity, programs: Sequence[Path], directory: Path) -> bool:
    return _runs(identity, ["test", "-x", directory]) and all(_runs(identity, [path, "--version"]) for path in programs)


def _runs(identity: Identity, command: Sequence[str | Path]) -> bool:
    try:
        run = subprocess.run(
            command, cwd="/", capture_output=True, timeout=20, check=False,
            **identity.popen_options(death_signal=signal.SIGKILL),
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return False
    return run.returncode == 0
