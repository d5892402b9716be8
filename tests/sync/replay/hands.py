"""A client's hands on an account: local changes by the services that the frontend calls, and looks at both sides."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mailcache.flags import FlagSet, FlagStore, StoreMode
from mailcache.models import Account, Mailbox, Message, Mutation
from mailcache.names import INBOX
from mailcache.services.append import append_messages, inline_message
from mailcache.services.expunge import expunge_messages
from mailcache.services.flags import store_flags
from mailcache.services.mailbox_changes import create_mailbox, delete_mailbox, rename_mailbox, set_subscribed
from mailcache.services.transfer import copy_messages, move_messages
from mailcache.wire.number_set import NumberSet
from sync.account_run import SliceEnd, run_account_until_done
from sync.replay.run import ReplayEnd, run_replay
from tests.fakes.chaos_proxy import ChaosProxy
from tests.servers.dovecot import Dovecot
from tests.sync.mirror import upstream
from tests.sync.replay.others import OtherClient

DATE = datetime(2024, 6, 1, 12, 0, tzinfo=UTC)
EVERYTHING = NumberSet([(1, 2**32 - 1)])


class LocalHands:
    """Changes here by mailbox name; ``replay`` takes them upstream."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def sync(self) -> None:
        """Bring the mirror in step."""
        assert run_account_until_done(self.account.pk) is SliceEnd.DONE

    def replay(self, *, force: bool = True) -> ReplayEnd:
        """Replay what waits, for as long as something can be done at once."""
        end = run_replay(self.account.pk, force=force)
        while end is ReplayEnd.MORE:
            end = run_replay(self.account.pk, force=force)
        return end

    def mailbox(self, name: str) -> Mailbox:
        """Return a mailbox by our name."""
        return Mailbox.objects.present(self.account.pk).get(name=name)

    def uids(self, name: str = INBOX) -> list[int]:
        """Return our UIDs of a mailbox."""
        return list(Message.objects.filter(mailbox=self.mailbox(name)).order_by("uid").values_list("uid", flat=True))

    def store(
        self, *flags: str, uids: NumberSet = EVERYTHING, mailbox: str = INBOX, mode: StoreMode = StoreMode.ADD
    ) -> None:
        """Change flags."""
        store_flags(
            user_id=self.account.user_id,
            mailbox_id=self.mailbox(mailbox).pk,
            uids=uids,
            store=FlagStore(mode, FlagSet.parse(flags)),
        )

    def append(self, *messages: bytes, mailbox: str = INBOX, flags: Sequence[str] = ()) -> Sequence[int]:
        """Append messages; returns our UIDs."""
        rows = [inline_message(data, flags=FlagSet.parse(flags), internal_date=DATE) for data in messages]
        mailbox_id = self.mailbox(mailbox).pk
        return append_messages(user_id=self.account.user_id, mailbox_id=mailbox_id, messages=rows).uids

    def copy(self, target: str, *, source: str = INBOX, uids: NumberSet = EVERYTHING) -> None:
        """Copy messages."""
        user, ids = self.account.user_id, (self.mailbox(source).pk, self.mailbox(target).pk)
        copy_messages(user_id=user, mailbox_id=ids[0], target_id=ids[1], uids=uids)

    def move(self, target: str, *, source: str = INBOX, uids: NumberSet = EVERYTHING) -> None:
        """Move messages."""
        user, ids = self.account.user_id, (self.mailbox(source).pk, self.mailbox(target).pk)
        move_messages(user_id=user, mailbox_id=ids[0], target_id=ids[1], uids=uids)

    def delete(self, *, mailbox: str = INBOX, uids: NumberSet = EVERYTHING) -> None:
        """Mark messages as deleted, and expunge them."""
        self.store("\\Deleted", uids=uids, mailbox=mailbox)
        expunge_messages(user_id=self.account.user_id, mailbox_id=self.mailbox(mailbox).pk, uids=uids)

    def create(self, name: str) -> Mailbox:
        """Create a mailbox."""
        return create_mailbox(user_id=self.account.user_id, account_id=self.account.pk, name=name)

    def rename(self, name: str, new_name: str) -> None:
        """Rename a mailbox."""
        rename_mailbox(user_id=self.account.user_id, mailbox_id=self.mailbox(name).pk, name=new_name)

    def remove(self, name: str) -> None:
        """Delete a mailbox."""
        delete_mailbox(user_id=self.account.user_id, mailbox_id=self.mailbox(name).pk)

    def subscribe(self, name: str, *, subscribed: bool) -> None:
        """Subscribe to a mailbox, or no longer."""
        set_subscribed(user_id=self.account.user_id, mailbox_id=self.mailbox(name).pk, subscribed=subscribed)

    def states(self) -> list[tuple[str, str]]:
        """Return kind and state of what is in the queue."""
        return list(Mutation.objects.filter(account=self.account).order_by("pk").values_list("kind", "state"))

    def unsettled(self) -> list[tuple[str, str, str]]:
        """Return kind, state and last error of what has not settled."""
        rows = Mutation.objects.unsettled(self.account.pk)
        return list(rows.values_list("kind", "state", "last_error"))


class Hands(LocalHands):
    """The same, with a look at the Dovecot behind it."""

    def __init__(self, account: Account, dovecot: Dovecot, user: str, proxy: ChaosProxy) -> None:
        super().__init__(account)
        self.dovecot = dovecot
        self.user = user
        self.proxy = proxy
        self.others = OtherClient(dovecot, user)

    def deliver(self, *messages: bytes, mailbox: str = INBOX, flags: tuple[str, ...] = ()) -> None:
        """Put messages into the upstream, and bring the mirror in step."""
        for message in messages:
            self.dovecot.deliver(self.user, message, mailbox, flags=flags)
        self.sync()

    def there(self, name: str = INBOX) -> list[tuple[bytes, frozenset[str]]]:
        """Return bytes and flags of an upstream mailbox."""
        return upstream(self.dovecot, self.user, name)[name]

    def names_there(self) -> set[str]:
        """Return the names of the upstream's mailboxes."""
        with self.dovecot.login(self.user) as client:
            _, rows = client.list()
        return {row.decode().rpartition(' "/" ')[2].strip('"') for row in rows if isinstance(row, bytes)}
