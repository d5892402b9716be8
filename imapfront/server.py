"""One frontend process: its listeners, and its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
from functools import partial
from pathlib import Path

import uvloop
from django.conf import settings

from imapfront.conf import Configuration
from imapfront.connection import Connection
from imapfront.db import ServiceThreads
from imapfront.hub import Hub
from imapfront.revocations import end_revoked_logins
from imapfront.session import Services
from imapfront.throttle import Throttle
from mailcache.generations import generation_table
from mailcache.reads.pool import make_pool
from mailcache.spool import SpooledLiteral, spool_directory

logger = logging.getLogger(__name__)

_BACKLOG = 512


def run_server(configuration: Configuration) -> None:
    """Serve until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(configuration))


def bound_socket(bind: tuple[str, int]) -> socket.socket:
    """Return a listening socket that other processes of the frontend can share the port with."""
    host, port = bind
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((host, port))
    listening.listen(_BACKLOG)
    listening.settimeout(0)
    return listening


async def _serve(configuration: Configuration) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls_context = configuration.tls_context()
    connections: set[Connection] = set()
    pool = make_pool(size=configuration.pool_size)
    await pool.open(wait=False)
    hub = Hub(pool, generation_table(), poll_interval=configuration.poll_interval)
    hub.start()
    revocations = asyncio.ensure_future(
        end_revoked_logins(pool, connections, poll_interval=configuration.poll_interval)
    )
    threads = ServiceThreads(configuration.service_threads)
    throttle = Throttle(settings.LOGIN_RATE_LIMIT_FAILURES, settings.LOGIN_RATE_LIMIT_LOCKOUT_SECONDS)
    services = Services(
        configuration,
        pool,
        hub,
        threads,
        throttle,
        can_start_tls=tls_context is not None,
        open_spool=partial(SpooledLiteral, spool_directory(Path(settings.DATA_DIR))),
    )
    servers = await _listen(services, tls_context, connections)
    try:
        await stop.wait()
        await _stop(servers, connections, configuration.stop_grace)
    finally:
        revocations.cancel()
        await asyncio.gather(revocations, return_exceptions=True)
        await hub.stop()
        threads.close()
        await pool.close(timeout=2)


async def _listen(
    services: Services, tls_context: ssl.SSLContext | None, connections: set[Connection]
) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    configuration = services.configuration
    servers: list[asyncio.Server] = []
    if configuration.plaintext_bind is not None:

        def plaintext() -> Connection:
            return Connection(services, tls_context=tls_context, implicit_tls=False, connections=connections)

        servers.append(await loop.create_server(plaintext, sock=bound_socket(configuration.plaintext_bind)))
    if configuration.tls_bind is not None and tls_context is not None:

        def encrypted() -> Connection:
            return Connection(services, tls_context=tls_context, implicit_tls=True, connections=connections)

        servers.append(
            await loop.create_server(
                encrypted, sock=bound_socket(configuration.tls_bind), ssl=tls_context, ssl_handshake_timeout=30
            )
        )
    elif configuration.tls_bind is not None:
        logger.warning("no certificate at %s: not listening for TLS", configuration.tls_cert_path)
    return servers


async def _stop(servers: list[asyncio.Server], connections: set[Connection], grace: float) -> None:
    for server in servers:
        server.close()
    for connection in list(connections):
        connection.end("the server is stopping")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(connection.closed.wait() for connection in connections)), grace)
    for connection in list(connections):
        connection.abort()
