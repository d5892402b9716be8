"""The asyncio driver of the upstream protocol, for the watcher: the methods of ``BlockingClient`` as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

from mailcache.wire.number_set import NumberSet
from sync.profiles import GENERIC, Profile
from sync.upstream.aio_wire import Wire, dial
from sync.upstream.client import ClientState
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import CommandRefused, ConnectionPoisoned, NotOffered, UpstreamError
from sync.upstream.protocol import fetch, idle, login, mailboxes, notify, search, selecting
from sync.upstream.protocol.pipeline import second_of, together
from sync.upstream.protocol.requests import StartTls, Steps
from sync.upstream.protocol.session import Session
from sync.upstream.values import (
    IdleEvent,
    ListedMailbox,
    MailboxStatus,
    Namespaces,
    OnMessage,
    OpenSink,
    Resync,
    SelectedMailbox,
)

T = TypeVar("T")


class AsyncClient(ClientState):
    """An authenticated connection to an upstream. One command at a time.

    A command that failed, timed out or was cancelled in the middle closes the connection, and every later call raises
    ``ConnectionPoisoned``; a command that the upstream refused (``CommandRefused``) leaves it usable.
    """

    def __init__(self, wire: Wire, session: Session) -> None:
        super().__init__(session)
        self._wire = wire

    @classmethod
    async def connect(
        cls,
        endpoint: Endpoint,
        credentials: Credentials,
        deadlines: Deadlines | None = None,
        *,
        profile: Profile = GENERIC,
        refused: Iterable[str] = (),
    ) -> Self:
        """Connect, log in, and agree on extensions, as ``BlockingClient.connect`` does; raises ``UpstreamError``."""
        deadlines = deadlines or Deadlines()
        client = cls(await dial(endpoint, deadlines), Session(deadlines, profile, refused))
        try:
            if endpoint.tls_mode == "tls":
                await client._run(_tls_first(deadlines))
            await client._run(login.establish(client._session, endpoint, credentials))
        except BaseException:
            client.close()
            raise
        return client

    @classmethod
    async def knock(cls, endpoint: Endpoint, deadlines: Deadlines) -> None:
        """Connect, wait for the greeting, and hang up without a login; raises ``UpstreamError``."""
        client = cls(await dial(endpoint, deadlines), Session(deadlines))
        try:
            if endpoint.tls_mode == "tls":
                await client._run(_tls_first(deadlines))
            await client._run(login.greeting(client._session))
            await client.logout()
        finally:
            client.close()

    async def namespaces(self) -> Namespaces:
        """NAMESPACE; empty where it is not offered."""
        return await self._run(mailboxes.namespaces(self._session))

    async def list_mailboxes(
        self, reference: bytes = b"", pattern: bytes = b"*", *, status: bool = False
    ) -> list[ListedMailbox]:
        """LIST, with special uses where offered; with the ``status`` of each where that costs no more commands."""
        return await self._run(mailboxes.list_mailboxes(self._session, reference, pattern, status=status))

    async def status(self, name_raw: bytes) -> MailboxStatus:
        """STATUS of one mailbox, which should not be the open one."""
        return await self._run(mailboxes.mailbox_status(self._session, name_raw))

    async def examine(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        """Open a mailbox to read; with QRESYNC the answer tells what happened since ``resync``."""
        return await self._run(selecting.select(self._session, name_raw, read_only=True, resync=resync))

    async def select(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        """Open a mailbox to read and write; with QRESYNC the answer tells what happened since ``resync``."""
        return await self._run(selecting.select(self._session, name_raw, read_only=False, resync=resync))

    async def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        """Return the UIDs that match, ascending."""
        return await self._run(search.uid_search(self._session, criteria))

    async def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        """Fetch ``items``, as ``BlockingClient.uid_fetch`` does; the callbacks must not block."""
        await self._run(fetch.uid_fetch(self._session, uids, items, on_message, open_sink))

    async def uid_fetch_at_once(
        self,
        uids: Sequence[int],
        items: bytes,
        *,
        examine: bytes | None = None,
        on_message: OnMessage,
        open_sink: OpenSink | None = None,
    ) -> None:
        """Fetch in one round trip: out of IDLE, or from the mailbox ``examine``, which is open afterwards.

        That mailbox's UIDVALIDITY is known only when the messages have come. Where the profile says that the upstream
        cannot take commands ahead, they are sent one after the other.
        """
        session = self._session
        steps = fetch.uid_fetch(session, uids, items, on_message, open_sink)
        if not session.profile.pipelines:
            if examine is not None:
                await self.examine(examine)
            await self._run(steps)
            return
        if examine is not None:
            steps = second_of(together(selecting.select(session, examine, read_only=True, resync=None), steps))
        if session.idle_tag is not None:
            steps = second_of(together(session.end_idle(), steps))
        await self._run(steps)

    async def uid_fetch_set(
        self,
        sequence_set: bytes,
        items: bytes,
        *,
        on_message: OnMessage,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> NumberSet:
        """Fetch ``items`` of a sequence set, as ``BlockingClient.uid_fetch_set`` does."""
        return await self._run(
            fetch.uid_fetch_set(
                self._session, sequence_set, items, on_message, changed_since=changed_since, vanished=vanished
            )
        )

    async def notify(self, *, status: bool = False) -> bool:
        """Ask for announcements of all personal mailboxes, as ``BlockingClient.notify`` does."""
        return await self._run(notify.notify(self._session, status=status))

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
                    self._session.count_in(len(reply))
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
