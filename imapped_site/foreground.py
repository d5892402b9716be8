"""The tree that ``manage.py run`` keeps: embedded servers, preparation, the six processes, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper

from imapped_site.embedded.errors import EmbeddedError
from imapped_site.embedded.identity import before_exec
from imapped_site.embedded.servers import EmbeddedServers
from imapped_site.listeners import accepts, configured_listeners, unusable_listeners
from imapped_site.supervisor import Child, Supervisor

_LOOK_SECONDS = 1.0
_PROBE_SECONDS = 0.1
_NAME_WIDTH = 7
_LISTENER_NAMES = {
    "HTTP_BIND": "console",
    "METRICS_BIND": "metrics",
    "IMAP_PLAINTEXT_BIND": "IMAP",
    "IMAP_TLS_BIND": "IMAP over TLS",
}
_MANAGE = str(settings.BASE_DIR / "manage.py")
_CELERY = (sys.executable, "-m", "celery", "--quiet", "--app", "imapped_site.celery")


def run_foreground(output: OutputWrapper) -> None:
    """Start everything, print ``ready`` with the addresses, and return when a signal has ended it all."""
    servers = EmbeddedServers(settings.DATA_DIR, postgres=settings.EMBEDDED_POSTGRES, valkey=settings.EMBEDDED_VALKEY)
    with servers:
        environment = os.environ | servers.environment | {"PYTHONUNBUFFERED": "1"}
        _write(output, "run", f"starting in {settings.DATA_DIR}")
        if unusable := unusable_listeners(configured_listeners()):
            raise CommandError("\n".join(unusable))
        _prepare(environment)
        asyncio.run(_Tree(servers, environment, output).run())
        _write(output, "run", "stopped")


def children() -> list[Child]:
    """The processes of imapped, as design section 1 names them."""
    python = sys.executable
    web: list[Child] = []
    if settings.HTTP_BIND is not None:
        host, port = settings.HTTP_BIND
        web.append(
            Child("web", (python, "-m", "uvicorn", "imapped_site.asgi:application", "--host", host, "--port", str(port),
                          "--lifespan", "off", "--no-access-log", "--timeout-graceful-shutdown", "10"))
        )  # fmt: skip
    return [
        *web,
        Child("imap", (python, _MANAGE, "runimap")),
        # Without us there are no stores to finish a slice with, and Celery would look for its broker for ever.
        Child("worker", (*_CELERY, "worker", "--queues", "urgent,sync,index", "--without-gossip",
                         "--without-mingle", "--hostname", "worker@%h"), death_signal=signal.SIGKILL),
        Child("slow", (*_CELERY, "worker", "--queues", "bulk", "--pool", "threads", "--concurrency",
                       str(settings.SYNC_SLOW_CONCURRENCY), "--without-gossip", "--without-mingle",
                       "--hostname", "slow@%h"), death_signal=signal.SIGKILL),
        Child("beat", (*_CELERY, "beat", "--pidfile", "")),
        Child("watch", (python, _MANAGE, "runwatch")),
    ]  # fmt: skip


class _Tree:
    """The part of the tree that lives in an event loop."""

    def __init__(self, servers: EmbeddedServers, environment: dict[str, str], output: OutputWrapper) -> None:
        self._servers = servers
        self._output = output
        self._failure: EmbeddedError | None = None
        self._supervisor = Supervisor(children(), environment=environment, write=self._pass_on)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        async with asyncio.TaskGroup() as group:
            helpers = [group.create_task(self._watch_servers()), group.create_task(self._announce_ready())]
            await self._supervisor.run()
            for helper in helpers:
                helper.cancel()
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        if not self._supervisor.stop.is_set():
            self._pass_on("run", "stopping; once more to stop at once")
        self._supervisor.request_stop()

    def _pass_on(self, name: str, line: str) -> None:
        _write(self._output, name, line)

    async def _watch_servers(self) -> None:
        """Start an embedded server again that has died. In this thread: its children die with the thread they have."""
        while not self._supervisor.stop.is_set():
            try:
                for name in self._servers.restart_dead():
                    self._pass_on("run", f"{name} had died and was started again")
            except EmbeddedError as error:
                self._failure = error
                self._supervisor.request_stop()
            await self._stopping_within(_LOOK_SECONDS)

    async def _stopping_within(self, seconds: float) -> bool:
        """Wait that long; True as soon as a stop is asked for."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._supervisor.stop.wait(), seconds)
        return self._supervisor.stop.is_set()

    async def _announce_ready(self) -> None:
        """Say so when every listener accepts connections."""
        listeners = configured_listeners()
        for bind in listeners.values():
            while not await asyncio.to_thread(accepts, bind):
                if await self._stopping_within(_PROBE_SECONDS):
                    return
        addresses = ", ".join(f"{_LISTENER_NAMES[name]} {host}:{port}" for name, (host, port) in listeners.items())
        self._pass_on("run", f"ready: {addresses}")


def _prepare(environment: dict[str, str]) -> None:
    """Run ``manage.py prepare``: it needs the settings as they are with the servers running."""
    command: Sequence[str] = (sys.executable, _MANAGE, "prepare")
    child = subprocess.run(command, env=environment, check=False, preexec_fn=before_exec(death_signal=signal.SIGTERM))
    if child.returncode != 0:
        raise CommandError("the preparation failed; nothing was started")


def _write(output: OutputWrapper, name: str, line: str) -> None:
    output.write(f"{name:<{_NAME_WIDTH}}| {line}" if settings.APP_ENV != "production" or name == "run" else line)
    output.flush()
