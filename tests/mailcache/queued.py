"""An account with local changes that wait for replay, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

from mailcache.flags import FlagSet, FlagStore, StoreMode
from mailcache.models import Account, LeaseKind, Mailbox, Message, Mutation
from mailcache.services import leases
from mailcache.services.append import append_messages, inline_message
from mailcache.services.expunge import expunge_messages
from mailcache.services.flags import store_flags
from mailcache.services.leases import Fence
from mailcache.services.transfer import copy_messages, move_messages
from mailcache.wire.number_set import NumberSet
from tests.builders import (
    INTERNAL_DATE,
    UIDVALIDITY,
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    skeleton_row,
)

EVERYTHING = NumberSet([(1, 2**32 - 1)])
NOTED = {"uidvalidity": UIDVALIDITY, "uidnext": 10}


class QueuedAccount:
    """INBOX with two messages (UIDs 1 and 2, the second without its bytes), and an empty Archive."""

    def __init__(self) -> None:
        self.account: Account = make_account()
        self.sync_fence = make_fence(self.account)
        self.inbox, self.archive = make_mailboxes(self.sync_fence, "INBOX", "Archive")
        data = message_bytes("one")
        add_skeleton(self.sync_fence, self.inbox, [skeleton_row(1, "\\Seen", size=len(data)), skeleton_row(2)])
        add_bodies(self.sync_fence, self.inbox, {1: data})
        fence = leases.acquire(account_id=self.account.pk, kind=LeaseKind.REPLAY, holder="test")
        assert fence is not None
        self.fence: Fence = fence

    def arrive(self, mailbox: Mailbox, uid: int, data: bytes) -> Message:
        """Make a sync find a message."""
        add_skeleton(self.sync_fence, mailbox, [skeleton_row(uid, size=len(data))])
        add_bodies(self.sync_fence, mailbox, {uid: data})
        return Message.objects.get(mailbox=mailbox, remote__uid=uid)

    def store(self, mailbox: Mailbox, *flags: str, uid: int, mode: StoreMode = StoreMode.ADD) -> Mutation:
        """Change flags of one message; returns what is queued."""
        store_flags(
            user_id=self.account.user_id,
            mailbox_id=mailbox.pk,
            uids=NumberSet.from_numbers([uid]),
            store=FlagStore(mode, FlagSet.parse(flags)),
        )
        return self.last()

    def append(self, mailbox: Mailbox, *messages: bytes, flags: Sequence[str] = ()) -> list[Mutation]:
        """Append messages; returns what is queued."""
        rows = [inline_message(data, flags=FlagSet.parse(flags), internal_date=INTERNAL_DATE) for data in messages]
        append_messages(user_id=self.account.user_id, mailbox_id=mailbox.pk, messages=rows)
        return list(Mutation.objects.filter(account=self.account).order_by("pk"))[-len(messages) :]

    def copy(self, uid: int) -> Mutation:
        """Copy a message from INBOX to Archive."""
        uids = NumberSet.from_numbers([uid])
        user, source, target = self.account.user_id, self.inbox.pk, self.archive.pk
        copy_messages(user_id=user, mailbox_id=source, target_id=target, uids=uids)
        return self.last()

    def move(self, uid: int) -> Mutation:
        """Move a message from INBOX to Archive."""
        uids = NumberSet.from_numbers([uid])
        user, source, target = self.account.user_id, self.inbox.pk, self.archive.pk
        move_messages(user_id=user, mailbox_id=source, target_id=target, uids=uids)
        return self.last()

    def expunge(self, mailbox: Mailbox, uid: int) -> Mutation:
        """Delete a message."""
        uids = NumberSet.from_numbers([uid])
        self.store(mailbox, "\\Deleted", uid=uid)
        expunge_messages(user_id=self.account.user_id, mailbox_id=mailbox.pk, uids=uids)
        return self.last()

    def last(self) -> Mutation:
        """Return what was queued last; an empty mutation where there is nothing."""
        return Mutation.objects.filter(account=self.account).order_by("-pk").first() or Mutation()

    def settlements(self) -> int:
        """Return the account's count of settlements."""
        return Account.objects.values_list("settlements", flat=True).get(pk=self.account.pk)

    def uids(self, mailbox: Mailbox) -> list[int]:
        """Return our UIDs of a mailbox, which must agree with its counters."""
        uids = list(Message.objects.filter(mailbox=mailbox).order_by("uid").values_list("uid", flat=True))
        mailbox.refresh_from_db()
        assert mailbox.messages == len(uids)
        return uids
