"""By which means a watcher hears of an account's mailboxes: NOTIFY, IDLE, further connections, asking now and then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.utils import timezone

from mailcache.models import Account, Lease, LeaseKind
from mailcache.services import leases
from sync import profiles
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint, ConnectionSlot, Purpose, UpstreamUsage, WatcherProcess
from sync.profiles import GENERIC, Profile
from sync.upstream.endpoint import Deadlines
from tests.builders import make_account, message_bytes
from tests.fakes.capability_proxy import CapabilityProxy
from tests.fakes.scripted_imap import ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.sync.watching import watching
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

QUICK = replace(GENERIC, name="quick", idle_seconds=0.4, poll_seconds=0.3)


@pytest.fixture
def profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Profile:
    """A profile that an account may choose, ``QUICK`` unless the test says otherwise."""
    found: Profile = getattr(request, "param", QUICK)
    monkeypatch.setitem(profiles.BY_NAME, found.name, found)
    return found


@pytest.fixture
def proxy(dovecot: Dovecot) -> Iterator[CapabilityProxy]:
    with CapabilityProxy(dovecot.host, dovecot.plain_port, hidden={"NOTIFY"}) as proxy:
        yield proxy


def through(proxy: CapabilityProxy, account: Account, profile: Profile, *, connections: int = 2) -> Account:
    """Send an account through a proxy, with a profile, and have it in step."""
    Account.objects.filter(pk=account.pk).update(port=proxy.port, profile=profile.name, connection_limit=connections)
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    return Account.objects.get(pk=account.pk)


def wanted(account: Account) -> set[str]:
    return set(
        Checkpoint.objects.filter(account=account, wanted_at__isnull=False).values_list("mailbox__name", flat=True)
    )


def settle(account: Account) -> None:
    """Take back what the beginning of the watching asked for."""
    Checkpoint.objects.filter(account=account).update(wanted_at=None)


def test_notify_tells_of_every_mailbox_on_one_connection(
    dovecot: Dovecot, account: Account, upstream_user: str
) -> None:
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        assert not wanted(account)
        dovecot.deliver(upstream_user, message_bytes(), "Archive")
        wait_until(lambda: wanted(account) == {"Archive"})
        assert ConnectionSlot.objects.filter(purpose=Purpose.WATCH).count() == 1
        # A mailbox that was made is not known here yet: all of the account is looked at.
        with dovecot.login(upstream_user) as client:
            client.create("Brand-new")
        wait_until(lambda: Account.objects.get(pk=account.pk).next_sync_at <= timezone.now())


def test_without_notify_others_are_asked_for_when_idle_is_renewed(
    dovecot: Dovecot, account: Account, upstream_user: str, proxy: CapabilityProxy, profile: Profile
) -> None:
    account = through(proxy, account, profile)
    before = len(proxy.commands("LIST"))
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        dovecot.deliver(upstream_user, message_bytes(), "Archive")
        wait_until(lambda: wanted(account) == {"Archive"})
        # Asked for once: nothing has changed since.
        settle(account)
        asked = len(proxy.commands("LIST"))
        wait_until(lambda: len(proxy.commands("LIST")) > asked + 1)
        assert not wanted(account)
        # IDLE goes on between the looks, on the same connection.
        assert len({command.connection for command in proxy.commands("LIST")[before:]}) == 1
        assert len(proxy.commands("IDLE")) > 1
        dovecot.deliver(upstream_user, message_bytes())
        wait_until(lambda: wanted(account) == {"INBOX"})


def test_without_list_status_each_mailbox_has_its_turn(
    dovecot: Dovecot, account: Account, upstream_user: str, profile: Profile
) -> None:
    hidden = {"NOTIFY", "LIST-STATUS"}
    with CapabilityProxy(dovecot.host, dovecot.plain_port, hidden=hidden) as proxy:
        account = through(proxy, account, profile)
        with watching() as watcher:
            wait_until(lambda: account.pk in watcher.listening)
            dovecot.deliver(upstream_user, message_bytes(), "Archive")
            wait_until(lambda: wanted(account) == {"Archive"})
            assert proxy.commands("STATUS")


@pytest.mark.parametrize("profile", [replace(QUICK, poll_seconds=3600.0)], indirect=True)
def test_idle_is_renewed_as_the_profile_says(account: Account, proxy: CapabilityProxy, profile: Profile) -> None:
    account = through(proxy, account, profile)
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        wait_until(lambda: len(proxy.commands("IDLE")) > 2)
        first, *others = proxy.commands("IDLE")
        assert {command.connection for command in others} == {first.connection}


def test_idle_that_is_not_offered_is_replaced_by_noop(
    dovecot: Dovecot, account: Account, upstream_user: str, profile: Profile
) -> None:
    with CapabilityProxy(dovecot.host, dovecot.plain_port, hidden={"NOTIFY", "IDLE"}) as proxy:
        account = through(proxy, account, profile)
        with watching() as watcher:
            wait_until(lambda: len(proxy.commands("NOOP")) > 1)
            dovecot.deliver(upstream_user, message_bytes())
            wait_until(lambda: "INBOX" in wanted(account))
            assert watcher.listening == {account.pk}
            assert len({command.connection for command in proxy.commands("NOOP")}) == 1


@pytest.mark.parametrize(
    ("profile", "verb"),
    [
        (replace(QUICK, idle=False, poll_with="noop"), "NOOP"),
        (replace(QUICK, idle=False, poll_with="status"), "STATUS"),
        (replace(QUICK, idle=False, poll_with="select"), "EXAMINE"),
    ],
    indirect=["profile"],
    ids=["noop", "coremail", "naver"],
)
def test_an_upstream_that_cannot_idle_is_asked_as_its_profile_says(
    dovecot: Dovecot, account: Account, upstream_user: str, proxy: CapabilityProxy, profile: Profile, verb: str
) -> None:
    account = through(proxy, account, profile)
    before = len(proxy.commands(verb))
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        wait_until(lambda: len(proxy.commands(verb)) > before + 2)
        settle(account)
        dovecot.deliver(upstream_user, message_bytes())
        wait_until(lambda: "INBOX" in wanted(account))
    assert not proxy.commands("IDLE")


@pytest.mark.parametrize("profile", [replace(QUICK, idle_seconds=3600.0, poll_seconds=3600.0)], indirect=True)
@pytest.mark.parametrize(("connections", "extras"), [(2, 0), (3, 0), (4, 1), (5, 2)])
def test_connections_that_no_worker_needs_idle_on_further_mailboxes(
    dovecot: Dovecot,
    account: Account,
    upstream_user: str,
    proxy: CapabilityProxy,
    profile: Profile,
    connections: int,
    extras: int,
) -> None:
    dovecot.deliver(upstream_user, message_bytes("active"), "Archive")
    account = through(proxy, account, profile, connections=connections)
    with watching() as watcher:
        wait_until(lambda: len(watcher.listening_to) == extras + 1)
        assert ConnectionSlot.objects.filter(account=account, purpose=Purpose.WATCH).count() == extras + 1
        names = {name for _, name in watcher.listening_to} - {b"INBOX"}
        if extras:
            # Where mail came last comes first.
            assert b"Archive" in names
            settle(account)
            dovecot.deliver(upstream_user, message_bytes(), "Archive")
            wait_until(lambda: wanted(account) == {"Archive"})
    assert not ConnectionSlot.objects.exists()


def test_with_one_connection_none_is_kept_open(account: Account, proxy: CapabilityProxy, profile: Profile) -> None:
    account = through(proxy, account, profile, connections=1)
    before = len(proxy.commands())
    with watching() as watcher:
        wait_until(lambda: watcher.reloads > 3)
        assert not watcher.listening
        assert not Lease.objects.filter(kind=LeaseKind.WATCH).exists()
    assert len(proxy.commands()) == before


def test_an_account_without_a_free_connection_is_given_back(
    account: Account, proxy: CapabilityProxy, profile: Profile
) -> None:
    account = through(proxy, account, profile)
    ConnectionSlot.objects.create(
        account=account, host=account.host, purpose=Purpose.WATCH, holder="another", expires_at="2999-01-01T00:00:00Z"
    )
    with watching() as watcher:
        wait_until(lambda: watcher.reloads > 4 and not watcher.listening)
        wait_until(lambda: leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="a task") is not None)


def test_after_a_jump_of_the_clock_connections_are_looked_at(
    account: Account, proxy: CapabilityProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sync.watcher._CLOCK_SECONDS", 0.1)
    slow = replace(QUICK, idle_seconds=3600.0, poll_seconds=3600.0)
    monkeypatch.setitem(profiles.BY_NAME, slow.name, slow)
    account = through(proxy, account, slow)
    slept = [0.0]
    with watching(deadlines=Deadlines(inactivity=0.5), wall_clock=lambda: time.time() + slept[0]) as watcher:
        wait_until(lambda: account.pk in watcher.listening and proxy.commands("IDLE"))
        slept[0] = 600.0
        wait_until(lambda: proxy.commands("NOOP"))
        connection = proxy.commands("NOOP")[0].connection
        # One that is dead without having been told is replaced.
        proxy.pause()
        slept[0] = 1200.0
        wait_until(lambda: not watcher.listening)
        proxy.resume()
        wait_until(lambda: account.pk in watcher.listening, 30)
        wait_until(lambda: proxy.commands("IDLE")[-1].connection != connection, 30)


def test_watchers_share_the_accounts_evenly_and_take_over(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1)
    with ScriptedImap(
        {"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE\r\n{tag} OK done\r\n", "IDLE": b"+ idling\r\n"}
    ) as fake:
        accounts = {make_account(port=fake.port).pk for _ in range(6)}
        with watching() as first:
            wait_until(lambda: first.listening == accounts)
            with watching() as second:
                wait_until(lambda: len(first.listening) == len(second.listening) == 3)
                assert first.listening | second.listening == accounts
            wait_until(lambda: first.listening == accounts)
        # One that was killed gave nothing back.
        dead = leases.acquire_all(account_ids=sorted(accounts)[:3], kind=LeaseKind.WATCH, holder="dead")
        assert len(dead) == 3
        with watching() as third:
            wait_until(lambda: third.listening == accounts)
        assert not WatcherProcess.objects.exists()


def test_what_watching_costs_is_written_down(account: Account, proxy: CapabilityProxy, profile: Profile) -> None:
    account = through(proxy, account, profile)
    UpstreamUsage.objects.all().delete()
    with watching() as watcher:
        wait_until(lambda: account.pk in watcher.listening)
        wait_until(lambda: UpstreamUsage.objects.filter(account=account, kind="IDLE", commands__gt=0).exists())
