"""A mailbox of 100,000 messages: what a worker needs for it, and when its newest mail can be read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest

from tests.e2e.figures import Report
from tests.e2e.processes import peak_memory
from tests.e2e.raw_imap import RawClient
from tests.e2e.system import PASSWORD, System
from tests.proofs import keep_results, scaled
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_MESSAGES = scaled(5_000, full=100_000)
_MOST_MEMORY = 300 << 20
_PATIENCE = scaled(300, full=6_000)
# Of each stored segment, in the order in which they were committed: when, and which of the upstream's UIDs it has.
_BATCHES = """
    SELECT segment.created_at, min(remote.uid), max(remote.uid), count(*)
    FROM mailcache_segment AS segment
    JOIN mailcache_content AS content ON content.segment_id = segment.id
    JOIN mailcache_message AS message ON message.content_id = content.id
    JOIN mailcache_remote AS remote ON remote.id = message.remote_id
    GROUP BY segment.id ORDER BY segment.id
"""
_SKELETON = """
    SELECT account.created_at, max(message.saved_date), count(*)
    FROM mailcache_account AS account JOIN mailcache_message AS message ON message.account_id = account.id
    GROUP BY account.id
"""
_SHOWN = "SELECT coalesce(sum(messages), 0) FROM mailcache_mailbox"


def _small_messages() -> Iterator[bytes]:
    for number in range(1, _MESSAGES + 1):
        yield (
            b"From: Ann Example <ann%d@example.test>\r\nTo: me@example.test\r\nSubject: small message %d\r\n"
            b"Date: Fri, 17 May 2024 08:30:00 +0000\r\nMessage-ID: <small-%d@example.test>\r\n\r\nbody of %d\r\n"
            % (number % 500, number, number, number)
        )


@pytest.mark.prove
@pytest.mark.timeout(_PATIENCE + 200)
def test_first_sync_of_a_large_mailbox(dovecot: Dovecot, upstream_user: str, report_figure: Report) -> None:
    dovecot.fill_inbox(upstream_user, _small_messages())
    with System() as system:
        system.start("imap", "worker", "slow")
        address = system.add_account(upstream_user, port=dovecot.plain_port)
        wait_until(lambda: _is_shown(system), _PATIENCE)
        began = time.monotonic()
        _read_newest(system, dovecot, upstream_user, address)
        read_after = time.monotonic() - began
        system.wait_in_step(address, timeout=_PATIENCE)

        memory = max(peak_memory(system.process(name).pid) for name in ("worker", "slow"))
        assert memory <= _MOST_MEMORY
        created_at, skeleton_at, batches = _check_order(system)
    lines = [
        f"{_MESSAGES} messages: peak resident set of a worker {memory >> 20} MB",
        f"skeleton after {(skeleton_at - created_at).total_seconds():.1f} s; "
        f"newest {batches[0][3]} bodies committed {(batches[0][0] - skeleton_at).total_seconds():.1f} s later, "
        f"the newest read by a client {read_after:.1f} s after it saw all messages",
        f"all bodies after {(batches[-1][0] - created_at).total_seconds():.1f} s",
    ]
    for line in lines:
        report_figure(line)
    keep_results("large_mailbox", lines)


def _is_shown(system: System) -> bool:
    system.assert_alive()
    return bool(system.query(_SHOWN)[0][0] == _MESSAGES)


def _read_newest(system: System, dovecot: Dovecot, upstream_user: str, address: str) -> None:
    """A client that opens the mailbox as soon as all messages are shown reads the newest."""
    theirs = RawClient(dovecot.plain_port, upstream_user, dovecot.password)
    with RawClient(system.imap_port, address, PASSWORD) as ours, theirs:
        for client in (ours, theirs):
            client.run(b"EXAMINE INBOX")
        command = b"FETCH %d (UID BODY.PEEK[])" % _MESSAGES
        # On a machine that is busy the frontend may give up before its worker gets a turn: [UNAVAILABLE], try again.
        wait_until(lambda: ours.attempt(command)[-1].startswith(b"t OK"), _PATIENCE)
        assert ours.run(command) == theirs.run(command)


def _check_order(system: System) -> tuple[datetime, datetime, list[tuple[datetime, int, int, int]]]:
    """All messages appeared before the first bodies came, and bodies came newest first, batch by batch."""
    ((created_at, skeleton_at, shown),) = system.query(_SKELETON)
    batches = [(at, lowest, highest, count) for at, lowest, highest, count in system.query(_BATCHES)]
    assert shown == sum(count for _, _, _, count in batches) == _MESSAGES
    assert skeleton_at <= batches[0][0]
    # The one that a client waits for may have come before its turn, by itself.
    in_turn = [(lowest, highest) for _, lowest, highest, count in batches if count > 1]
    assert in_turn[0][1] >= _MESSAGES - 1
    assert all(later[1] < earlier[0] for earlier, later in pairwise(in_turn))
    return created_at, skeleton_at, batches
