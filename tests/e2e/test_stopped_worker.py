"""SIGTERM of a real worker in the middle of a first sync: it hands over, and the next worker goes on at once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.system import System
from tests.fakes.recording_proxy import RecordingProxy
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_MESSAGES = 30
_BODY = b"".join(b"%064d\r\n" % line for line in range(1000))
_SLOW = 60_000.0  # octets a second: all of it would take half a minute
_RUN = "SELECT outcome, slices, messages_added, finished_at IS NULL FROM sync_syncrun"
_LEFT = "SELECT count(*) FROM sync_connectionslot WHERE expires_at > clock_timestamp()"
_LEASES = "SELECT count(*) FROM mailcache_lease WHERE kind = 'sync' AND expires_at > clock_timestamp()"


def _pool_of(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("told", ["the worker", "every process"])
def test_a_stopped_worker_hands_over(dovecot: Dovecot, upstream_user: str, told: str) -> None:
    """Some supervisors signal the worker alone, others all of its processes."""
    with dovecot.login(upstream_user) as loader:
        for number in range(_MESSAGES):
            loader.append("INBOX", "", "", b"Subject: %d\r\n\r\n" % number + _BODY)
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy, System() as system:
        proxy.slow_down(_SLOW)
        system.start("worker", "beat")
        address = system.add_account(upstream_user, port=proxy.port)
        wait_until(lambda: system.query("SELECT 1 FROM mailcache_content LIMIT 1"), 60)
        if told == "every process":
            for child in _pool_of(system.process("worker").pid):
                os.kill(child, signal.SIGTERM)
        system.stop("worker")

        assert system.query(_RUN) == [("interrupted", 1, _MESSAGES, True)]
        assert system.query(_LEFT) == system.query(_LEASES) == [(0,)]

        proxy.slow_down(None)
        system.start("worker")
        system.wait_in_step(address, timeout=60)
        ((outcome, slices, added, is_open),) = system.query(_RUN)
        assert (outcome, slices >= 2, added, is_open) == ("completed", True, _MESSAGES, False)
