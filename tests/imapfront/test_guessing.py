"""Guessing passwords, at once and under many names; and those who know theirs and come at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pytest_django.fixtures import Settings

from imapfront.throttle import Attempt, Refusal, Throttle
from mailcache.services import login
from tests.builders import PASSWORD
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend
from tests.imapfront.raw_client import RawClient
from tests.servers.dovecot import free_port

FAILURES = 5
"""LOGIN_RATE_LIMIT_FAILURES of the frontend."""


@contextmanager
def _at_once(frontend: Frontend, count: int, login: Callable[[int], str]) -> Iterator[list[bytes]]:
    """Yield the answers to LOGIN of as many clients, which sent it before one of them was answered."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(frontend.plain_port)) for _ in range(count)]
        for number, client in enumerate(clients):
            client.send(f"t LOGIN {login(number)}\r\n".encode())
        yield [client.until(b"t ")[-1] for client in clients]


def test_guesses_at_once_and_under_many_names_are_counted_together(
    frontend: Frontend, mirrored: MirroredAccount
) -> None:
    name = mirrored.user.email
    with _at_once(frontend, 2 * FAILURES, lambda number: f'"{name.upper()}/{number}" wrong{number}') as answers:
        assert sum(b"wrong name or password" in answer for answer in answers) == FAILURES
        assert sum(b"too many failed logins" in answer for answer in answers) == FAILURES

    with RawClient(frontend.plain_port) as client:
        assert b"too many failed logins" in client.command(f'LOGIN {name} "{PASSWORD}"'.encode())[-1]


def test_right_logins_at_once_do_not_wait_for_a_lockout(frontend: Frontend, mirrored: MirroredAccount) -> None:
    name = mirrored.user.email
    with _at_once(frontend, FAILURES - 1, lambda _: f"{name} wrong") as answers:
        assert all(b"wrong name or password" in answer for answer in answers)

    with _at_once(frontend, 3 * FAILURES, lambda _: f'{name} "{PASSWORD}"') as answers:
        assert all(answer.startswith(b"t OK") for answer in answers), answers


def test_a_name_whose_account_is_unknown_tells_nothing_of_the_password(
    mirrored: MirroredAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(*_: object) -> bool:
        raise AssertionError("the password was looked at")

    monkeypatch.setattr(login, "_verify", verify)
    assert login.check_login(name=f"{mirrored.user.email}/nowhere", password=PASSWORD) is None


@pytest.fixture(params=["shared", "away"])
def throttle(request: pytest.FixtureRequest, settings: Settings) -> Throttle:
    """Two failures for each name; by the shared cache, and while that is away."""
    if request.param == "away":
        default = {**settings.CACHES["default"], "LOCATION": f"redis://127.0.0.1:{free_port()}/0"}
        settings.CACHES = {"default": default}
    return Throttle(2, 60)


def _begin(throttle: Throttle, name: str, address: str = "192.0.2.1") -> Attempt:
    attempt = throttle.begin(name=name, address=address)
    assert isinstance(attempt, Attempt)
    return attempt


def test_others_wait_while_as_many_as_may_fail_are_verified(throttle: Throttle) -> None:
    name = secrets.token_hex(8)
    first, second = _begin(throttle, name), _begin(throttle, name)
    assert throttle.begin(name=name, address="192.0.2.1") is Refusal.BUSY

    throttle.failed(first)
    assert throttle.begin(name=name, address="192.0.2.1") is Refusal.BUSY
    throttle.failed(second)
    assert throttle.begin(name=name, address="192.0.2.1") is Refusal.LOCKED_OUT
    assert throttle.begin(name=name.upper(), address="192.0.2.1") is Refusal.LOCKED_OUT


def test_the_right_password_ends_the_counting(throttle: Throttle) -> None:
    name = secrets.token_hex(8)
    throttle.failed(_begin(throttle, name))
    throttle.succeeded(_begin(throttle, name))

    assert _begin(throttle, name) != _begin(throttle, name)


def test_an_attempt_that_came_to_nothing_does_not_count(throttle: Throttle) -> None:
    name = secrets.token_hex(8)
    for _ in range(3):
        throttle.came_to_nothing(_begin(throttle, name))

    assert _begin(throttle, name) != _begin(throttle, name)


def test_an_address_may_fail_more_often(throttle: Throttle) -> None:
    address = secrets.token_hex(8)
    for number in range(20):
        throttle.failed(_begin(throttle, f"{address}{number}", address))

    assert throttle.begin(name=address, address=address) is Refusal.LOCKED_OUT


@pytest.mark.parametrize("other", ["SIMI", "\N{LATIN SMALL LETTER LONG S}imi", "sim\N{LATIN SMALL LETTER DOTLESS I}"])
def test_letters_that_the_database_takes_for_one_are_one(other: str) -> None:
    domain = f"@{secrets.token_hex(8)}.test"
    throttle = Throttle(1, 60)
    throttle.failed(_begin(throttle, f"simi{domain}"))

    assert throttle.begin(name=f"{other}{domain}", address="192.0.2.1") is Refusal.LOCKED_OUT


def test_a_shared_count_holds_for_all_processes() -> None:
    name = secrets.token_hex(8)
    first, other = Throttle(1, 60), Throttle(1, 60)
    attempt = _begin(first, name)
    assert other.begin(name=name, address="192.0.2.1") is Refusal.BUSY
    first.failed(attempt)
    assert other.begin(name=name, address="192.0.2.1") is Refusal.LOCKED_OUT
