"""An account that kept workers waiting is synced by the worker of the slow lane, and by no other."""

from __future__ import annotations

import pytest

from tests.builders import message_bytes
from tests.e2e.system import System
from tests.servers.dovecot import Dovecot

pytestmark = pytest.mark.dovecot

_SLOW = "UPDATE mailcache_account SET slow_until = clock_timestamp() + interval '1 hour'"


@pytest.mark.timeout(200)
def test_the_slow_lane_has_a_worker_of_its_own(dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, message_bytes())
    with System() as system:
        address = system.add_account(upstream_user, port=dovecot.plain_port)
        system.query(_SLOW)
        # The message that `add_account` sent waits for a worker of the fast lane, which passes it on.
        system.start("worker")
        system.manage("force_sync", "--account-email", address)
        assert not system.is_in_step(address)
        system.start("slow")
        system.wait_in_step(address, timeout=60)
        assert system.query("SELECT count(*) FROM sync_syncrun WHERE outcome = 'completed'")[0][0] >= 1
        system.stop()
