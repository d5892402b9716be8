"""What a read of the upstream must not undo: local changes that it may not contain yet (design section 5)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from mailcache.flags import FlagDelta, FlagSet, SystemFlag
from mailcache.merge import Change, Event, ended_by, merged_flags
from mailcache.models import CREATORS, LABEL_KINDS, MAILBOX_KINDS, Account, MutationKind, MutationState
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.message_flags import FlagChange, change_flags, pending_deltas
from mailcache.services.rows import execute, fetch_all

# Under another numbering than was noted any message may be the one that was sent.
_SENT_FROM = """
    SELECT min(CASE WHEN (noted->>'uidvalidity')::bigint = %(uidvalidity)s THEN (noted->>'uidnext')::bigint ELSE 1 END)
    FROM mailcache_mutation
    WHERE account_id = %(account)s AND target_id = %(mailbox)s AND state = %(sent)s AND kind = ANY(%(creators)s)
"""
_SPARED = """
    SELECT remote.uid
    FROM mailcache_mutation AS mutation JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.target_id = %(mailbox)s AND mutation.state = %(settled)s
      AND mutation.kind = ANY(%(creators)s) AND mutation.settlement > %(settlements)s
      AND remote.mailbox_id = %(mailbox)s
    UNION ALL
    SELECT remote.uid
    FROM mailcache_mutation AS mutation JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.mailbox_id = %(mailbox)s AND mutation.state = %(sent)s
      AND mutation.kind = %(move)s AND remote.mailbox_id = %(mailbox)s
"""
_NAMES_SETTLED = """
    SELECT EXISTS (SELECT 1 FROM mailcache_mutation
                   WHERE account_id = %(account)s AND kind = ANY(%(names)s) AND state = %(settled)s
                     AND settlement > %(settlements)s)
"""

# A change of flags goes where its message went: to the one message that has the same bytes. That may be one that was
# there before, so a mark for deletion does not go along: it would be expunged where nobody wants that.
_FOLLOW = """
    UPDATE mailcache_mutation AS mutation
    SET message_id = twin.id, remote_id = twin.remote_id, mailbox_id = twin.mailbox_id,
        add_flags = mutation.add_flags & ~%(deleted)s::smallint
    FROM mailcache_message AS gone, LATERAL (
        SELECT min(other.id) AS id, min(other.remote_id) AS remote_id, min(other.mailbox_id) AS mailbox_id
        FROM mailcache_message AS other
        WHERE other.account_id = %(account)s AND other.content_id = gone.content_id
          AND other.remote_id IS NOT NULL AND NOT other.remote_id = ANY(%(remotes)s)
        HAVING count(*) = 1
    ) AS twin
    WHERE mutation.account_id = %(account)s AND mutation.kind = %(store)s AND mutation.state <> %(settled)s
      AND mutation.message_id = gone.id AND gone.account_id = %(account)s AND gone.remote_id = ANY(%(remotes)s)
      AND (mutation.add_flags & ~%(deleted)s::smallint <> 0 OR mutation.remove_flags <> 0
           OR mutation.add_keywords <> '{}' OR mutation.remove_keywords <> '{}')
    RETURNING twin.id, twin.mailbox_id
"""
_SHOWN = """
    SELECT id, mailbox_id, uid, flags, keywords FROM mailcache_message
    WHERE account_id = %(account)s AND id = ANY(%(messages)s)
"""
# What else concerned messages that are gone is moot, and all that waits for it; a copy of one is made from its bytes.
_MOOT = """
    WITH RECURSIVE moot AS (
        SELECT id FROM mailcache_mutation
        WHERE account_id = %(account)s
          AND ((remote_id = ANY(%(remotes)s) AND kind = ANY(%(ended)s))
               OR message_id IN (SELECT id FROM mailcache_message
                                 WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)))
        UNION
        SELECT later.id FROM mailcache_mutation AS later JOIN moot ON later.depends_on_id = moot.id
        WHERE later.account_id = %(account)s
    )
    SELECT id FROM moot
"""
_FORGET = """
    WITH later AS (
        UPDATE mailcache_mutation SET depends_on_id = NULL
        WHERE account_id = %(account)s AND depends_on_id = ANY(%(ids)s) AND NOT id = ANY(%(ids)s)
    )
    DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND id = ANY(%(ids)s)
"""
_WITHOUT_SOURCE = """
    UPDATE mailcache_mutation SET remote_id = NULL WHERE account_id = %(account)s AND remote_id = ANY(%(remotes)s)
"""

_CONSTANTS: dict[str, Any] = {
    "deleted": int(SystemFlag.DELETED),
    "sent": MutationState.SENT.value,
    "settled": MutationState.SETTLED.value,
    "store": MutationKind.STORE.value,
    "creators": [kind.value for kind in CREATORS],
    "move": MutationKind.MOVE.value,
    "names": [kind.value for kind in MAILBOX_KINDS],
    "ended": [
        *(change.value for change in ended_by(Event.GONE, among=frozenset({Change.STORE, Change.EXPUNGE}))),
        *(kind.value for kind in LABEL_KINDS),
    ],
}


def settlements_of(account_id: int) -> int:
    """Return how many settlements the account has counted: read before the upstream is, it tells what a read holds."""
    return Account.objects.values_list("settlements", flat=True).get(pk=account_id)


def first_unknown_uid(*, account_id: int, mailbox_id: int, uidvalidity: int) -> int | None:
    """Return the first upstream UID that may be a copy of ours whose outcome is not known; None where there is none.

    What is there from this UID on is not taken for new mail before replay knows what it is.
    """
    ((uid,),) = fetch_all(
        _SENT_FROM, {**_CONSTANTS, "account": account_id, "mailbox": mailbox_id, "uidvalidity": uidvalidity}
    )
    return None if uid is None else int(uid)


def spared_uids(*, account_id: int, mailbox_id: int, settlements: int) -> frozenset[int]:
    """Return the upstream UIDs of messages that a read may lack without their being gone.

    Those that we put there after ``settlements`` was read; and those that we have perhaps moved away, which are
    somewhere else then: replay has yet to find out where.
    """
    parameters = {**_CONSTANTS, "account": account_id, "mailbox": mailbox_id, "settlements": settlements}
    return frozenset(uid for (uid,) in fetch_all(_SPARED, parameters))


def is_list_stale(*, account_id: int, settlements: int) -> bool:
    """True when a change of mailbox names settled after ``settlements`` was read."""
    parameters = {**_CONSTANTS, "account": account_id, "settlements": settlements}
    ((stale,),) = fetch_all(_NAMES_SETTLED, parameters)
    return bool(stale)


def let_go_of(*, account_id: int, remote_ids: Collection[int]) -> dict[int, int]:
    """Settle the queue with upstream messages that are gone, before their rows are deleted, by the merge rules.

    A local delete or change of flags of what was deleted upstream is done with; a change of flags follows a message
    that was moved; a copy or move that had not been replayed is made from the bytes that are here.

    Returns the mailboxes, by message, of messages that a change of flags has followed: once the others are deleted
    and that is written, ``show_followed`` has to be called with them.
    """
    parameters: dict[str, Any] = {**_CONSTANTS, "account": account_id, "remotes": list(remote_ids)}
    followed: dict[int, int] = dict(fetch_all(_FOLLOW, parameters))
    moot: Sequence[int] = [mutation_id for (mutation_id,) in fetch_all(_MOOT, parameters)]
    if moot:
        execute(_FORGET, {"account": account_id, "ids": moot})
    execute(_WITHOUT_SOURCE, parameters)
    return followed


def show_followed(*, account_id: int, followed: Mapping[int, int]) -> None:
    """Let clients see the changes of flags that followed a message, in the caller's transaction."""
    if followed:
        with_locks(set(followed.values()), partial(_show_followed, account_id, list(followed)))


def _show_followed(account_id: int, message_ids: Sequence[int], locks: Locks) -> None:
    overlay = pending_deltas(account_id=account_id, owners={one: one for one in message_ids})
    changes = []
    for message_id, mailbox_id, uid, system, keywords in fetch_all(
        _SHOWN, {"account": account_id, "messages": list(message_ids)}
    ):
        before = FlagSet.of(system, keywords)
        after = merged_flags(before, overlay.get(message_id, FlagDelta()))
        if after != before:
            changes.append(FlagChange(message_id, mailbox_id, uid, before, after))
    change_flags(locks, changes)
