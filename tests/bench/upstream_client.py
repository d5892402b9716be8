"""Messages per second of the upstream client against a local Dovecot, beside imaplib.

``python -m tests.bench.upstream_client``. Loopback, plaintext; the processor time of this process is what compares.
"""

from __future__ import annotations

import asyncio
import imaplib
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sync.upstream.aio import AsyncClient
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.values import FetchedMessage
from tests.servers.dovecot import Dovecot, running_dovecot

USER = "bench"
MESSAGES = 5_000
BATCH = 500
SKELETON = "(UID FLAGS INTERNALDATE RFC822.SIZE)"
BODIES = "(UID FLAGS BODY.PEEK[])"


def fill(server: Dovecot) -> None:
    """Put messages of about 4 KB into INBOX."""
    rng = random.Random(7)
    with server.login(USER) as client:
        for number in range(MESSAGES):
            body = "".join(rng.choice("abcdefgh ") for _ in range(76)) + "\r\n"
            message = f"From: a@example.test\r\nSubject: message {number}\r\n\r\n{body * rng.randint(20, 80)}"
            flags = rng.choice(["", "\\Seen", "\\Seen \\Answered", "$Forwarded"])
            moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
            client.append("INBOX", f"({flags})", moment.strftime('"%d-%b-%Y %H:%M:%S +0000"'), message.encode())


def batches() -> list[range]:
    """Return the UIDs in batches, as a sync asks for them."""
    return [range(first, min(first + BATCH, MESSAGES + 1)) for first in range(1, MESSAGES + 1, BATCH)]


def report(name: str, work: Callable[[], int]) -> None:
    """Run ``work`` three times and print the best."""
    best_wall = best_cpu = float("inf")
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        count = work()
        best_wall = min(best_wall, time.perf_counter() - wall)
        best_cpu = min(best_cpu, time.process_time() - cpu)
        assert count == MESSAGES, count
    rate, each = MESSAGES / best_wall, best_cpu / MESSAGES * 1e6
    print(f"{name:<28} {rate:>9,.0f} messages/s {each:>7.1f} µs of processor time each")


def with_imaplib(server: Dovecot, items: str) -> int:
    """Fetch with the standard library, which parses nothing."""
    with server.login(USER) as client:
        client.select("INBOX", readonly=True)
        count = 0
        for uids in batches():
            _, answer = client.uid("FETCH", f"{uids[0]}:{uids[-1]}", items)
            count += len(uids) if answer else 0
        return count


def with_blocking(endpoint: Endpoint, credentials: Credentials, items: str) -> int:
    """Fetch with the blocking driver."""
    messages: list[FetchedMessage] = []
    with BlockingClient.connect(endpoint, credentials) as client:
        client.examine(b"INBOX")
        for uids in batches():
            client.uid_fetch(uids, items.encode(), on_message=messages.append)
    return len(messages)


def with_aio(endpoint: Endpoint, credentials: Credentials, items: str) -> int:
    """Fetch with the asyncio driver."""
    messages: list[FetchedMessage] = []

    async def fetch() -> None:
        async with await AsyncClient.connect(endpoint, credentials) as client:
            await client.examine(b"INBOX")
            for uids in batches():
                await client.uid_fetch(uids, items.encode(), on_message=messages.append)

    asyncio.run(fetch())
    return len(messages)


def main() -> None:
    """Fill a mailbox and measure."""
    imaplib._MAXLINE = 1 << 24  # type: ignore[attr-defined] # the module's own limit, not for this
    with running_dovecot(Path(tempfile.mkdtemp(prefix="imapped-dovecot-"))) as server:
        fill(server)
        credentials = Credentials("login", USER, server.password)
        plain = Endpoint(server.host, server.plain_port, "plain")
        tls = Endpoint(server.host, server.tls_port, "tls", server.ca_file)
        for title, items in (("skeleton", SKELETON), ("bodies", BODIES)):
            report(f"{title}, imaplib", partial(with_imaplib, server, items))
            report(f"{title}, blocking", partial(with_blocking, plain, credentials, items))
            report(f"{title}, blocking, TLS", partial(with_blocking, tls, credentials, items))
            report(f"{title}, asyncio", partial(with_aio, plain, credentials, items))


if __name__ == "__main__":
    main()
