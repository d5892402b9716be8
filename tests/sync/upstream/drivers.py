"""Both drivers behind one interface, so that one suite tests them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Protocol, Self, TypeVar

from sync.upstream.aio import AsyncClient
from sync.upstream.blocking import BlockingClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.values import (
    FetchedMessage,
    IdleEvent,
    ListedMailbox,
    Namespaces,
    OnMessage,
    OpenSink,
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
    def namespaces(self) -> Namespaces: ...
    def list_mailboxes(self, reference: bytes = b"", pattern: bytes = b"*") -> list[ListedMailbox]: ...
    def examine(self, name_raw: bytes) -> SelectedMailbox: ...
    def select(self, name_raw: bytes) -> SelectedMailbox: ...
    def uid_search(self, criteria: bytes = b"ALL") -> list[int]: ...
    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None: ...
    def noop(self) -> list[IdleEvent]: ...
    def idle(self, *, seconds: float | None = None) -> Iterator[IdleEvent]: ...
    def logout(self) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *args: Any) -> None: ...


Connect = Callable[[Endpoint, Credentials, Deadlines], Client]


class AsyncFacade:
    """An ``AsyncClient`` whose event loop runs while one of its methods is called."""

    def __init__(self, endpoint: Endpoint, credentials: Credentials, deadlines: Deadlines) -> None:
        self._runner = asyncio.Runner()
        try:
            self.client = self._run(AsyncClient.connect(endpoint, credentials, deadlines))
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

    def namespaces(self) -> Namespaces:
        return self._run(self.client.namespaces())

    def list_mailboxes(self, reference: bytes = b"", pattern: bytes = b"*") -> list[ListedMailbox]:
        return self._run(self.client.list_mailboxes(reference, pattern))

    def examine(self, name_raw: bytes) -> SelectedMailbox:
        return self._run(self.client.examine(name_raw))

    def select(self, name_raw: bytes) -> SelectedMailbox:
        return self._run(self.client.select(name_raw))

    def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        return self._run(self.client.uid_search(criteria))

    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        self._run(self.client.uid_fetch(uids, items, on_message=on_message, open_sink=open_sink))

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
