"""Hands out batches of bodies to the connections of one slice: no message to two of them, none kept back by a failure.

The rows of Listing are the work list; what is handed out is known in memory only, under the account's one lease. First
what a client waits for, unless a watcher fetches that, then mailbox after mailbox in the planner's order, each newest
first.
"""

from __future__ import annotations

import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from django.utils import timezone

from mailcache.models import Listing, Mailbox
from mailcache.models.messages import ListingQuerySet
from mailcache.segments import LARGE_MESSAGE_BYTES
from sync import planner
from sync.body_policy import BodyRights
from sync.faults import Faults
from sync.planner import Waiting

# Somebody else may put rows into the work list: what a client waits for.
_LOOK_SECONDS = 2.0
_NO_ORDER: Mapping[int, Sequence[int]] = MappingProxyType({})


@dataclass(slots=True)
class Batch:
    """Messages of one mailbox that one connection is to fetch. ``held`` are the remotes that it still answers for."""

    mailbox: Mailbox
    uidvalidity: int
    """Under which the messages have their UIDs; what was read of ``mailbox`` may be older."""
    messages: Sequence[Waiting]
    held: set[int] = field(default_factory=set)


class BatchDispenser:
    """Shared by the threads of a slice."""

    def __init__(self, account_id: int, *, rights: BodyRights, faults: Faults, skipped: set[int], most: int) -> None:
        self._account_id = account_id
        self._rights = rights
        self._faults = faults
        self._skipped = skipped
        self._most = most
        self._changed = threading.Condition()
        self._mailboxes: dict[int, Mailbox] = {}
        self._empty: set[int] = set()
        self._unlisted: set[int] = set()
        self._first: Mapping[int, Sequence[int]] = _NO_ORDER
        self._none_shown: set[int] = set()
        self._claimed: set[int] = set()
        self._complete = False
        self._stopped = False
        self.spent = 0
        """Octets handed out that nobody waits for."""

    def offer(
        self,
        mailboxes: Iterable[Mailbox],
        *,
        unlisted: Iterable[int] = (),
        first: Mapping[int, Sequence[int]] = _NO_ORDER,
    ) -> None:
        """Say which mailboxes may be fetched from. Of those in ``unlisted`` only messages whose header is known.

        ``first`` names the label mailboxes whose messages come before the others of a mailbox.
        """
        with self._changed:
            self._mailboxes = {mailbox.pk: mailbox for mailbox in mailboxes}
            self._unlisted = set(unlisted)
            self._first = first
            self._empty.clear()
            self._none_shown.clear()
            self._changed.notify_all()

    def reopen(self, mailbox: Mailbox, *, listed: bool = False) -> None:
        """Say that a mailbox may have more than before; ``listed``: and that its headers have been asked for."""
        with self._changed:
            if mailbox.pk in self._mailboxes:
                self._mailboxes[mailbox.pk] = mailbox
            self._empty.discard(mailbox.pk)
            self._none_shown.clear()
            if listed:
                self._unlisted.discard(mailbox.pk)
            self._changed.notify_all()

    def complete(self) -> None:
        """Say that nothing will be added any more: who finds nothing need not wait."""
        with self._changed:
            self._complete = True
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def take(
        self, limit: int, *, wait: bool, mailbox: Mailbox | None = None, avoided: Container[int] = ()
    ) -> Batch | None:
        """Return a batch of at most ``limit`` octets; with ``wait``, wait for one until the work is complete.

        With ``mailbox``, only of that one; of none that is in ``avoided``.
        """
        with self._changed:
            while not self._stopped:
                batch = self._find(limit, avoided) if mailbox is None else self._ahead(mailbox.pk, limit)
                if batch is not None:
                    batch.held |= {message.remote_id for message in batch.messages}
                    self._claimed |= batch.held
                    return batch
                if not wait or self._complete:
                    return None
                self._changed.wait(_LOOK_SECONDS)
            return None

    def release(self, remotes: Iterable[int], mailbox_id: int) -> None:
        """Note that nobody works on these messages any more: they are here, set aside, or given back."""
        with self._changed:
            self._claimed.difference_update(remotes)
            self._empty.discard(mailbox_id)
            self._changed.notify_all()

    def has_much(self, octets: int) -> bool:
        """Tell whether more than so many octets wait, as far as one look tells."""
        with self._changed:
            here = [pk for pk in self._mailboxes if pk not in self._faults.mailboxes]
            rows = self._permitted().filter(mailbox_id__in=here)
            busy = self._busy()
            sizes = rows.values_list("remote_id", "size")[: planner.CHUNK_MESSAGES + len(busy)]
            return sum(size for remote_id, size in sizes if remote_id not in busy) > octets

    def permitted(self, rows: ListingQuerySet) -> ListingQuerySet:
        """Return those of ``rows`` that may be fetched, after what this slice has fetched."""
        return self._rights.permitted(rows, spent=self.spent)

    def is_anything_withheld(self) -> bool:
        """Tell whether bodies stay upstream because no more octets may be fetched."""
        octets = self._rights.octets
        if not self._rights.ahead or octets is None or self.spent < octets:
            return False
        rows = Listing.objects.fetchable(self._account_id, timezone.now())
        return replace(self._rights, octets=None).permitted(rows, spent=0).exists()

    def _find(self, limit: int, avoided: Container[int]) -> Batch | None:
        wanted = self._permitted().wanted().order_by("wanted_at").values_list("mailbox_id", flat=True)
        for mailbox_id in dict.fromkeys(mailbox_id for mailbox_id in wanted[: self._most] if mailbox_id not in avoided):
            batch = self._next(mailbox_id, limit, self._permitted().wanted())
            if batch is not None:
                return batch
        mailboxes = [mailbox_id for mailbox_id in self._mailboxes if mailbox_id not in avoided]
        return next(filter(None, (self._ahead(mailbox_id, limit) for mailbox_id in mailboxes)), None)

    def _ahead(self, mailbox_id: int, limit: int) -> Batch | None:
        if mailbox_id in self._empty:
            return None
        batch = self._first_shown(mailbox_id, limit) or self._next(
            mailbox_id, self._within_budget(limit), self._permitted()
        )
        if batch is None:
            self._empty.add(mailbox_id)
        else:
            self.spent += sum(message.size for message in batch.messages)
        return batch

    def _first_shown(self, mailbox_id: int, limit: int) -> Batch | None:
        """Return a batch of what the most important label mailboxes show."""
        for shown_in in self._first.get(mailbox_id, ()):
            if shown_in in self._none_shown:
                continue
            batch = self._next(mailbox_id, self._within_budget(limit), self._permitted().shown_in(shown_in))
            if batch is not None:
                return batch
            self._none_shown.add(shown_in)
        return None

    def _next(self, mailbox_id: int, limit: int, rows: ListingQuerySet) -> Batch | None:
        mailbox = self._mailboxes.get(mailbox_id)
        if mailbox is None or mailbox_id in self._faults.mailboxes:
            return None
        if mailbox_id in self._unlisted:
            rows = rows.filter(header__isnull=False)
        busy = self._busy()
        columns = ("remote__uidvalidity", "remote_id", "uid", "size", "attempts")
        found = rows.newest_first(mailbox_id).values_list(*columns)[: self._most + len(busy)]
        numberings = {numbering for numbering, *_ in found}
        waiting = [Waiting(*row) for _, *row in found if row[0] not in busy]
        messages = planner.next_batch(waiting, 0, limit=limit, alone_above=LARGE_MESSAGE_BYTES, most=self._most)
        # One at most: what is known under an earlier one is not fetchable.
        return Batch(mailbox, numberings.pop(), messages) if messages else None

    def _permitted(self) -> ListingQuerySet:
        return self.permitted(Listing.objects.fetchable(self._account_id, timezone.now()).left_to_sync())

    def _within_budget(self, limit: int) -> int:
        octets = self._rights.octets
        return limit if octets is None else max(1, min(limit, octets - self.spent))

    def _busy(self) -> set[int]:
        return self._claimed | self._skipped
