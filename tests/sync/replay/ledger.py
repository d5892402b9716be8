"""What has to be there at the end of a two-sided history: the merge table, kept as a ledger of what both sides did.

Messages are known by their bytes, which no two that were made have in common. Of every one the ledger counts how often
it was made or copied and how often somebody took one away: so often it may be missing, and never may it be there more
often than it was made. What nobody took away has to be there exactly as often as it was made: none lost, none doubled.

Of a message that was made once and never copied or taken away the flags are told as well, flag by flag: a change by a
client here stands as long as it is not settled; else the last change counts, by whomever.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from mailcache.flags import FlagDelta, FlagSet
from mailcache.models import Account, Message, Mutation, MutationKind, MutationState
from tests.sync.mirror import Messages, describe

_NO_FLAGS = FlagSet()


def digest_of(data: bytes) -> bytes:
    """Return by what a message is known."""
    return hashlib.sha256(data).digest()


class Ledger:
    """Counts of messages, and flags of those of which that can be told."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._made: Counter[bytes] = Counter()
        self._taken: Counter[bytes] = Counter()
        self._spare: Counter[bytes] = Counter()
        self._flags: dict[bytes, FlagSet] = {}
        self.checked: Counter[str] = Counter()
        """How many messages were checked: for their number, exactly, and for their flags."""

    def made(self, data: bytes, flags: Iterable[str]) -> None:
        """A message was appended or delivered."""
        digest = digest_of(data)
        self._made[digest] += 1
        if self._made[digest] == 1:
            self._flags[digest] = FlagSet.parse(flags)
        else:
            self._flags.pop(digest, None)

    def copied(self, digests: Iterable[bytes]) -> None:
        """Messages were copied."""
        for digest in digests:
            self._made[digest] += 1
            self._flags.pop(digest, None)

    def taken(self, digests: Iterable[bytes]) -> None:
        """Messages were deleted, or the mailbox that they were in."""
        for digest in digests:
            self._taken[digest] += 1
            self._flags.pop(digest, None)

    def moved_there(self, digests: Collection[bytes]) -> None:
        """Another client moved messages.

        One that was just sent is not found where it was sent, and is sent again. A change of flags follows only where
        the message is known again when its old place is found empty, and not if replay finds that first.
        """
        self.unsure_of_flags(digests)
        rows = Mutation.objects.filter(account=self._account, state=MutationState.SENT, content__isnull=False)
        self._spare.update({bytes(digest) for digest in rows.values_list("content__sha256", flat=True)} & set(digests))

    def stored_here(self, digest: bytes, delta: FlagDelta) -> None:
        """A client of ours changed flags."""
        if digest in self._flags:
            self._flags[digest] = delta.apply(self._flags[digest])

    def stored_there(self, digests: Iterable[bytes], operation: str, flags: Iterable[str]) -> None:
        """Another client changed flags; what ours changed and is not settled stands."""
        told = FlagSet.parse(flags)
        for digest in digests:
            if digest not in self._flags:
                continue
            before = self._flags[digest]
            delta = {"+FLAGS": FlagDelta(add=told), "-FLAGS": FlagDelta(remove=told)}.get(
                operation, FlagDelta(add=told.without(before), remove=before.without(told))
            )
            pending = self._pending().get(digest, _NO_FLAGS)
            self._flags[digest] = FlagDelta(delta.add.without(pending), delta.remove.without(pending)).apply(before)

    def unsure_of_flags(self, digests: Iterable[bytes]) -> None:
        """A change of flags was given up."""
        for digest in digests:
            self._flags.pop(digest, None)

    def check(self, found: Messages) -> list[str]:
        """Return what is not as it ought to be, in words."""
        there = [message for messages in found.values() for message in messages]
        counts = Counter(digest_of(data) for data, _ in there)
        told = []
        for digest in self._made | counts:
            most, least = self._made[digest] + self._spare[digest], self._made[digest] - self._taken[digest]
            self.checked["exactly" if most == least else "within bounds"] += 1
            if not least <= counts[digest] <= most:
                told.append(f"{counts[digest]} times, not {least} to {most}: {_name(digest, there)}")
        return told + self._check_flags(there)

    def _check_flags(self, there: Iterable[tuple[bytes, frozenset[str]]]) -> list[str]:
        told = []
        for data, flags in there:
            wanted = self._flags.get(digest_of(data))
            if wanted is not None:
                self.checked["flags"] += 1
                if frozenset(wanted.names()) != flags:
                    told.append(f"flags are not {sorted(wanted.names())}: {describe((data, flags))}")
        return told

    def _pending(self) -> Mapping[bytes, FlagSet]:
        rows = Mutation.objects.unsettled(self._account.pk).filter(
            kind=MutationKind.STORE, message__content__isnull=False
        )
        pending: dict[bytes, FlagSet] = {}
        for row in rows.select_related("message__content"):
            touched = FlagSet.of(row.add_flags | row.remove_flags, {*row.add_keywords, *row.remove_keywords})
            if row.message is not None and row.message.content is not None:
                digest = bytes(row.message.content.sha256)
                pending[digest] = pending.get(digest, _NO_FLAGS).merged(add=touched, remove=_NO_FLAGS)
        return pending


def digests_here(account: Account) -> Counter[bytes]:
    """Return how often each message is here."""
    rows = Message.objects.filter(account=account, content__isnull=False)
    return Counter(bytes(digest) for digest in rows.values_list("content__sha256", flat=True))


def _name(digest: bytes, there: Iterable[tuple[bytes, frozenset[str]]]) -> str:
    return next((describe(message) for message in there if digest_of(message[0]) == digest), digest.hex()[:12])
