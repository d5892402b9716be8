"""Settlement of APPEND, COPY and MOVE: where the messages are upstream that they made.

Usually the place is new. Where something is known of it already, either a sync was quicker and took the returning copy
for new mail, or the upstream had the message before and gave that one instead of a second (Gmail). The UIDNEXT that
was noted before the mutation was sent tells these apart; in both cases one message stays.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox
from mailcache.models import CREATORS, TRANSFERS, MutationKind, MutationState
from mailcache.services.copy_flags import hand_on_agreed, note_agreed, show_copied_flags
from mailcache.services.give_way import GivingWay
from mailcache.services.leases import Fence
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.rows import execute, fetch_all, keyword_column
from mailcache.services.settlement import begin_settlement
from mailcache.services.twins import join_twins

# Of a source that is gone, what was agreed of it when it was copied.
_READ = """
    SELECT mutation.id, mutation.kind, mutation.mailbox_id, mutation.message_id, mutation.remote_id,
           coalesce((mutation.noted ->> 'uidnext')::bigint, 0), mutation.add_flags, mutation.add_keywords,
           coalesce(source.flags, (mutation.arguments -> 'agreed')::smallint),
           coalesce(source.keywords, ARRAY(SELECT jsonb_array_elements_text(mutation.arguments -> 'agreed_keywords'))),
           coalesce(source.upstream_id, '')
    FROM mailcache_mutation AS mutation LEFT JOIN mailcache_remote AS source ON source.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s) AND mutation.target_id = %(mailbox)s
      AND mutation.state <> %(settled)s AND mutation.kind = ANY(%(creators)s)
    ORDER BY mutation.id
    FOR UPDATE OF mutation
"""
_KNOWN = """
    SELECT remote.uid, remote.id, min(message.id)
    FROM mailcache_remote AS remote
    LEFT JOIN mailcache_message AS message
           ON message.remote_id = remote.id AND message.mailbox_id = remote.mailbox_id
          AND NOT message.id = ANY(%(ours)s)
    WHERE remote.account_id = %(account)s AND remote.mailbox_id = %(mailbox)s
      AND remote.uidvalidity = %(uidvalidity)s AND remote.uid = ANY(%(uids)s)
    GROUP BY remote.uid, remote.id
"""
_ADD_REMOTES = """
    INSERT INTO mailcache_remote (account_id, mailbox_id, uidvalidity, uid, upstream_id, labels, flags, keywords)
    SELECT %(account)s, %(mailbox)s, %(uidvalidity)s, uid, upstream_id, '{}', flags, string_to_array(keywords, ' ')
    FROM unnest(%(uids)s::bigint[], %(upstream_ids)s::text[], %(flags)s::smallint[], %(keywords)s::text[])
         AS row (uid, upstream_id, flags, keywords)
    RETURNING uid, id
"""
# Messages that were copied or moved on before their bytes came: they have them where the first copy is.
_ONWARDS = """
    WITH RECURSIVE onwards AS (
        SELECT id AS creator_id, id FROM unnest(%(ids)s::bigint[]) AS row (id)
        UNION
        SELECT onwards.creator_id, later.id
        FROM onwards JOIN mailcache_mutation AS later ON later.depends_on_id = onwards.id
        WHERE later.account_id = %(account)s AND later.kind = ANY(%(transfers)s)
    )
    SELECT onwards.creator_id, message.id, message.mailbox_id
    FROM onwards JOIN mailcache_mutation AS mutation ON mutation.id = onwards.id
    JOIN mailcache_message AS message ON message.id = mutation.message_id
    WHERE onwards.id <> onwards.creator_id AND message.account_id = %(account)s AND message.content_id IS NULL
"""
_SETTLE = """
    WITH input AS (
        SELECT * FROM unnest(%(ids)s::bigint[], %(remotes)s::bigint[]) AS row (id, remote_id)
    ), onwards AS (
        UPDATE mailcache_message AS message SET remote_id = input.remote_id
        FROM unnest(%(onwards)s::bigint[], %(creators)s::bigint[]) AS copy (message_id, creator_id)
        JOIN input ON input.id = copy.creator_id
        WHERE message.id = copy.message_id AND message.account_id = %(account)s
    ), message AS (
        UPDATE mailcache_message AS message SET remote_id = input.remote_id
        FROM input JOIN mailcache_mutation AS mutation ON mutation.id = input.id
        WHERE message.id = mutation.message_id AND message.account_id = %(account)s
    ), labelled AS (
        UPDATE mailcache_message AS message SET remote_id = input.remote_id
        FROM input JOIN mailcache_mutation AS label ON label.depends_on_id = input.id AND label.kind = %(label)s
        WHERE message.id = label.message_id AND message.account_id = %(account)s
    ), dependent AS (
        UPDATE mailcache_mutation AS dependent SET remote_id = input.remote_id, depends_on_id = NULL
        FROM input WHERE dependent.account_id = %(account)s AND dependent.depends_on_id = input.id
    )
    UPDATE mailcache_mutation AS mutation
    SET state = %(settled)s, settlement = %(settlement)s, last_error = '', remote_id = input.remote_id,
        depends_on_id = NULL
    FROM input WHERE mutation.id = input.id AND mutation.account_id = %(account)s
"""
# Bytes that are not here yet are fetched from the new place; of a moved message the old one is gone.
_LIST = """
    INSERT INTO mailcache_listing (account_id, mailbox_id, remote_id, uid, size, header, envelope, envelope_utf8,
                                   listing_headers, upstream_structure, attempts, parked_reason)
    SELECT %(account)s, %(mailbox)s, remote.id, remote.uid, coalesce(source.size, message.size), source.header,
           source.envelope, source.envelope_utf8, source.listing_headers, source.upstream_structure, 0, ''
    FROM unnest(%(remotes)s::bigint[], %(sources)s::bigint[]) AS input (remote_id, source_id)
    JOIN mailcache_remote AS remote ON remote.id = input.remote_id
    JOIN mailcache_message AS message ON message.remote_id = remote.id AND message.content_id IS NULL
    LEFT JOIN mailcache_listing AS source ON source.remote_id = input.source_id
    ON CONFLICT (account_id, remote_id) DO NOTHING
"""
# The old place of moved messages: it is purged by itself, when that mailbox has been compared.
_LEAVE = """
    INSERT INTO mailcache_mutation (
        account_id, mailbox_id, remote_id, content_id, kind, add_flags, add_keywords, remove_flags, remove_keywords,
        arguments, state, settlement, noted, attempts, next_try_at, last_error, created_at)
    SELECT %(account)s, mutation.mailbox_id, input.source_id, mutation.content_id, %(expunge)s, 0, '{}', 0, '{}',
           mutation.arguments, %(state)s, %(settlement)s, '{}', 0, now(), '', mutation.created_at
    FROM unnest(%(ids)s::bigint[], %(sources)s::bigint[]) AS input (id, source_id)
    JOIN mailcache_mutation AS mutation ON mutation.id = input.id
    ORDER BY mutation.id
"""
# What is still to be done to the flags of a message that was moved is done where it is now.
_FOLLOW = """
    UPDATE mailcache_mutation AS mutation SET remote_id = input.remote_id
    FROM unnest(%(sources)s::bigint[], %(remotes)s::bigint[]) AS input (source_id, remote_id)
    WHERE mutation.account_id = %(account)s AND mutation.remote_id = input.source_id AND mutation.kind = %(store)s
      AND mutation.state <> %(settled)s
"""
# Without what clients have changed since then, which is queued already.
_RESTATED = """
    SELECT given.message_id, given.remote_id, given.add_flags, given.add_keywords,
           coalesce(bit_or(store.add_flags | store.remove_flags), 0),
           ARRAY(SELECT unnest(later.add_keywords || later.remove_keywords) FROM mailcache_mutation AS later
                 WHERE later.account_id = %(account)s AND later.remote_id = given.remote_id
                   AND later.kind = %(store)s AND later.state <> %(settled)s)
    FROM mailcache_mutation AS given
    LEFT JOIN mailcache_mutation AS store
         ON store.account_id = %(account)s AND store.remote_id = given.remote_id
        AND store.kind = %(store)s AND store.state <> %(settled)s
    WHERE given.account_id = %(account)s AND given.id = ANY(%(ids)s)
    GROUP BY given.id
    ORDER BY given.id
"""
_CREATORS = [kind.value for kind in CREATORS]
_TRANSFERS = [kind.value for kind in TRANSFERS]
_SETTLED = MutationState.SETTLED.value


class _Creator(NamedTuple):
    id: int
    kind: str
    mailbox_id: int
    message_id: int | None
    source_id: int | None
    uidnext: int
    flags: FlagSet
    """What the new upstream message has: those sent, or those of the message that was copied."""
    upstream_id: str


class _Told(NamedTuple):
    """The arguments of ``settle_creators``."""

    uidvalidity: int
    uids: Mapping[int, int]
    kept: FlagSet
    source_stays: bool
    restates_flags: bool


class _Onward(NamedTuple):
    """A message that was copied or moved on, from what a creator made."""

    creator_id: int
    message_id: int
    mailbox_id: int


class _Place(NamedTuple):
    creator: _Creator
    uid: int
    remote_id: int


@transaction.atomic
def settle_creators(
    *,
    fence: Fence,
    target_id: int,
    uidvalidity: int,
    uids: Mapping[int, int],
    kept_local: FlagSet | None = None,
    source_stays: bool = False,
    restates_flags: bool = False,
) -> None:
    """Note where messages are that mutations (by id) made in ``target_id``: under which upstream UID.

    ``kept_local``: flags that the upstream takes from nobody. ``source_stays``: what was moved has yet to be expunged
    where it was. ``restates_flags``: flags given with APPEND are not to be relied on, they are queued as a change.
    """
    settlement = begin_settlement(fence, uids)
    told = _Told(uidvalidity, uids, kept_local or FlagSet(), source_stays, restates_flags)
    with_locks([target_id], partial(_settle_told, settlement, target_id, told))


def _settle_told(settlement: int, target_id: int, told: _Told, locks: Locks) -> None:
    locked = locks[target_id]
    creators = _read(locked, told.uids, told.kept, restates_flags=told.restates_flags)
    if not creators:
        return
    onwards = _onwards(locked, creators)
    locks.require({copy.mailbox_id for copy in onwards})
    places = _places(locked, told.uidvalidity, told.uids, creators)
    hand_on_agreed(locked.account_id, [place.creator.id for place in places])
    _settle(locked, settlement, places, onwards)
    if locked.shares_messages:
        join_twins(locks, [place.remote_id for place in places])
    note_agreed(locked.account_id, remote_ids=[place.remote_id for place in places])
    moved = [place for place in places if place.creator.kind == MutationKind.MOVE and place.creator.source_id]
    if moved:
        _leave(locked, settlement, moved, source_stays=told.source_stays)
    if told.restates_flags:
        _restate(locked, places)
    show_copied_flags(
        locks,
        locked,
        ids=[place.creator.id for place in places],
        settlements=settlement,
    )


def _read(locked: LockedMailbox, ids: Collection[int], kept: FlagSet, *, restates_flags: bool) -> list[_Creator]:
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "ids": list(ids),
        "settled": _SETTLED,
        "creators": _CREATORS,
    }
    creators = []
    for row in fetch_all(_READ, parameters):
        mutation_id, kind, mailbox_id, message_id, source_id, uidnext, add, add_keywords, flags, keywords, name = row
        agreed = FlagSet.of(flags or 0, keywords or ())
        if kind == MutationKind.APPEND:
            agreed = FlagSet() if restates_flags else FlagSet.of(add, add_keywords).without(kept)
        creators.append(_Creator(mutation_id, kind, mailbox_id, message_id, source_id, uidnext, agreed, name))
    return creators


def _onwards(locked: LockedMailbox, creators: Sequence[_Creator]) -> list[_Onward]:
    parameters = {"account": locked.account_id, "ids": [one.id for one in creators], "transfers": _TRANSFERS}
    return [_Onward(*row) for row in fetch_all(_ONWARDS, parameters)]


def _places(
    locked: LockedMailbox, uidvalidity: int, uids: Mapping[int, int], creators: Sequence[_Creator]
) -> list[_Place]:
    """Return the Remote of each creator: new, or one that is known; then two messages may have become one."""
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "uidvalidity": uidvalidity,
        "uids": [uids[creator.id] for creator in creators],
        "ours": [creator.message_id for creator in creators if creator.message_id is not None],
    }
    known = {uid: (remote_id, message_id) for uid, remote_id, message_id in fetch_all(_KNOWN, parameters)}
    fresh = {uids[creator.id]: creator for creator in reversed(creators) if uids[creator.id] not in known}
    added = _add(locked, uidvalidity, fresh)
    giving_way = GivingWay(locked)
    taken: dict[int, int | None] = {}
    places = []
    for creator in creators:
        uid = uids[creator.id]
        remote_id, other = known.get(uid, (added.get(uid), None))
        places.append(_Place(creator, uid, remote_id or 0))
        if uid in taken:
            # One upstream message for two of ours.
            giving_way.ours(creator.id, creator.message_id, taken[uid])
            continue
        if uid in known and other is not None and uid < creator.uidnext:
            giving_way.ours(creator.id, creator.message_id, other)
            taken[uid] = other
            continue
        if uid in known:
            giving_way.others(creator.message_id, other, remote_id or 0)
        taken[uid] = creator.message_id
    giving_way.write()
    return places


def _add(locked: LockedMailbox, uidvalidity: int, fresh: Mapping[int, _Creator]) -> dict[int, int]:
    if not fresh:
        return {}
    flags = [creator.flags for creator in fresh.values()]
    columns: dict[str, Any] = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "uidvalidity": uidvalidity,
        "uids": list(fresh),
        "upstream_ids": [creator.upstream_id for creator in fresh.values()],
        "flags": [int(value.system) for value in flags],
        "keywords": keyword_column(flags),
    }
    return dict(fetch_all(_ADD_REMOTES, columns))


def _settle(locked: LockedMailbox, settlement: int, places: Sequence[_Place], onwards: Sequence[_Onward]) -> None:
    parameters = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "ids": [place.creator.id for place in places],
        "remotes": [place.remote_id for place in places],
        "sources": [place.creator.source_id for place in places],
        "onwards": [copy.message_id for copy in onwards],
        "creators": [copy.creator_id for copy in onwards],
        "settled": _SETTLED,
        "settlement": settlement,
        "label": MutationKind.LABEL.value,
    }
    execute(_SETTLE, parameters)
    execute(_LIST, parameters)


def _leave(locked: LockedMailbox, settlement: int, moved: Sequence[_Place], *, source_stays: bool) -> None:
    state = MutationState.PENDING if source_stays else MutationState.SETTLED
    parameters = {
        "account": locked.account_id,
        "ids": [place.creator.id for place in moved],
        "sources": [place.creator.source_id for place in moved],
        "remotes": [place.remote_id for place in moved],
        "state": state.value,
        "settlement": None if source_stays else settlement,
        "settled": _SETTLED,
        "expunge": MutationKind.EXPUNGE.value,
        "store": MutationKind.STORE.value,
    }
    execute(_FOLLOW, parameters)
    execute(_LEAVE, parameters)


def _restate(locked: LockedMailbox, places: Sequence[_Place]) -> None:
    ids = [place.creator.id for place in places if place.creator.kind == MutationKind.APPEND]
    parameters = {"account": locked.account_id, "ids": ids, "store": MutationKind.STORE.value, "settled": _SETTLED}
    deltas = []
    for message_id, remote_id, flags, keywords, touched, touched_keywords in fetch_all(_RESTATED, parameters):
        given = FlagSet.of(flags, keywords).without(FlagSet.of(touched, touched_keywords))
        if given:
            deltas.append(NewMutation(message_id, remote_id, delta=FlagDelta(add=given)))
    queue_mutations(account_id=locked.account_id, kind=MutationKind.STORE, mailbox_id=locked.id, rows=deltas)
