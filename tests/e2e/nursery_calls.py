"""What children of the nursery do: they serve clients, replay an account's changes, and bring everything to its end."""

from __future__ import annotations

import os
import select
from functools import partial
from pathlib import Path
from typing import Any

import argon2  # noqa: F401 - what children would load, each by itself
import django_redis.cache
import django_redis.client  # noqa: F401 - the same
from django.conf import settings
from django.db import connections
from django.utils import timezone

from imapfront.conf import configuration
from imapfront.server import run_server
from mailcache.models import Account, Lease, Message, Mutation, TlsMode
from mailcache.services.accounts import create_account
from mailcache.services.sealed_secrets import seal_secret
from mailcache.services.users import create_user
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import ConnectionSlot
from sync.replay.run import ReplayEnd, run_replay
from tests import hashers
from tests.fakes import crash_points

# More is needed by none: each one follows another that failed.
_ROUNDS = 4
_HASHERS = [f"{hashers.__name__}.{hashers.QuickArgon2PasswordHasher.__name__}"]


def warm_up() -> None:
    """Do once what each process would do anew: it takes a while, on purpose, to make a key of a key."""
    seal_secret(account_id=0, secret="any")
    connections.close_all()


def add_account(
    *, address: str, password: str, upstream_user: str, upstream_password: str, port: int, profile: str = ""
) -> int:
    """Create a user with an account, and sync it; returns its id."""
    settings.PASSWORD_HASHERS = _HASHERS
    account = create_account(
        user=create_user(email=address, password=password),
        address=address,
        host="127.0.0.1",
        port=port,
        username=upstream_user,
        secret=upstream_password,
        tls_mode=TlsMode.PLAIN,
    )
    Account.objects.filter(pk=account.pk).update(profile=profile)
    _sync(account.pk)
    return account.pk


def serve(*, port: int, crash: str = "", postmaster: int = 0) -> None:
    """Be a frontend until killed."""
    _watch_commits(crash, postmaster)
    settings.PASSWORD_HASHERS = _HASHERS
    settings.IMAP_PLAINTEXT_BIND, settings.IMAP_TLS_BIND = ("127.0.0.1", port), None
    run_server(configuration())


def replay(*, account_id: int, crash: str = "", postmaster: int = 0) -> str:
    """Do what a worker does with the task ``replay_account`` and those that follow it; returns how it ended."""
    _watch_commits(crash, postmaster)
    return _replay(account_id).name


def finish(*, account_id: int) -> dict[str, Any]:
    """Go on as the next worker does; returns what is left in the queue, and our UIDs by mailbox."""
    _end_leases(account_id)
    for _ in range(_ROUNDS):
        _replay(account_id)
        # What back-off would wait for.
        if not Mutation.objects.replayable(account_id).update(next_try_at=timezone.now()):
            break
    _sync(account_id)
    unsettled = Mutation.objects.unsettled(account_id).values_list("kind", "state", "last_error")
    rows = Message.objects.filter(account_id=account_id).order_by("uid").values_list("mailbox__name", "uid")
    uids: dict[str, list[int]] = {}
    for name, uid in rows:
        uids.setdefault(name, []).append(uid)
    return {"unsettled": list(unsettled), "uids": uids}


def _replay(account_id: int) -> ReplayEnd:
    end = ReplayEnd.MORE
    while end is ReplayEnd.MORE:
        end = run_replay(account_id, force=True)
    return end


def _sync(account_id: int) -> None:
    end = run_account_until_done(account_id)
    assert end is SliceEnd.DONE, (end, Account.objects.get(pk=account_id).state_reason)


def _end_leases(account_id: int) -> None:
    """Do what thirty seconds would do: the leases and the connection slots of a worker that is gone end."""
    ConnectionSlot.objects.filter(account_id=account_id).delete()
    Lease.objects.filter(account_id=account_id).update(expires_at=timezone.now())


def _watch_commits(crash: str, postmaster: int) -> None:
    """Record commits in a directory, or die at the one that is armed there; or wait there for PostgreSQL's death."""
    if crash:
        crash_points.install(Path(crash), kill=partial(_wait_for_death, postmaster) if postmaster else None)


def _wait_for_death(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    select.select([descriptor], [], [])
    os.close(descriptor)


CALLS = {"add_account": add_account, "serve": serve, "replay": replay, "finish": finish}
