"""The worker's connection: what it learns for the next one, what it is given, and that its slot is its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random

import pytest
from django.utils import timezone

from mailcache.models import Account, AccountState, AuthMethod, TlsMode
from mailcache.services import accounts
from sync.account_run import SliceEnd, run_slice
from sync.connection import UpstreamSession, profile_of
from sync.errors import NoConnectionFree
from sync.lanes import Lane
from sync.models import ConnectionSlot, Purpose
from sync.services.upstream_notes import LATCHED_FOR, latches_of, note_upstream
from sync.slice_connections import SliceConnections
from sync.upstream.errors import ConnectionLost
from tests.builders import make_account
from tests.sync.one_mailbox import OneMailbox
from tests.sync.several_connections import SeveralConnections

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[SeveralConnections]:
    with SeveralConnections(3) as server:
        yield server


@pytest.fixture
def account(server: OneMailbox) -> Account:
    return make_account(port=server.port)


class TestLearning:
    def test_what_was_advertised_and_refused_is_not_tried_again(
        self, server: SeveralConnections, account: Account
    ) -> None:
        """Quirk 42."""
        capabilities = b"* CAPABILITY IMAP4rev1 ID COMPRESS=DEFLATE\r\n{tag} OK done\r\n"
        refused = {"CAPABILITY": capabilities, "COMPRESS": b"{tag} NO not really\r\n"}
        server.interfere = lambda number, name, command: refused.get(name)
        assert run_slice(account.pk, full=True) is SliceEnd.DONE
        account.refresh_from_db()
        assert account.latches == ["COMPRESS=DEFLATE"]
        assert run_slice(account.pk, full=True) is SliceEnd.DONE
        assert len(server.asked(b"COMPRESS")) == 1

        Account.objects.update(latched_at=timezone.now() - LATCHED_FOR)
        assert run_slice(account.pk, full=True) is SliceEnd.DONE
        assert len(server.asked(b"COMPRESS")) == 2

    def test_what_the_upstream_says_it_is_holds_from_the_next_connection_on(
        self, server: SeveralConnections, account: Account
    ) -> None:
        said = {
            "CAPABILITY": b"* CAPABILITY IMAP4rev1 ID\r\n{tag} OK done\r\n",
            "ID": b'* ID ("name" "Zimbra")\r\n{tag} OK done\r\n',
        }
        server.interfere = lambda number, name, command: said.get(name)
        assert run_slice(account.pk, full=True) is SliceEnd.DONE
        account.refresh_from_db()
        assert profile_of(account).name == "zimbra"
        account.profile = "generic"
        assert profile_of(account).name == "generic"

    def test_another_upstream_or_user_begins_without_latches(self, account: Account) -> None:
        note_upstream(account_id=account.pk, refused={"ENABLE"}, said="Dovecot ready.")
        account.refresh_from_db()
        assert latches_of(account, timezone.now()) == {"ENABLE"}
        assert latches_of(account, timezone.now() + LATCHED_FOR) == set()
        changed = accounts.change_upstream(
            account_id=account.pk, host="imap.example.org", port=account.port, username=account.username,
            tls_mode=TlsMode.PLAIN, auth_method=AuthMethod.LOGIN,
        )  # fmt: skip
        assert (changed.latches, changed.detected_profile) == ([], "")


class TestPauses:
    @pytest.mark.parametrize("name", ["LOGIN", "EXAMINE"])
    def test_a_suggested_pause_is_obeyed(self, server: SeveralConnections, account: Account, name: str) -> None:
        """Quirk 12: at once, without a second try, and not cut short because the upstream is heard to speak."""
        throttled = b"{tag} NO Request is throttled. Suggested Backoff Time: 900000 milliseconds\r\n"
        server.interfere = lambda number, command_name, command: throttled if command_name == name else None
        assert run_slice(account.pk, full=True) is SliceEnd.FAILED
        account.refresh_from_db()
        assert account.state == AccountState.FAILING
        assert account.next_sync_at > timezone.now() + timedelta(minutes=14)
        assert len(server.asked(name.encode())) == 1
        assert run_slice(account.pk) is SliceEnd.STOPPED
        assert server.connections == 1

    def test_also_after_another_fault(self, server: SeveralConnections, account: Account) -> None:
        server.mailboxes = [b"INBOX", b"Archive"]
        answers = iter(
            (b"NO Server Unavailable. 15", b"NO Request is throttled. Suggested Backoff Time: 900000 milliseconds")
        )
        server.interfere = lambda number, name, command: b"{tag} %s\r\n" % next(answers) if name == "EXAMINE" else None
        assert run_slice(account.pk, full=True) is SliceEnd.FAILED
        account.refresh_from_db()
        assert account.next_sync_at > timezone.now() + timedelta(minutes=14)


class TestSlots:
    def test_a_connection_has_a_slot_as_long_as_it_lasts(self, account: Account) -> None:
        session = UpstreamSession(account, purpose=Purpose.REPLAY)
        assert not ConnectionSlot.objects.exists()
        session.connect()
        assert ConnectionSlot.objects.get().purpose == "replay"
        session.drop()
        session.connect()
        assert ConnectionSlot.objects.count() == 1
        session.close()
        assert not ConnectionSlot.objects.exists()

    def test_one_that_cannot_connect_has_none(self, server: SeveralConnections, account: Account) -> None:
        server.interfere = lambda number, name, command: b"{tag} NO [UNAVAILABLE] no\r\n" if name == "LOGIN" else None
        assert run_slice(account.pk, full=True) is SliceEnd.FAILED
        assert not ConnectionSlot.objects.exists()

    def test_without_a_slot_nothing_is_dialled(self, server: SeveralConnections, account: Account) -> None:
        Account.objects.update(connection_limit=1)
        account.refresh_from_db()
        first, second = UpstreamSession(account), UpstreamSession(account)
        first.connect()
        with pytest.raises(NoConnectionFree):
            second.connect()
        assert server.connections == 1
        first.close()
        second.connect()
        second.close()

    def test_a_connection_whose_slot_lapsed_is_given_up(self, account: Account) -> None:
        connections = SliceConnections(account, holder="a", lane=Lane.FAST, rng=Random(1))
        session = connections.open(Purpose.SYNC)
        session.connect()
        client = session.client
        connections.renew_slots()
        assert session.client is client
        ConnectionSlot.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        connections.renew_slots()
        assert client.poisoned
        session.connect()
        assert ConnectionSlot.objects.count() == 1
        connections.close()

    def test_an_aborted_slice_opens_nothing_any_more(self, server: SeveralConnections, account: Account) -> None:
        connections = SliceConnections(account, holder="a", lane=Lane.FAST, rng=Random(1))
        connections.abort()
        with pytest.raises(ConnectionLost):
            connections.open(Purpose.BODIES).connect()
        assert server.connections == 0
