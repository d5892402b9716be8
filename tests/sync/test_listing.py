"""The listing pass: headers are those of the mailbox that they are kept for."""

from __future__ import annotations

import pytest

from mailcache.models import BodyPolicy, Listing
from sync import planner
from sync.account_run import SliceEnd, run_account_until_done, run_slice
from sync.models import Checkpoint, SyncOutcome
from tests.builders import make_account, message_bytes
from tests.sync.many_mailboxes import ManyMailboxes, folder
from tests.sync.mirror import mirrored, synced

pytestmark = pytest.mark.django_db(transaction=True)

_HALF_A_BATCH = "0123456789abcdef" * (planner.FIRST_BATCH_BYTES // 32) + "\r\n"


def subjects() -> dict[str, set[str]]:
    """Return what the headers tell of each mailbox that are here before the bytes."""
    found: dict[str, set[str]] = {}
    for name, header in Listing.objects.exclude(header=None).values_list("mailbox__name", "header"):
        field = next(line for line in bytes(header or b"").split(b"\r\n") if line.startswith(b"Subject: "))
        found.setdefault(name, set()).add(field.decode())
    return found


def test_an_upstream_that_turns_out_slow_is_asked_in_the_right_mailbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen on a loaded machine: messages of INBOX got the headers of another mailbox, and their bytes were refused."""
    monkeypatch.setattr("sync.planner.ROUGH_SECONDS", 0.0)
    monkeypatch.setattr(
        "sync.planner.are_headers_worthwhile",
        lambda size, rate: size > 0 and Checkpoint.objects.exclude(compared_at=None).count() == 2,
    )
    with ManyMailboxes() as server:
        server.folders[b"INBOX"].messages = {uid: message_bytes(f"in {uid}", _HALF_A_BATCH) for uid in range(1, 7)}
        server.folders[b"Lists"] = folder(2, 5)
        account = make_account(port=server.port)
        run = synced(account)
        assert (run.outcome, run.bodies_added, run.bodies_parked) == (SyncOutcome.COMPLETED, 11, 0)
        assert len(mirrored(account)["INBOX"]) == 6


@pytest.mark.parametrize(("rough", "asks"), [(0.0, True), (3600.0, False)])
def test_a_batch_that_came_at_once_does_not_tell_how_fast_the_upstream_is(
    monkeypatch: pytest.MonkeyPatch, rough: float, asks: bool
) -> None:
    """What a small batch took is mostly the command's own time: a larger one is fetched before headers are."""
    monkeypatch.setattr("sync.planner.ROUGH_SECONDS", rough)
    monkeypatch.setattr("sync.planner.are_headers_worthwhile", lambda size, rate: size > 0)
    with ManyMailboxes() as server:
        server.folders[b"INBOX"].messages = {uid: message_bytes(f"in {uid}", _HALF_A_BATCH) for uid in range(1, 7)}
        synced(make_account(port=server.port))
        assert any(b"[HEADER]" in command for command in server.commands) is asks


def test_a_slice_opens_the_mailbox_whose_headers_another_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.planner.CHUNK_MESSAGES", 2)
    with ManyMailboxes() as server:
        for number, name in enumerate((b"INBOX", b"Lists"), 1):
            server.folders[name] = folder(number)
            server.folders[name].messages = {uid: message_bytes(name.decode()) for uid in range(1, 8)}
        account = make_account(port=server.port)
        account.body_policy = BodyPolicy.ON_DEMAND
        account.save()
        ends = [run_slice(account.pk, full=True, seconds=0.0)]
        while ends[-1] is SliceEnd.MORE and len(ends) < 40:
            ends.append(run_slice(account.pk, seconds=0.0))
        assert ends[-1] is SliceEnd.DONE
        assert subjects() == {"INBOX": {"Subject: INBOX"}, "Lists": {"Subject: Lists"}}
        assert Listing.objects.filter(header=None).count() == 0
        assert run_account_until_done(account.pk) is SliceEnd.DONE
