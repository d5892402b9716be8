"""Flags of copies: what another client changed of a message before it was copied upstream is on the copy there.

A copy here has the flags that its source had here. So what was agreed of the source is noted with the copy; what has
been agreed since then by the time that the copy settles is taken over, below what clients changed in the copy itself.
"""

from __future__ import annotations

from collections.abc import Collection

from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox
from mailcache.merge import merged_flags
from mailcache.models import TRANSFERS, MutationState
from mailcache.services.mailbox_locks import Locks
from mailcache.services.message_flags import FlagChange, change_flags, pending_deltas
from mailcache.services.rows import execute, fetch_all

_NOTE = """
    UPDATE mailcache_mutation AS mutation
    SET arguments = mutation.arguments
                    || jsonb_build_object('agreed', remote.flags, 'agreed_keywords', to_jsonb(remote.keywords))
    FROM mailcache_remote AS remote
    WHERE mutation.account_id = %(account)s AND remote.id = mutation.remote_id
      AND (mutation.message_id = ANY(%(messages)s) OR mutation.remote_id = ANY(%(remotes)s))
      AND mutation.kind = ANY(%(transfers)s) AND mutation.state <> %(settled)s
      AND NOT mutation.arguments ? 'agreed'
"""
# What is copied from a copy shows what the first source had here: no change of that source may be passed over.
_HAND_ON = """
    UPDATE mailcache_mutation AS onwards
    SET arguments = onwards.arguments || jsonb_build_object(
        'agreed', creator.arguments -> 'agreed', 'agreed_keywords', creator.arguments -> 'agreed_keywords')
    FROM mailcache_mutation AS creator
    WHERE creator.account_id = %(account)s AND creator.id = ANY(%(ids)s) AND creator.arguments ? 'agreed'
      AND onwards.account_id = %(account)s AND onwards.depends_on_id = creator.id
      AND onwards.kind = ANY(%(transfers)s) AND NOT onwards.arguments ? 'agreed'
"""
_SETTLED = """
    SELECT message.id, message.uid, message.flags, message.keywords, remote.flags, remote.keywords,
           (mutation.arguments -> 'agreed')::smallint,
           ARRAY(SELECT jsonb_array_elements_text(mutation.arguments -> 'agreed_keywords'))
    FROM mailcache_mutation AS mutation
    JOIN mailcache_message AS message ON message.id = mutation.message_id
    JOIN mailcache_remote AS remote ON remote.id = mutation.remote_id
    WHERE mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s) AND mutation.arguments ? 'agreed'
"""

_TRANSFERS = [kind.value for kind in TRANSFERS]


def hand_on_agreed(account_id: int, ids: Collection[int]) -> None:
    """Note for copies of copies that are about to settle what was agreed of the source, in the caller's transaction."""
    execute(_HAND_ON, {"account": account_id, "ids": list(ids), "transfers": _TRANSFERS})


def note_agreed(account_id: int, *, message_ids: Collection[int] = (), remote_ids: Collection[int] = ()) -> None:
    """Note what is agreed of the sources of copies, by the new messages or by the sources; in the caller's transaction.

    What is noted already stays.
    """
    parameters = {
        "account": account_id,
        "messages": list(message_ids),
        "remotes": list(remote_ids),
        "transfers": _TRANSFERS,
        "settled": MutationState.SETTLED.value,
    }
    execute(_NOTE, parameters)


def show_copied_flags(locks: Locks, mailbox: LockedMailbox, *, ids: Collection[int], settlements: int) -> None:
    """Let clients see what was agreed of the sources of settled copies in between, in the caller's transaction."""
    account_id = mailbox.account_id
    rows = fetch_all(_SETTLED, {"account": account_id, "ids": list(ids)})
    overlay = pending_deltas(account_id=account_id, owners={row[0]: row[0] for row in rows}, settlements=settlements)
    changes = []
    for message_id, uid, system, keywords, agreed, agreed_keywords, base, base_keywords in rows:
        before, now, then = (
            FlagSet.of(system, keywords),
            FlagSet.of(agreed, agreed_keywords),
            FlagSet.of(base, base_keywords),
        )
        upstream = FlagDelta(add=now.without(then), remove=then.without(now)).apply(before)
        after = merged_flags(upstream, overlay.get(message_id, FlagDelta()))
        if after != before:
            changes.append(FlagChange(message_id, mailbox.id, uid, before, after))
    if changes:
        change_flags(locks, changes)
