"""While the upstream is away everything mirrored is served; when it is back, sync recovers by itself."""

from __future__ import annotations

import pytest

from tests.corpus import load_corpus, make_corpus
from tests.e2e.mirror import Mirror, differences, imaplib_login, read_with_imaplib
from tests.e2e.system import EVERYTHING, PASSWORD, System
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_RECOVERY_SECONDS = 150


def _read(port: int, user: str, password: str) -> Mirror:
    with imaplib_login(port, user, password) as client:
        return read_with_imaplib(client)


@pytest.mark.timeout(400)
def test_everything_is_served_and_sync_recovers(own_dovecot: Dovecot, upstream_user: str) -> None:
    with own_dovecot.login(upstream_user) as client:
        load_corpus(client, make_corpus(messages=100, large_bytes=100_000))
    with System() as system:
        system.start(*EVERYTHING)
        address = system.add_account(upstream_user, port=own_dovecot.plain_port)
        system.wait_in_step(address)
        before = _read(own_dovecot.plain_port, upstream_user, own_dovecot.password)
        assert sum(map(len, before.values())) == 100

        own_dovecot.stop()
        system.manage("force_sync", "--account-email", address)
        wait_until(lambda: system.query("SELECT state FROM mailcache_account") == [("failing",)], 60)
        assert not differences(_read(system.imap_port, address, PASSWORD), before)
        status = system.status(address)
        assert status["state"] == "failing"
        assert status["reason"]
        assert status["next_sync_at"]

        own_dovecot.start()
        own_dovecot.deliver(upstream_user, b"Subject: after the outage\r\n\r\nBack again.\r\n")
        # Nobody asks for this sync.
        since = system.now()
        wait_until(lambda: system.is_in_step(address, since=since), _RECOVERY_SECONDS)
        after = _read(own_dovecot.plain_port, upstream_user, own_dovecot.password)
        assert len(after["INBOX"]) == len(before["INBOX"]) + 1
        assert not differences(_read(system.imap_port, address, PASSWORD), after)
