"""Fixtures of the upstream client's tests: each runs with both drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import pytest

from sync.profiles import GENERIC, Profile
from sync.upstream.endpoint import AuthMethod, Credentials, Deadlines, Endpoint
from tests.fakes.scripted_imap import Answer, Answers, ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.drivers import CONNECTORS, Client, Connect

Script = Callable[..., tuple[ScriptedImap, Client]]


@pytest.fixture(params=list(CONNECTORS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """How to connect with one of the drivers."""
    return CONNECTORS[request.param]


@pytest.fixture
def client(connect: Connect, dovecot: Dovecot, upstream_user: str) -> Iterator[Client]:
    """A client at the session's Dovecot, logged in as a new user."""
    endpoint = Endpoint(dovecot.host, dovecot.plain_port, "plain")
    with connect(endpoint, Credentials("login", upstream_user, dovecot.password), Deadlines()) as connected:
        yield connected


@pytest.fixture
def script(connect: Connect) -> Iterator[Script]:
    """Start a scripted server and connect to it; returns both."""
    with ExitStack() as stack:

        def start(
            answers: Answers | None = None,
            *,
            greeting: Answer = b"* OK ready\r\n",
            method: AuthMethod = "login",
            deadlines: Deadlines | None = None,
            profile: Profile = GENERIC,
            refused: Iterable[str] = (),
        ) -> tuple[ScriptedImap, Client]:
            server = stack.enter_context(ScriptedImap(answers, greeting=greeting))
            credentials = Credentials(method, "fred", "s3cret")
            endpoint = Endpoint("127.0.0.1", server.port, "plain")
            client = connect(endpoint, credentials, deadlines, profile=profile, refused=refused)
            return server, stack.enter_context(client)

        yield start
