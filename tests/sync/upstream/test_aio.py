"""What only the asyncio driver can do: be cancelled, be asked to stop waiting, hold back a fast server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from sync.upstream.aio import AsyncClient
from sync.upstream.endpoint import Credentials, Endpoint, TlsMode
from sync.upstream.errors import ConnectionLost, ConnectionPoisoned
from sync.upstream.values import FetchedMessage, IdleEvent
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

CREDENTIALS = Credentials("login", "fred", "s3cret")
IDLES: dict[str, Answer | list[Answer]] = {
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE\r\n{tag} OK done\r\n",
    "IDLE": b"+ idling\r\n",
    "DONE": b"{tag} OK done\r\n",
}


async def connected(server: ScriptedImap) -> AsyncClient:
    return await AsyncClient.connect(Endpoint("127.0.0.1", server.port, "plain"), CREDENTIALS)


async def collected(events: AsyncIterator[IdleEvent]) -> list[IdleEvent]:
    return [event async for event in events]


async def recorded(server: ScriptedImap, command: bytes) -> None:
    """Return once the server has got a command."""
    await asyncio.to_thread(wait_until, lambda: command in server.commands)


async def test_a_cancelled_command_closes_the_connection() -> None:
    with ScriptedImap({"NOOP": Action.HANG}) as server:
        client = await connected(server)
        task = asyncio.create_task(client.noop())
        await recorded(server, b"NOOP")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert client.poisoned
        with pytest.raises(ConnectionPoisoned):
            await client.noop()
        assert await asyncio.to_thread(server.over.wait, 10)


async def test_waiting_can_be_ended_without_losing_the_connection() -> None:
    with ScriptedImap(IDLES) as server:
        client = await connected(server)
        waiting = asyncio.create_task(collected(client.idle()))
        await recorded(server, b"IDLE")
        client.stop_waiting()

        assert await waiting == []
        assert (await client.examine(b"INBOX")).exists == 3
        assert server.commands[-3:] == [b"IDLE", b"DONE", b"EXAMINE INBOX"]
        client.stop_waiting()
        assert await collected(client.idle()) == []
        await client.logout()


async def test_one_command_at_a_time() -> None:
    with ScriptedImap({"NOOP": Action.HANG}) as server:
        client = await connected(server)
        task = asyncio.create_task(client.noop())
        await recorded(server, b"NOOP")
        with pytest.raises(RuntimeError, match="one command at a time"):
            await client.examine(b"INBOX")
        client.close()
        with pytest.raises(ConnectionLost):
            await task


async def test_reading_pauses_for_a_slow_reader() -> None:
    row = b"* 1 FETCH (UID 1 BODY[] {1000000}\r\n" + b"x" * 1_000_000 + b")\r\n"
    with ScriptedImap({"UID FETCH": row * 20 + b"{tag} OK done\r\n"}) as server:
        client = await connected(server)
        sizes: list[int] = []

        def take(message: FetchedMessage) -> None:
            body = message.sections[b""]
            assert isinstance(body, bytes)
            sizes.append(len(body))

        await client.uid_fetch([1], b"(BODY.PEEK[])", on_message=take)
        assert sizes == [1_000_000] * 20
        await client.logout()


@pytest.mark.parametrize("mode", ["plain", "starttls", "tls"])
def test_uvloop_serves_as_well(dovecot: Dovecot, upstream_user: str, mode: TlsMode) -> None:
    async def work() -> tuple[int, list[IdleEvent]]:
        port = dovecot.tls_port if mode == "tls" else dovecot.plain_port
        endpoint = Endpoint("localhost", port, mode, dovecot.ca_file)
        credentials = Credentials("plain", upstream_user, dovecot.password)
        async with await AsyncClient.connect(endpoint, credentials) as client:
            mailbox = await client.examine(b"INBOX")
            return mailbox.exists, await collected(client.idle(seconds=0.1))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(work()) == (0, [])
