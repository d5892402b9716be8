"""Settlement: what became of mutations that were sent upstream, and when they may be forgotten.

Every service is one transaction under the fence of whoever works on the account. Where a mutation settles, the
account's count of settlements is raised: a read of the upstream that began before it may not contain it yet, so the
mutation stays until a later read has been ingested (``purge_settled``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from mailcache.flags import FlagDelta, FlagSet
from mailcache.models import LABEL_KINDS, LATENCY_BOUNDS, MAILBOX_KINDS, MutationKind, MutationState, ParkedCause
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.rows import execute, fetch_all, keyword_column

_REASON_LENGTH = 2000

_RAISE = """
    UPDATE mailcache_account SET settlements = settlements + 1 WHERE id = %(account)s RETURNING settlements
"""
# A value that equals a bound belongs below it, which is the other way round for width_bucket: hence the signs.
_COUNT_LATENCIES = """
    INSERT INTO mailcache_replaylatency AS latency (account_id, bucket, changes, seconds)
    SELECT %(account)s, %(size)s - width_bucket(-age, %(falling)s::float8[]), count(*), sum(age)
    FROM (
        SELECT greatest(0, extract(epoch FROM clock_timestamp() - created_at))::float8 AS age FROM mailcache_mutation
        WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state <> %(settled)s
    ) AS mutation
    GROUP BY 2
    ON CONFLICT (account_id, bucket) DO UPDATE
    SET changes = latency.changes + EXCLUDED.changes, seconds = latency.seconds + EXCLUDED.seconds
"""
_NOTE_SENT = """
    UPDATE mailcache_mutation SET state = %(sent)s, noted = %(noted)s::jsonb
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state IN (%(pending)s, %(sent)s)
"""
_NOTE_ACCEPTED = """
    UPDATE mailcache_mutation SET noted = noted || '{"accepted": true}'
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state = %(sent)s
"""
_NOTE_SEARCHED = """
    UPDATE mailcache_mutation
    SET noted = noted || jsonb_build_object('uidvalidity', %(uidvalidity)s::bigint, 'uidnext', %(uidnext)s::bigint)
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state = %(sent)s
"""
_RETRY = """
    UPDATE mailcache_mutation
    SET state = CASE WHEN %(known)s AND NOT noted ? 'accepted' THEN %(pending)s ELSE state END,
        attempts = attempts + %(counts)s, last_error = %(error)s, next_try_at = %(next_try_at)s,
        over_quota = %(over_quota)s
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state IN (%(pending)s, %(sent)s)
"""
_PARK = """
    UPDATE mailcache_mutation SET state = %(parked)s, last_error = %(reason)s, parked_cause = %(cause)s
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state IN (%(pending)s, %(sent)s)
"""
_SETTLE = """
    UPDATE mailcache_mutation SET state = %(settled)s, settlement = %(settlement)s, last_error = %(note)s
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND state <> %(settled)s
"""
_STORES = """
    SELECT remote.id, remote.flags, remote.keywords,
           mutation.add_flags, mutation.add_keywords, mutation.remove_flags, mutation.remove_keywords
    FROM mailcache_mutation AS mutation JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s) AND mutation.state <> %(settled)s
    ORDER BY mutation.id
"""
_AGREE = """
    UPDATE mailcache_remote AS remote
    SET flags = input.flags, keywords = string_to_array(input.keywords, ' ')
    FROM unnest(%(remotes)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[]) AS input (id, flags, keywords)
    WHERE remote.id = input.id AND remote.account_id = %(account)s
"""
_FORGET = """
    WITH dependent AS (
        UPDATE mailcache_mutation SET depends_on_id = NULL
        WHERE account_id = %(account)s AND depends_on_id = ANY(%(ids)s) AND NOT id = ANY(%(ids)s)
    )
    DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND id = ANY(%(ids)s)
"""
# Creators are told by the mailbox that they made a message in, all others by the one that their message was in: a label
# is told of with that.
_PURGEABLE = """
    SELECT mutation.id, mutation.kind, mutation.remote_id
    FROM mailcache_mutation AS mutation LEFT JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.state = %(settled)s
      AND mutation.settlement <= %(settlements)s AND NOT mutation.kind = ANY(%(names)s)
      AND coalesce(CASE WHEN NOT mutation.kind = ANY(%(labels)s) THEN mutation.target_id END,
                   remote.mailbox_id, mutation.mailbox_id) = %(mailbox)s
"""
_STILL_THERE = """
    WITH forgotten AS (
        SELECT remote.id FROM mailcache_remote AS remote
        WHERE remote.account_id = %(account)s AND remote.id = ANY(%(remotes)s)
          AND NOT EXISTS (SELECT 1 FROM mailcache_message AS message WHERE message.remote_id = remote.id)
          AND NOT EXISTS (SELECT 1 FROM mailcache_mutation AS mutation WHERE mutation.remote_id = remote.id)
    ), listing AS (
        DELETE FROM mailcache_listing WHERE account_id = %(account)s AND remote_id IN (SELECT id FROM forgotten)
    )
    DELETE FROM mailcache_remote WHERE account_id = %(account)s AND id IN (SELECT id FROM forgotten)
"""
_PURGE_NAMES = """
    SELECT id FROM mailcache_mutation
    WHERE account_id = %(account)s AND state = %(settled)s AND settlement <= %(settlements)s AND kind = ANY(%(names)s)
"""
_NAMES = [kind.value for kind in MAILBOX_KINDS]
_STATES = {state.value: state.value for state in MutationState}


def begin_settlement(fence: Fence, ids: Collection[int]) -> int:
    """Check the fence, lock the account, and return the number of the settlement that the transaction makes.

    How long the mutations that are about to settle have taken is counted.
    """
    leases.check(fence)
    ((settlement,),) = fetch_all(_RAISE, {"account": fence.account_id})
    falling = [-bound for bound in reversed(LATENCY_BOUNDS)]
    execute(_COUNT_LATENCIES, {**_which(fence, ids), "size": len(LATENCY_BOUNDS), "falling": falling})
    return int(settlement)


@transaction.atomic
def note_sent(*, fence: Fence, ids: Collection[int], noted: Mapping[str, int]) -> None:
    """Note, before creators are sent, what the target looked like: ``uidvalidity`` and ``uidnext``."""
    leases.check(fence)
    pairs = ", ".join(f'"{name}": {int(value)}' for name, value in noted.items())
    execute(_NOTE_SENT, {**_which(fence, ids), "noted": f"{{{pairs}}}"})


@transaction.atomic
def note_accepted(*, fence: Fence, ids: Collection[int]) -> None:
    """Note that the upstream said OK to creators without telling where the messages are: they never go out again."""
    leases.check(fence)
    execute(_NOTE_ACCEPTED, _which(fence, ids))


@transaction.atomic
def note_searched(*, fence: Fence, ids: Collection[int], uidvalidity: int, uidnext: int) -> None:
    """Note that creators made none of the messages below ``uidnext``: those may be taken for new mail."""
    leases.check(fence)
    execute(_NOTE_SEARCHED, {**_which(fence, ids), "uidvalidity": uidvalidity, "uidnext": uidnext})


@transaction.atomic
def retry_later(
    *,
    fence: Fence,
    ids: Collection[int],
    error: str,
    next_try_at: datetime,
    counts: bool = True,
    outcome_known: bool = False,
    over_quota: bool = False,
) -> None:
    """Have mutations tried again. ``counts``: as an attempt; ``outcome_known``: the upstream did nothing of it.

    While one waits because the upstream is ``over_quota``, clients cannot append what is as large.
    """
    leases.check(fence)
    parameters = {
        "known": outcome_known,
        "counts": int(counts),
        "error": error[:_REASON_LENGTH],
        "over_quota": over_quota,
    }
    execute(_RETRY, {**_which(fence, ids), **parameters, "next_try_at": next_try_at})


@transaction.atomic
def park(*, fence: Fence, ids: Collection[int], reason: str, cause: ParkedCause = ParkedCause.REFUSED) -> None:
    """Set mutations aside until an operator retries or drops them."""
    leases.check(fence)
    execute(_PARK, {**_which(fence, ids), "reason": reason[:_REASON_LENGTH], "cause": cause.value})


@transaction.atomic
def settle_stores(*, fence: Fence, ids: Collection[int], kept_local: FlagSet | None = None) -> None:
    """Note that flags were changed upstream; what they should be there now becomes what was agreed.

    Flags that the upstream takes from nobody (``kept_local``) stay here.
    """
    settlement = begin_settlement(fence, ids)
    kept = kept_local or FlagSet()
    agreed: dict[int, FlagSet] = {}
    for remote_id, flags, keywords, add, add_keywords, remove, remove_keywords in fetch_all(
        _STORES, _which(fence, ids)
    ):
        delta = FlagDelta(FlagSet.of(add, add_keywords).without(kept), FlagSet.of(remove, remove_keywords))
        agreed[remote_id] = delta.apply(agreed.get(remote_id, FlagSet.of(flags, keywords)))
    if agreed:
        parameters = {
            "account": fence.account_id,
            "remotes": list(agreed),
            "flags": [int(value.system) for value in agreed.values()],
            "keywords": keyword_column(agreed.values()),
        }
        execute(_AGREE, parameters)
    note = f"kept here, for the upstream takes no such flags: {' '.join(kept.names())}" if kept else ""
    _settle(fence, ids, settlement, note)


@transaction.atomic
def settle_expunges(*, fence: Fence, ids: Collection[int]) -> None:
    """Note that messages are gone upstream; their Remote rows go when a comparison has seen that."""
    _settle(fence, ids, begin_settlement(fence, ids))


@transaction.atomic
def settle_subscription(*, fence: Fence, mutation_id: int, note: str = "") -> None:
    """Note that the upstream was told of a subscription; ``note`` is why it would not hear of it."""
    _settle(fence, [mutation_id], begin_settlement(fence, [mutation_id]), note)


@transaction.atomic
def forget_cancelled(*, fence: Fence, ids: Collection[int]) -> None:
    """Remove mutations that undo each other and that the upstream never heard of."""
    leases.check(fence)
    execute(_FORGET, _which(fence, ids))


@transaction.atomic
def purge_settled(*, fence: Fence, mailbox_id: int, settlements: int) -> int:
    """Remove what had settled when the account had counted ``settlements``, read before the mailbox was compared.

    A message that was expunged and that the comparison found all the same is forgotten, so that the next one shows it
    again; returns how many there are.
    """
    leases.check(fence)
    which = {**_which(fence, ()), "mailbox": mailbox_id, "settlements": settlements, "names": _NAMES}
    which["labels"] = [kind.value for kind in LABEL_KINDS]
    rows = fetch_all(_PURGEABLE, which)
    execute(_FORGET, _which(fence, [mutation_id for mutation_id, _, _ in rows]))
    expunged = [remote for _, kind, remote in rows if kind == MutationKind.EXPUNGE and remote is not None]
    return execute(_STILL_THERE, {"account": fence.account_id, "remotes": expunged}) if expunged else 0


@transaction.atomic
def purge_settled_names(*, fence: Fence, settlements: int) -> None:
    """Remove changes of names that had settled when ``settlements`` was read, before the LIST that was taken over."""
    leases.check(fence)
    rows = fetch_all(_PURGE_NAMES, {**_which(fence, ()), "settlements": settlements, "names": _NAMES})
    execute(_FORGET, _which(fence, [mutation_id for (mutation_id,) in rows]))


def _settle(fence: Fence, ids: Collection[int], settlement: int, note: str = "") -> None:
    execute(_SETTLE, {**_which(fence, ids), "settlement": settlement, "note": note})


def _which(fence: Fence, ids: Collection[int] | Sequence[int]) -> dict[str, Any]:
    return {"account": fence.account_id, "ids": list(ids), **_STATES}
