"""Locking all mailboxes that show a message, although only their rows tell which ones these are.

Locks are taken in the order of ids, so one that turns out to be missing cannot simply be added: the work is undone and
begun again with all that are known to be needed. Where messages are not shared this costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

from django.db import transaction

from mailcache.journal import LockedMailbox, lock_mailboxes

Result = TypeVar("Result")


class _LocksMissing(Exception):
    """More mailboxes have to be locked."""

    def __init__(self, mailbox_ids: Collection[int]) -> None:
        super().__init__()
        self.mailbox_ids = mailbox_ids


class Locks:
    """The mailboxes that this transaction has locked, by id."""

    def __init__(self, locked: Mapping[int, LockedMailbox]) -> None:
        self._locked = locked

    def __getitem__(self, mailbox_id: int) -> LockedMailbox:
        return self._locked[mailbox_id]

    def __iter__(self) -> Iterator[LockedMailbox]:
        return iter(self._locked.values())

    def require(self, mailbox_ids: Collection[int]) -> None:
        """Make sure that these are locked: go on, or have the work begun anew. What was read before may be stale."""
        missing = set(mailbox_ids) - self._locked.keys()
        if missing:
            raise _LocksMissing(missing)


def with_locks(mailbox_ids: Collection[int], work: Callable[[Locks], Result], *, user_id: int | None = None) -> Result:
    """Run ``work`` in a transaction that has locked these mailboxes, again with more as long as it requires more.

    ``work`` calls ``require`` before it writes. Raises ``NoSuchMailbox`` when one does not exist or is not this user's.
    """
    wanted = set(mailbox_ids)
    while True:
        try:
            with transaction.atomic():
                return work(Locks(lock_mailboxes(wanted, user_id=user_id)))
        except _LocksMissing as missing:
            wanted.update(missing.mailbox_ids)
