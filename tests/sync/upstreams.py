"""The upstreams that a sync is tried on: Dovecot and Cyrus, each in full, without QRESYNC, and without CONDSTORE."""

from __future__ import annotations

import contextlib
import imaplib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db import models

from mailcache.models import Account, Listing, Mailbox
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import Checkpoint
from tests.builders import make_account
from tests.fakes.capability_proxy import NO_CONDSTORE, NO_QRESYNC, CapabilityProxy
from tests.fakes.recording_proxy import Command
from tests.servers.imap_server import ImapServer, new_user

HIDDEN = {"full": frozenset[str](), "no-qresync": NO_QRESYNC, "no-condstore": NO_CONDSTORE}
UPSTREAMS = [f"{server} {tier}" for server in ("dovecot", "cyrus") for tier in HIDDEN]

# What a connection costs before and after its work; LIST is the account's, not a mailbox's.
OVERHEAD = frozenset({"LOGIN", "CAPABILITY", "ID", "ENABLE", "COMPRESS", "NAMESPACE", "LIST", "LOGOUT"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """One user of a real server, seen by the sync through a proxy, and by the test without."""

    server: ImapServer
    proxy: CapabilityProxy
    user: str
    account: Account

    def login(self) -> contextlib.AbstractContextManager[imaplib.IMAP4]:
        """Yield a client that does what the user's other programs do."""
        return self.server.login(self.user)

    def sync(self) -> list[Command]:
        """Run a full sync; returns the commands that were the mailboxes' cost."""
        before = len(self.proxy.commands())
        assert run_account_until_done(self.account.pk) is SliceEnd.DONE
        return [command for command in self.proxy.commands()[before:] if command.verb not in OVERHEAD]

    def settle(self, *, most: int = 3) -> None:
        """Sync as often as an upstream needs that must say some things twice, with time passing in between."""
        for _ in range(most):
            self.sync()
            let_time_pass(self.account)
        self.sync()


@contextlib.contextmanager
def opened(server: ImapServer, tier: str) -> Iterator[Upstream]:
    """Yield a new user's upstream with the capabilities of ``tier`` (a key of ``HIDDEN``)."""
    with CapabilityProxy(server.host, server.plain_port, hidden=HIDDEN[tier]) as proxy:
        user = new_user()
        account = make_account(port=proxy.port, username=user, secret=server.password)
        yield Upstream(server, proxy, user, account)


def let_time_pass(account: Account, time: timedelta = timedelta(hours=1)) -> None:
    """Make everything that was noted of the account with its date look so much older."""
    for model in (Checkpoint, Mailbox, Listing):
        dates = [field.name for field in model._meta.fields if isinstance(field, models.DateTimeField)]
        model._default_manager.filter(account=account).update(**{name: models.F(name) - time for name in dates})
