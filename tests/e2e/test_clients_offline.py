"""The upstream is away for the whole session of a real client: nothing of its work is lost, and it gets there."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.builders import message_bytes
from tests.e2e.figures import Report
from tests.e2e.mbsync_session import MbsyncSession
from tests.e2e.mirror import Mirror, differences, imaplib_login, read_with_imaplib
from tests.e2e.mutt_session import MuttSession
from tests.e2e.system import EVERYTHING, PASSWORD, System
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_SUBJECTS = ("one", "two", "three", "four", "five")
_REPLAY_SECONDS = 120
_UNSETTLED = "SELECT count(*) FROM mailcache_mutation WHERE state <> 'settled'"
_PARKED = "SELECT count(*) FROM mailcache_mutation WHERE state = 'parked'"
_FAILED = "SELECT replay_failures FROM mailcache_account"
_AFTER = {
    MbsyncSession: {"INBOX": 4, "Projects": 1},
    MuttSession: {"INBOX": 3, "Archive": 1, "Drafts": 1, "Sent": 1, "Projects": 2},
}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("session_type", [MbsyncSession, MuttSession], ids=["mbsync", "mutt"])
def test_all_work_of_a_client_survives_a_restart_and_gets_there(
    own_dovecot: Dovecot,
    upstream_user: str,
    session_type: type[MbsyncSession | MuttSession],
    report_figure: Report,
) -> None:
    for subject in _SUBJECTS:
        own_dovecot.deliver(upstream_user, message_bytes(subject))
    with System() as system, tempfile.TemporaryDirectory(prefix="imapped-client-") as directory:
        system.start(*EVERYTHING)
        address = system.add_account(upstream_user, port=own_dovecot.plain_port)
        system.wait_in_step(address)
        session = session_type(Path(directory) / "client", port=system.imap_port, user=address, password=PASSWORD)
        session.prepare()

        own_dovecot.stop()
        session.work()
        changed = _read(system.imap_port, address, PASSWORD)
        assert {name: len(messages) for name, messages in changed.items() if messages} == _AFTER[session_type]
        _restart(system)
        assert not differences(_read(system.imap_port, address, PASSWORD), changed)
        waiting = system.query(_UNSETTLED)[0][0]
        assert waiting > 0
        wait_until(lambda: system.query(_FAILED) != [(0,)], _REPLAY_SECONDS)

        seconds = _return_and_wait(own_dovecot, system)
        report_figure(f"{waiting} changes of {session_type.__name__} upstream {seconds:.2f} s after its return")
        assert system.query(_PARKED) == [(0,)]
        assert not differences(_read(own_dovecot.plain_port, upstream_user, own_dovecot.password), changed)
        system.sync(address)
        assert not differences(_read(system.imap_port, address, PASSWORD), changed)


def _restart(system: System) -> None:
    """Kill everything, and start it again."""
    for name in EVERYTHING:
        system.kill(name)
    system.start(*EVERYTHING)


def _return_and_wait(dovecot: Dovecot, system: System) -> float:
    """Start the upstream; returns the seconds from its first accepted connection until all changes have settled."""
    accepted: list[float] = []

    def knock() -> None:
        while not accepted:
            try:
                with closing(socket.create_connection((dovecot.host, dovecot.plain_port), timeout=1)):
                    accepted.append(time.monotonic())
            except OSError:
                time.sleep(0.005)

    knocking = threading.Thread(target=knock)
    knocking.start()
    dovecot.start()
    knocking.join()
    wait_until(lambda: system.query(_UNSETTLED) == [(0,)], _REPLAY_SECONDS)
    return time.monotonic() - accepted[0]


def _read(port: int, user: str, password: str) -> Mirror:
    with imaplib_login(port, user, password) as client:
        return read_with_imaplib(client)
