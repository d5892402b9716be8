"""The asyncio driver of the upstream protocol, for the watcher: the methods of ``BlockingClient`` as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from sync.upstream.aio_wire import Wire, dial
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import CommandRefused, ConnectionPoisoned, NotOffered, UpstreamError
from sync.upstream.protocol import fetch, idle, login, mailboxes, search
from sync.upstream.protocol.requests import StartTls, Steps
from sync.upstream.protocol.session import Session
from sync.upstream.values import (
    IdleEvent,
    ListedMailbox,
    Namespaces,
    OnMessage,
    OpenSink,
    SelectedMailbox,
    Statistics,
)

T = TypeVar("T")


class AsyncClient:
    """An authenticated connection to an upstream. One command at a time.

    A command that failed, timed out or was cancelled in the middle closes the connection, and every later call raises
    ``ConnectionPoisoned``; a command that the upstream refused (``CommandRefused``) leaves it usable.
    """

    def __init__(self, wire: Wire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._fault: BaseException | None = None
        self._closed = False
        self._busy = False

    @classmethod
    async def connect(cls, endpoint: Endpoint, credentials: Credentials, deadlines: Deadlines | None = None) -> Self:
        """Connect and log in; raises ``UpstreamError``."""
        deadlines = deadlines or Deadlines()
        client = cls(await dial(endpoint, deadlines), Session(deadlines))
        try:
            if endpoint.tls_mode == "tls":
                await client._run(_tls_first(deadlines))
            await client._run(login.establish(client._session, endpoint, credentials))
        except BaseException:
            client.close()
            raise
        return client

    @property
    def capabilities(self) -> frozenset[str]:
        """What the upstream offers on this connection, in upper case."""
        return self._session.capabilities

    @property
    def selected(self) -> SelectedMailbox | None:
        """The mailbox that is open."""
        return self._session.selected

    @property
    def statistics(self) -> Statistics:
        """What this connection has done so far."""
        return self._session.statistics

    @property
    def poisoned(self) -> bool:
        """True once the connection cannot be used any more."""
        return self._closed

    async def namespaces(self) -> Namespaces:
        """NAMESPACE; empty where it is not offered."""
        return await self._run(mailboxes.namespaces(self._session))

    async def list_mailboxes(self, reference: bytes = b"", pattern: bytes = b"*") -> list[ListedMailbox]:
        """LIST, with special uses where offered."""
        return await self._run(mailboxes.list_mailboxes(self._session, reference, pattern))

    async def examine(self, name_raw: bytes) -> SelectedMailbox:
        """Open a mailbox to read."""
        return await self._run(mailboxes.select(self._session, name_raw, read_only=True))

    async def select(self, name_raw: bytes) -> SelectedMailbox:
        """Open a mailbox to read and write."""
        return await self._run(mailboxes.select(self._session, name_raw, read_only=False))

    async def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        """Return the UIDs that match, ascending."""
        return await self._run(search.uid_search(self._session, criteria))

    async def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        """Fetch ``items``, as ``BlockingClient.uid_fetch`` does; the callbacks must not block."""
        await self._run(fetch.uid_fetch(self._session, uids, items, on_message, open_sink))

    async def noop(self) -> list[IdleEvent]:
        """NOOP; returns what the upstream announced since the last ``noop`` or ``idle``."""
        return await self._run(idle.noop(self._session))

    async def idle(self, *, seconds: float | None = None) -> AsyncIterator[IdleEvent]:
        """Yield announcements as they come, for ``seconds`` or until ``stop_waiting``.

        IDLE stays on until the next command. Cancelling the iteration closes the connection; ``stop_waiting`` ends
        it and leaves the connection usable.
        """
        self._wire.wait_at_most(seconds)
        while (events := await self._run(idle.wait(self._session))) is not None:
            for event in events:
                yield event

    def stop_waiting(self) -> None:
        """End the iteration of ``idle``, or the next one where none is running, before anything comes."""
        self._wire.stop_waiting()

    async def logout(self) -> None:
        """Say goodbye and close; never raises ``UpstreamError``."""
        try:
            await self._run(login.log_out(self._session))
        except UpstreamError:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word."""
        self._closed = True
        self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.logout()
        else:
            self.close()

    async def _run(self, steps: Steps[T]) -> T:
        if self._closed:
            raise ConnectionPoisoned("the connection failed before or was closed") from self._fault
        if self._busy:
            raise RuntimeError("an upstream connection serves one command at a time")
        self._busy = True
        try:
            reply: bytes | None = None
            while True:
                reply = await self._wire.perform(steps.send(reply))
                if reply:
                    self._session.statistics.bytes_in += len(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        except (CommandRefused, NotOffered):
            raise
        except BaseException as fault:
            # Also a cancellation and a fault of the caller's sink: the rest would be taken for the next answer.
            self._fault = fault
            self.close()
            raise
        finally:
            self._busy = False


def _tls_first(deadlines: Deadlines) -> Steps[None]:
    yield StartTls(deadlines.tls)
