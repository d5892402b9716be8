"""Two messages of a mailbox that turn out to be one upstream: one of them gives way to the other."""

from __future__ import annotations

from mailcache.flags import FlagSet
from mailcache.journal import CounterDelta, LockedMailbox, write_change
from mailcache.models import MutationKind, MutationState
from mailcache.services.message_flags import pending_deltas, write_message_flags
from mailcache.services.rows import count_changed, count_expunged, execute, fetch_all
from mailcache.wire.number_set import NumberSet

_HEIR = """
    UPDATE mailcache_mutation SET message_id = %(winner)s
    WHERE account_id = %(account)s AND message_id = %(loser)s
"""
# Whoever removes the second of two that are one upstream would remove the first.
_UNDO = """
    WITH undone AS (
        DELETE FROM mailcache_mutation
        WHERE account_id = %(account)s AND depends_on_id = %(creator)s AND kind = %(expunge)s
    )
    UPDATE mailcache_mutation SET kind = %(copy)s
    WHERE account_id = %(account)s AND depends_on_id = %(creator)s AND kind = %(move)s
"""
_REVIVE = """
    DELETE FROM mailcache_mutation
    WHERE account_id = %(account)s AND remote_id = %(remote)s AND kind = %(expunge)s AND state <> %(settled)s
"""
_BYTES = """
    UPDATE mailcache_message AS winner SET content_id = loser.content_id
    FROM mailcache_message AS loser
    WHERE winner.id = %(winner)s AND loser.id = %(loser)s AND winner.content_id IS NULL
      AND loser.content_id IS NOT NULL AND winner.size = loser.size
"""
_LISTED = """
    DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id = %(remote)s
      AND (%(winner)s::bigint IS NULL
           OR EXISTS (SELECT 1 FROM mailcache_message WHERE id = %(winner)s AND content_id IS NOT NULL))
"""
_READ = (
    "SELECT id, uid, flags, keywords, size FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(ids)s)"
)
_DELETE = "DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(ids)s)"


class GivingWay:
    """Collects the messages of one locked mailbox that give way; ``write`` removes them and journals it, once."""

    def __init__(self, locked: LockedMailbox) -> None:
        self._locked = locked
        self._heirs: dict[int, int | None] = {}
        """Who takes over what clients did to a message that goes."""

    def ours(self, creator_id: int, ours: int | None, other: int | None) -> None:
        """The upstream had the message already: ours gives way. Nothing that was to remove ours may remove that one."""
        if other is None and ours is None:
            return
        execute(_UNDO, {**self._names(), "creator": creator_id})
        if ours is not None and other is not None and ours != other:
            self._heirs[ours] = other

    def others(self, ours: int | None, other: int | None, remote_id: int) -> None:
        """A sync took the upstream's message for new mail: that one gives way, even where ours is gone by now."""
        if ours is not None:
            # It was to go when it was put there again.
            execute(_REVIVE, {**self._names(), "remote": remote_id})
        if other is not None:
            self._heirs[other] = ours
            if ours is not None:
                execute(_BYTES, {"winner": ours, "loser": other})
        execute(_LISTED, {**self._names(), "remote": remote_id, "winner": ours})

    def write(self) -> None:
        """Remove the messages, and hand on what was done to them."""
        if not self._heirs:
            return
        account_id = self._locked.account_id
        heirs = [heir for heir in self._heirs.values() if heir is not None]
        rows = fetch_all(_READ, {"account": account_id, "ids": [*self._heirs, *heirs]})
        facts = {row[0]: (row[1], FlagSet.of(row[2], row[3]), row[4]) for row in rows}
        changes = self._hand_on_flags({message_id: flags for message_id, (_, flags, _) in facts.items()})
        for loser, winner in self._heirs.items():
            execute(_HEIR, {"account": account_id, "winner": winner, "loser": loser})
        gone = [facts[loser] for loser in self._heirs if loser in facts]
        execute(_DELETE, {"account": account_id, "ids": list(self._heirs)})
        expunged = count_expunged([flags for _, flags, _ in gone], [size for _, _, size in gone])
        changed = count_changed(changes.values())
        write_change(
            self._locked,
            changed=NumberSet.from_numbers(facts[message_id][0] for message_id in changes),
            expunged=NumberSet.from_numbers(uid for uid, _, _ in gone),
            counters=CounterDelta(
                expunged.messages,
                expunged.unseen + changed.unseen,
                expunged.deleted + changed.deleted,
                expunged.bytes,
            ),
        )

    def _hand_on_flags(self, flags: dict[int, FlagSet]) -> dict[int, tuple[FlagSet, FlagSet]]:
        """Change the flags of those that stay as clients changed them in those that go."""
        account_id = self._locked.account_id
        deltas = pending_deltas(account_id=account_id, owners={one: one for one in self._heirs})
        changes: dict[int, tuple[FlagSet, FlagSet]] = {}
        for loser, delta in deltas.items():
            heir = self._heirs[loser]
            if heir is not None and heir in flags and delta.apply(flags[heir]) != flags[heir]:
                changes[heir] = (flags[heir], delta.apply(flags[heir]))
        if changes:
            after = {message_id: pair[1] for message_id, pair in changes.items()}
            write_message_flags(account_id=account_id, modseq=self._locked.modseq, flags=after)
        return changes

    def _names(self) -> dict[str, object]:
        return {
            "account": self._locked.account_id,
            "expunge": MutationKind.EXPUNGE.value,
            "move": MutationKind.MOVE.value,
            "copy": MutationKind.COPY.value,
            "settled": MutationState.SETTLED.value,
        }
