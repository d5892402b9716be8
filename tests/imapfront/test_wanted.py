"""FETCH of bytes that are not here yet: the others do not wait, what comes is written, what does not is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from mailcache.models import Listing
from mailcache.services.ingest_expunge import remove_messages
from mailcache.services.wanted import GivenUp, give_up
from tests.builders import UIDVALIDITY, add_bodies, add_skeleton, message_bytes, skeleton_row
from tests.imapfront.fixtures import MirroredAccount
from tests.imapfront.frontend import Frontend
from tests.imapfront.raw_client import RawClient
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def impatient(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Frontend]:
    """A frontend whose clients wait for two seconds."""
    server = Frontend(tmp_path_factory.mktemp("impatient"), workers=2, environment={"FETCH_WAIT_SECONDS": "2"})
    with django_db_blocker.unblock():
        server.start()
    yield server
    assert server.stop() == 0
    assert "Traceback" not in server.log


BODIES = {uid: message_bytes(f"number {uid}") for uid in range(1, 7)}


@pytest.fixture
def partly(mirrored: MirroredAccount) -> MirroredAccount:
    """Messages 1 to 6; the bytes of 1 and 4 are here."""
    rows = [skeleton_row(uid, size=len(data)) for uid, data in BODIES.items()]
    add_skeleton(mirrored.fence, mirrored.inbox, rows)
    deliver(mirrored, 1, 4)
    return mirrored


def deliver(mirrored: MirroredAccount, *uids: int) -> None:
    add_bodies(mirrored.fence, mirrored.inbox, {uid: BODIES[uid] for uid in uids})


def wanted() -> set[int]:
    return set(Listing.objects.filter(wanted_at__isnull=False).values_list("uid", flat=True))


def opened(frontend: Frontend, mirrored: MirroredAccount) -> RawClient:
    client = RawClient(frontend.plain_port)
    client.login(mirrored.user.email)
    assert client.command(b"EXAMINE INBOX")[-1].startswith(b"t OK")
    return client


def read_body(client: RawClient) -> tuple[int, bytes]:
    """Return message number and bytes of the next FETCH answer, which must be of BODY[] alone."""
    line = client.line()
    match = re.fullmatch(rb"\* (\d+) FETCH \((?:UID \d+ )?BODY\[\] \{(\d+)\}", line)
    assert match is not None, line
    data = client.read(int(match[2]))
    assert client.line() == b")"
    return int(match[1]), data


def test_what_is_here_is_written_before_what_comes(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        client.send(b"t FETCH 1:5 BODY.PEEK[]\r\n")
        assert [read_body(client)[0] for _ in range(2)] == [1, 4]
        # The whole command's wants are there before the first of them is answered.
        assert wanted() == {2, 3, 5}
        deliver(partly, 5)
        assert read_body(client) == (5, BODIES[5])
        deliver(partly, 2, 3)
        assert [read_body(client) for _ in range(2)] == [(2, BODIES[2]), (3, BODIES[3])]
        assert client.line().startswith(b"t OK")


def test_other_connections_and_users_of_the_mailbox_do_not_wait(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as waiting, opened(frontend, partly) as other:
        waiting.send(b"t UID FETCH 2 (UID BODY.PEEK[])\r\n")
        wait_until(lambda: wanted() == {2})
        assert other.command(b"FETCH 1 (FLAGS ENVELOPE)")[-1].startswith(b"t OK")
        assert other.command(b"NOOP")[-1].startswith(b"t OK")
        other.send(b"t FETCH 2 BODY.PEEK[]\r\n")
        deliver(partly, 2)
        assert read_body(waiting) == (2, BODIES[2])
        assert read_body(other) == (2, BODIES[2])


def test_structures_and_parts_wait_too_but_not_sizes_and_flags(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        answer = client.command(b"FETCH 2 (RFC822.SIZE FLAGS INTERNALDATE)")
        assert answer[0].startswith(b"* 2 FETCH (FLAGS (\\Recent) INTERNALDATE")
        assert not wanted()
        client.send(b"t FETCH 2 (BODYSTRUCTURE BODY.PEEK[1]<0.5>)\r\n")
        wait_until(lambda: wanted() == {2})
        deliver(partly, 2)
        lines = client.until(b"t ")
        assert b'BODYSTRUCTURE ("text" "plain"' in lines[0]
        assert lines[0].endswith(b"BODY[1]<0> {5}")
        assert lines[1:] == [b"How a)", b"t OK FETCH completed"]


def test_seen_is_set_when_the_message_is_read(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        assert client.command(b"SELECT INBOX")[-1].startswith(b"t OK")
        client.send(b"t FETCH 3 BODY[]\r\n")
        wait_until(lambda: wanted() == {3})
        deliver(partly, 3)
        assert b"\\Seen" in client.line()


def test_what_does_not_come_is_unavailable_and_never_empty(impatient: Frontend, partly: MirroredAccount) -> None:
    with opened(impatient, partly) as client:
        client.send(b"t FETCH 1:3 BODY.PEEK[]\r\n")
        assert read_body(client) == (1, BODIES[1])
        assert client.line().startswith(b"t NO [UNAVAILABLE] 2 messages")
        # The connection goes on.
        assert client.command(b"NOOP")[-1].startswith(b"t OK")


def test_what_was_given_up_is_told_early(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        client.send(b"t FETCH 2:3 BODY.PEEK[]\r\n")
        wait_until(lambda: wanted() == {2, 3})
        messages = [
            GivenUp(listing.remote_id, timezone.now() + timedelta(minutes=5))
            for listing in Listing.objects.filter(uid=2)
        ]
        give_up(fence=partly.fence, messages=messages, reason="the upstream refuses it", blame=True)
        deliver(partly, 3)
        assert read_body(client) == (3, BODIES[3])
        assert client.line().startswith(b"t NO [UNAVAILABLE] 1 messages")


def test_a_mark_that_was_lost_is_made_again(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        client.send(b"t FETCH 2 BODY.PEEK[]\r\n")
        wait_until(lambda: wanted() == {2})
        Listing.objects.update(wanted_at=None)
        wait_until(lambda: wanted() == {2})
        deliver(partly, 2)
        assert read_body(client) == (2, BODIES[2])


def test_messages_that_are_expunged_meanwhile(frontend: Frontend, partly: MirroredAccount) -> None:
    with opened(frontend, partly) as client:
        client.send(b"t FETCH 2:3 BODY.PEEK[]\r\n")
        wait_until(lambda: wanted() == {2, 3})
        remove_messages(fence=partly.fence, mailbox_id=partly.inbox.pk, uidvalidity=UIDVALIDITY, uids=[2])
        deliver(partly, 3)
        # The number is still 3: no EXPUNGE may be told while a FETCH runs (RFC 3501 7.4.1).
        assert read_body(client) == (3, BODIES[3])
        assert client.line().startswith(b"t NO [EXPUNGEISSUED]")
        assert b"* 2 EXPUNGE" in client.command(b"NOOP")


def test_a_client_that_goes_away_ends_the_waiting(frontend: Frontend, partly: MirroredAccount) -> None:
    client = opened(frontend, partly)
    client.send(b"t FETCH 2 BODY.PEEK[]\r\n")
    wait_until(lambda: wanted() == {2})
    client.close()
    with opened(frontend, partly) as other:
        other.send(b"t FETCH 1 BODY.PEEK[]\r\n")
        assert read_body(other) == (1, BODIES[1])


def test_headers_of_many_are_left_to_the_listing_pass(frontend: Frontend, mirrored: MirroredAccount) -> None:
    rows = [skeleton_row(uid) for uid in range(1, 31)]
    add_skeleton(mirrored.fence, mirrored.inbox, rows)
    with opened(frontend, mirrored) as client:
        answer = client.command(b"FETCH 1:* (ENVELOPE)")
        assert answer[-1].startswith(b"t NO [UNAVAILABLE] 30 messages")
        assert not wanted()
        # One that has just come is wanted like a body.
        client.send(b"t FETCH 30 (BODY.PEEK[HEADER])\r\n")
        wait_until(lambda: wanted() == {30})
        add_bodies(mirrored.fence, mirrored.inbox, {30: b"Subject: x\r\n" + b"X: " + b"y" * 75 + b"\r\n\r\nz\r\n\r\n."})
        assert client.line().startswith(b"* 30 FETCH (BODY[HEADER] {94}")
