"""Quirks that a watching connection meets: IDLE that is cut, and commands that show nothing (27 to 30, 34)."""

from __future__ import annotations

import contextlib

from sync.listener import Listener
from sync.profiles import BY_NAME, PROFILES, Profile
from sync.upstream.aio import AsyncClient
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import UpstreamError
from sync.upstream.protocol import idle
from sync.upstream.protocol.requests import Deadline, Receive, Send
from sync.upstream.protocol.session import Session
from sync.upstream.values import FetchedMessage, IdleEvent
from sync.watch_plan import UNKNOWN
from tests.fakes.quirky.quirks import Quirk
from tests.fakes.quirky.server import QuirkyImap
from tests.sync.quirks.outcomes import needs_profile

_RENEWALS = 3
_LONGEST = 29 * 60.0
"""RFC 2177: servers may log out who was silent for half an hour."""


def longest_idle(profile: Profile) -> float:
    """Return for how long a client that waits stays in one IDLE, in seconds of a clock that only it moves."""
    session = Session(Deadlines(), profile)
    session.capabilities = frozenset({"IDLE"})
    clock = began = longest = limit = 0.0
    tag, answer = b"", b""
    steps = idle.wait(session)
    request = next(steps)
    for _ in range(20 * _RENEWALS):
        reply = b""
        if isinstance(request, Deadline):
            limit = request.seconds
        elif isinstance(request, Send) and request.data == b"DONE\r\n":
            longest, answer = max(longest, clock - began), tag + b" OK done\r\n"
        elif isinstance(request, Send):
            tag, began, answer = request.data.split()[0], clock, b"+ idling\r\n"
        elif isinstance(request, Receive) and request.patient:
            clock += limit
        else:
            reply = answer
        request = steps.send(reply)
    return longest


@needs_profile("yahoo")
def test_idle_is_renewed_within_three_minutes(profile: str) -> None:
    """Quirk 27."""
    assert 0 < longest_idle(BY_NAME[profile]) <= 180.0


@needs_profile("rambler")
def test_idle_is_renewed_within_a_minute(profile: str) -> None:
    """Quirk 29."""
    assert 0 < longest_idle(BY_NAME[profile]) <= 55.0


def test_no_idle_lasts_longer_than_servers_may_be_expected_to_bear() -> None:
    """Quirk 34: GMX ends it after 12 minutes."""
    lasting = {profile.name: longest_idle(profile) for profile in PROFILES if profile.idle}
    assert {name for name, seconds in lasting.items() if not 0 < seconds <= _LONGEST} == set()
    assert lasting["gmx"] <= 12 * 60.0
    assert lasting["yahoojp"] <= 180.0


async def looks(server: QuirkyImap, profile: Profile) -> list[IdleEvent | None]:
    """Open INBOX, have a message delivered, look, and look once more; returns what was news."""
    news: list[IdleEvent | None] = []
    endpoint = Endpoint("127.0.0.1", server.port, "plain")
    async with await AsyncClient.connect(endpoint, Credentials("login", "a", "b"), profile=profile) as client:
        listener = Listener(client, profile, b"INBOX", UNKNOWN, news.append)
        await listener.open()
        news.clear()
        server.inbox.deliver(1)
        await listener.look()
        with contextlib.suppress(UpstreamError):
            await listener.look()
    return news


@needs_profile("naver")
async def test_a_mailbox_is_opened_again_where_noop_shows_nothing(profile: str) -> None:
    """Quirk 30."""
    with QuirkyImap(Quirk.NOOP_BLIND_30) as server:
        assert len(await looks(server, BY_NAME[profile])) == 1


@needs_profile("coremail")
async def test_status_keeps_alive_where_noop_does_not(profile: str) -> None:
    """Quirk 28: and it shows what is new."""
    with QuirkyImap(Quirk.ID_FIRST_28, Quirk.NOOP_NO_KEEPALIVE_28, offered=b"IMAP4rev1 ID IDLE") as server:
        assert len(await looks(server, BY_NAME[profile])) == 1
        assert server.hung_up == []


@needs_profile("coremail")
async def test_a_mailbox_is_opened_where_status_tells_nothing(profile: str) -> None:
    """Quirk 28: STATUS with an empty list."""
    quirks = Quirk.ID_FIRST_28, Quirk.EMPTY_STATUS_28, Quirk.NOOP_NO_KEEPALIVE_28
    with QuirkyImap(*quirks, offered=b"IMAP4rev1 ID IDLE") as server:
        assert len(await looks(server, BY_NAME[profile])) == 1
        assert server.hung_up == []


@needs_profile("office365")
async def test_noop_keeps_alive_where_idle_does_not(profile: str) -> None:
    """Quirk 20."""
    with QuirkyImap(Quirk.IDLE_NO_KEEPALIVE_20, offered=b"IMAP4rev1 IDLE NAMESPACE") as server:
        endpoint, deadlines = Endpoint("127.0.0.1", server.port, "plain"), Deadlines(idle=0.02)
        credentials = Credentials("login", "a", "b")
        async with await AsyncClient.connect(endpoint, credentials, deadlines, profile=BY_NAME[profile]) as client:
            await client.examine(b"INBOX")
            with contextlib.suppress(UpstreamError):
                while len(server.asked(b"DONE")) < _RENEWALS:
                    async for _ in client.idle(seconds=0.05):
                        pass
        assert server.hung_up == []


@needs_profile("wppl")
async def test_done_is_answered_before_anything_else_is_sent(profile: str) -> None:
    """Quirk 33: wanted bytes are fetched out of IDLE in one round trip, but not there."""
    with QuirkyImap(Quirk.DONE_ALONE_33, offered=b"IMAP4rev1 IDLE") as server:
        server.inbox.deliver(1)
        came: list[FetchedMessage] = []
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        async with await AsyncClient.connect(
            endpoint, Credentials("login", "a", "b"), profile=BY_NAME[profile]
        ) as client:
            await client.examine(b"INBOX")
            async for _ in client.idle(seconds=0.01):
                pass
            with contextlib.suppress(UpstreamError):
                await client.uid_fetch_at_once([1], b"(BODY.PEEK[])", on_message=came.append)
        assert (server.hung_up, len(came)) == ([], 1)


async def test_noop_shows_what_is_new_elsewhere() -> None:
    with QuirkyImap() as server:
        assert len(await looks(server, BY_NAME["generic"])) == 1
