"""The deadly proxy: it finds every place in a command and its answer, and kills exactly there."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator

import pytest

from tests.builders import message_bytes
from tests.fakes.deadly_proxy import Boundary, DeadlyProxy, Place
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_DATE = '"17-May-2024 08:30:00 +0000"'
_IN_COMMAND = [Place.UNSENT, Place.IN_LINE, Place.BEFORE_LITERAL, Place.IN_LITERAL, Place.AFTER_LITERAL]
_IN_ANSWER = [Place.UNTOLD, Place.IN_TAGGED, Place.TOLD]


@pytest.fixture
def proxy(bare_dovecot: Dovecot) -> Iterator[DeadlyProxy]:
    with DeadlyProxy(bare_dovecot.host, bare_dovecot.plain_port) as between:
        yield between


def _append(proxy: DeadlyProxy, user: str, password: str) -> None:
    client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
    try:
        client.login(user, password)
        client.append("INBOX", "", _DATE, message_bytes())
    finally:
        client.shutdown()


def _count(dovecot: Dovecot, user: str) -> int:
    with dovecot.login(user) as client:
        (exists,) = client.select("INBOX")[1]
        return int(exists or b"0")


def _boundary(place: Place) -> Boundary:
    return Boundary("APPEND", 1, place, 1 if "LITERAL" in place.name else 0)


def test_all_places_of_a_command_are_found(proxy: DeadlyProxy, bare_dovecot: Dovecot, upstream_user: str) -> None:
    proxy.watch()
    _append(proxy, upstream_user, bare_dovecot.password)
    found = [boundary for boundary in proxy.passed() if boundary.verb == "APPEND"]
    assert found == [_boundary(place) for place in (*_IN_COMMAND, *_IN_ANSWER)]
    with bare_dovecot.login(upstream_user) as client:
        assert client.select("INBOX")[1] == [b"1"]


def test_places_before_and_after_untagged_answers_are_found(
    proxy: DeadlyProxy, bare_dovecot: Dovecot, upstream_user: str
) -> None:
    client = imaplib.IMAP4(proxy.host, proxy.port, timeout=20)
    client.login(upstream_user, bare_dovecot.password)
    proxy.watch()
    client.select("INBOX")
    client.select("INBOX")
    client.shutdown()
    places = [Place.UNSENT, Place.IN_LINE, Place.UNTOLD, Place.IN_ANSWER, Place.UNTAGGED, Place.IN_TAGGED, Place.TOLD]
    assert proxy.passed() == [Boundary("SELECT", number, place) for number in (1, 2) for place in places]


@pytest.mark.parametrize("place", [*_IN_COMMAND, *_IN_ANSWER], ids=lambda place: place.name)
def test_death_comes_at_its_place(proxy: DeadlyProxy, bare_dovecot: Dovecot, upstream_user: str, place: Place) -> None:
    deaths: list[int] = []
    proxy.arm(_boundary(place), lambda: deaths.append(1))
    if place is Place.TOLD:
        _append(proxy, upstream_user, bare_dovecot.password)
    else:
        with pytest.raises((imaplib.IMAP4.abort, OSError)):
            _append(proxy, upstream_user, bare_dovecot.password)
    wait_until(lambda: deaths)
    assert proxy.has_fired
    assert _count(bare_dovecot, upstream_user) == (1 if place in _IN_ANSWER else 0)
    _append(proxy, upstream_user, bare_dovecot.password)
    assert deaths == [1]
