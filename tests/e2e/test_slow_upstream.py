"""Over a slow line clients can list a mailbox long before its bytes are here, and see the same afterwards."""

from __future__ import annotations

import pytest

from tests.e2e.raw_imap import RawClient, Value
from tests.e2e.system import PASSWORD, System
from tests.fakes.recording_proxy import RecordingProxy
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_MESSAGES = 40
_BODY = b"".join(b"%064d\r\n" % line for line in range(1500))
_SLOW = 40_000.0  # octets a second: all of it would take 100 seconds
_WAITING = """
    SELECT count(*) FILTER (WHERE header IS NULL), count(*) FROM mailcache_listing
"""


def _envelopes(client: RawClient) -> list[Value]:
    return client.fetch("1:*", b"ENVELOPE")


@pytest.mark.timeout(400)
def test_headers_come_first(dovecot: Dovecot, upstream_user: str) -> None:
    with dovecot.login(upstream_user) as loader:
        for number in range(_MESSAGES):
            header = b"From: Zo\xc3\xab <a%d@example.test>\r\nSubject: =?utf-8?Q?n=C2=BA?= %d\r\n\r\n" % (
                number,
                number,
            )
            loader.append("INBOX", "", "", header + _BODY)
    with RecordingProxy(dovecot.host, dovecot.plain_port) as proxy, System() as system:
        proxy.slow_down(_SLOW)
        system.start("imap", "worker")
        address = system.add_account(upstream_user, port=proxy.port)
        wait_until(lambda: _waiting(system) in [(0, bodies) for bodies in range(10, _MESSAGES)], 120)
        theirs = RawClient(dovecot.plain_port, upstream_user, dovecot.password)
        ours = RawClient(system.imap_port, address, PASSWORD)
        with theirs, ours:
            for client in (theirs, ours):
                client.run(b"EXAMINE INBOX")
            expected = _envelopes(theirs)
            assert _envelopes(ours) == expected
            assert ours.fetch("1:*", b"RFC822.SIZE") == theirs.fetch("1:*", b"RFC822.SIZE")
            # The newest came before all headers; the oldest comes last.
            assert ours.run(b"FETCH %d (BODY.PEEK[])" % _MESSAGES) == theirs.run(b"FETCH %d (BODY.PEEK[])" % _MESSAGES)
            assert ours.attempt(b"FETCH 1 (BODY.PEEK[])")[-1].startswith(b"t OK"), "it comes before its turn"
            assert system.query(_WAITING)[0][1] > 0

            proxy.slow_down(None)
            system.wait_in_step(address)
            assert _envelopes(ours) == expected
            assert ours.run(b"FETCH 1:* (BODY.PEEK[])") == theirs.run(b"FETCH 1:* (BODY.PEEK[])")
        assert set(_fetched(proxy).values()) == {1}


def _waiting(system: System) -> tuple[int, int]:
    """Return how many messages have neither header nor bytes here, and how many have no bytes."""
    system.assert_alive()
    no_header, no_body = system.query(_WAITING)[0]
    return no_header, no_body


def _fetched(proxy: RecordingProxy) -> dict[int, int]:
    uids = [body.uid for body in proxy.fetched_bodies()]
    assert set(uids) == set(range(1, _MESSAGES + 1))
    return {uid: uids.count(uid) for uid in uids}
