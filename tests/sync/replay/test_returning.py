"""An upstream that was away: its return is noticed within a second, at the price of one connection a second."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from mailcache.models import Account, AuthMethod, Mutation, TlsMode
from mailcache.services.accounts import change_upstream
from mailcache.services.replays import accounts_away, note_upstream_back
from sync import scheduling
from sync.replay.returning import take_turns
from sync.replay.run import ReplayEnd, run_replay
from tests.builders import make_account, message_bytes
from tests.fakes.chaos_proxy import Fault, Kind, Switches
from tests.sync.replay.hands import Hands
from tests.sync.watching import watching
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_REPLAY = (scheduling.REPLAY_ACCOUNT, "urgent")


@pytest.fixture(autouse=True)
def no_turns_taken() -> None:
    """What other tests noted is forgotten."""
    cache.clear()


@pytest.fixture
def away(hands: Hands) -> Hands:
    """A change waits for an upstream that takes connections and says nothing."""
    hands.deliver(message_bytes())
    hands.store("\\Seen")
    hands.proxy.switches = Switches(accept_and_close=True)
    assert hands.replay() is ReplayEnd.FAILED
    assert accounts_away() == [hands.account]
    return hands


def test_its_return_is_noticed_without_a_login(away: Hands, sent: list[tuple[str, str]]) -> None:
    # Nobody syncs or watches the account: whatever comes to the upstream is a knock.
    Account.objects.update(sync_paused=True)
    sent.clear()
    before = away.proxy.accepted
    with watching():
        wait_until(lambda: away.proxy.accepted >= before + 3)
        assert sent == []
        away.proxy.switches = Switches()
        wait_until(lambda: sent)
    assert sent == [_REPLAY]
    assert [command.verb for command in away.proxy.commands() if command.connection > before] == ["LOGOUT"]
    assert accounts_away() == []
    assert away.replay(force=False) is ReplayEnd.DONE
    assert away.there()[0][1] == {"\\Seen"}


def test_the_watcher_of_the_account_is_back_as_well(away: Hands) -> None:
    with watching() as watcher:
        wait_until(lambda: watcher.reloads >= 2)
        assert away.account.pk not in watcher.listening
        away.proxy.switches = Switches()
        wait_until(lambda: away.account.pk in watcher.listening)


def test_accounts_of_one_upstream_are_knocked_for_together(away: Hands) -> None:
    other = make_account(port=away.proxy.port)
    Mutation.objects.create(account=other, kind="create", arguments={"name": "New"})
    Account.objects.update(upstream_away=True)
    ((endpoint, account_ids),) = take_turns(()).items()
    assert (endpoint.port, set(account_ids)) == (away.proxy.port, {away.account.pk, other.pk})
    # Another watcher has just done so; or this one still does.
    assert take_turns(()) == {}
    cache.clear()
    assert take_turns([endpoint]) == {}
    assert note_upstream_back(account_ids=account_ids) == sorted(account_ids)
    assert note_upstream_back(account_ids=account_ids) == []


def test_nobody_knocks_where_nothing_waits(away: Hands) -> None:
    Mutation.objects.update(state="parked")
    assert accounts_away() == []


def test_an_upstream_that_refuses_a_login_is_not_away(hands: Hands) -> None:
    hands.deliver(message_bytes())
    hands.store("\\Seen")
    for kind in (Kind.NO, Kind.CUT_BEFORE):
        hands.proxy.arm(Fault(kind, "LOGIN"))
        assert run_replay(hands.account.pk, force=True) is ReplayEnd.FAILED
        assert accounts_away() == []
    assert len(hands.proxy.fired) == 2
    # No change is to blame.
    assert Mutation.objects.get().attempts == 0


def test_other_settings_are_tried_at_once(away: Hands) -> None:
    assert away.replay(force=False) is ReplayEnd.STOPPED
    away.proxy.switches = Switches()
    account = away.account
    change_upstream(
        account_id=account.pk, host="localhost", port=account.port, username=account.username,
        tls_mode=TlsMode.PLAIN, auth_method=AuthMethod.LOGIN,
    )  # fmt: skip
    assert accounts_away() == []
    assert away.replay(force=False) is ReplayEnd.DONE
