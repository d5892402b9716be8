"""Both drivers behind one interface, so that one suite tests them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar

from mailcache.wire.number_set import NumberSet
from sync.profiles import GENERIC, Profile
from sync.upstream.aio import AsyncClient
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.values import (
    FetchedMessage,
    IdleEvent,
    ListedMailbox,
    MailboxStatus,
    Namespaces,
    OnMessage,
    OpenSink,
    Resync,
    SelectedMailbox,
    Statistics,
)

T = TypeVar("T")


class Client(Protocol):
    """What both drivers offer."""

    @property
    def capabilities(self) -> frozenset[str]: ...
    @property
    def selected(self) -> SelectedMailbox | None: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def poisoned(self) -> bool: ...
    @property
    def refused(self) -> frozenset[str]: ...
    @property
    def enabled(self) -> frozenset[str]: ...
    @property
    def said(self) -> str: ...
    def may(self, capability: str) -> bool: ...
    def namespaces(self) -> Namespaces: ...
    def list_mailboxes(
        self, reference: bytes = b"", pattern: bytes = b"*", *, status: bool = False
    ) -> list[ListedMailbox]: ...
    def status(self, name_raw: bytes) -> MailboxStatus: ...
    def examine(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox: ...
    def select(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox: ...
    def uid_search(self, criteria: bytes = b"ALL") -> list[int]: ...
    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None: ...
    def uid_fetch_set(
        self,
        sequence_set: bytes,
        items: bytes,
        *,
        on_message: OnMessage,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> NumberSet: ...
    def notify(self, *, status: bool = False) -> bool: ...
    def noop(self) -> list[IdleEvent]: ...
    def idle(self, *, seconds: float | None = None) -> Iterator[IdleEvent]: ...
    def logout(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: Any) -> None: ...


class Connect(Protocol):
    """How a client comes to be."""

    def __call__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        deadlines: Deadlines | None = None,
        *,
        profile: Profile = GENERIC,
        refused: Iterable[str] = (),
    ) -> Client: ...


class AsyncFacade:
    """An ``AsyncClient`` whose event loop runs while one of its methods is called."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        deadlines: Deadlines | None = None,
        *,
        profile: Profile = GENERIC,
        refused: Iterable[str] = (),
    ) -> None:
        self._runner = asyncio.Runner()
        try:
            self.client = self._run(
                AsyncClient.connect(endpoint, credentials, deadlines, profile=profile, refused=refused)
            )
        except BaseException:
            self._runner.close()
            raise

    @property
    def capabilities(self) -> frozenset[str]:
        return self.client.capabilities

    @property
    def selected(self) -> SelectedMailbox | None:
        return self.client.selected

    @property
    def statistics(self) -> Statistics:
        return self.client.statistics

    @property
    def poisoned(self) -> bool:
        return self.client.poisoned

    @property
    def refused(self) -> frozenset[str]:
        return self.client.refused

    @property
    def enabled(self) -> frozenset[str]:
        return self.client.enabled

    @property
    def said(self) -> str:
        return self.client.said

    def may(self, capability: str) -> bool:
        return self.client.may(capability)

    def namespaces(self) -> Namespaces:
        return self._run(self.client.namespaces())

    def list_mailboxes(
        self, reference: bytes = b"", pattern: bytes = b"*", *, status: bool = False
    ) -> list[ListedMailbox]:
        return self._run(self.client.list_mailboxes(reference, pattern, status=status))

    def status(self, name_raw: bytes) -> MailboxStatus:
        return self._run(self.client.status(name_raw))

    def examine(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        return self._run(self.client.examine(name_raw, resync=resync))

    def select(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        return self._run(self.client.select(name_raw, resync=resync))

    def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        return self._run(self.client.uid_search(criteria))

    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        self._run(self.client.uid_fetch(uids, items, on_message=on_message, open_sink=open_sink))

    def uid_fetch_set(
        self,
        sequence_set: bytes,
        items: bytes,
        *,
        on_message: OnMessage,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> NumberSet:
        return self._run(
            self.client.uid_fetch_set(
                sequence_set, items, on_message=on_message, changed_since=changed_since, vanished=vanished
            )
        )

    def notify(self, *, status: bool = False) -> bool:
        return self._run(self.client.notify(status=status))

    def noop(self) -> list[IdleEvent]:
        return self._run(self.client.noop())

    def idle(self, *, seconds: float | None = None) -> Iterator[IdleEvent]:
        events = self.client.idle(seconds=seconds)

        async def following() -> IdleEvent | None:
            return await anext(events, None)

        while (event := self._run(following())) is not None:
            yield event

    def logout(self) -> None:
        self._run(self.client.logout())

    def close(self) -> None:
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: Any) -> None:
        if args[0] is None and not self.poisoned:
            self.logout()
        self.close()
        self._runner.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)


CONNECTORS: dict[str, Connect] = {"blocking": BlockingClient.connect, "aio": AsyncFacade}


def fetched(client: Client, uids: Sequence[int], items: bytes) -> list[FetchedMessage]:
    """Return what a fetch delivers, in order."""
    messages: list[FetchedMessage] = []
    client.uid_fetch(uids, items, on_message=messages.append)
    return messages
