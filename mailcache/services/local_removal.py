"""Messages taken away here by services that change the queue as well: mailboxes are locked before the queue is."""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from mailcache.flags import FlagSet
from mailcache.journal import lock_mailboxes, write_change
from mailcache.models import MutationKind
from mailcache.services.rows import count_expunged, execute, fetch_all
from mailcache.wire.number_set import NumberSet

_HOMES = """
    SELECT DISTINCT message.mailbox_id
    FROM mailcache_mutation AS mutation JOIN mailcache_message AS message ON message.id = mutation.message_id
    WHERE mutation.account_id = %(account)s AND mutation.id = ANY(%(ids)s)
"""
_MESSAGES = """
    SELECT mailbox_id, id, uid, flags, size FROM mailcache_message
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) ORDER BY mailbox_id, uid
"""
# Changes of their flags are nothing to replay any more.
_DELETE = """
    WITH store AS (
        DELETE FROM mailcache_mutation
        WHERE account_id = %(account)s AND message_id = ANY(%(ids)s) AND kind = %(store)s
    ), other AS (
        UPDATE mailcache_mutation SET message_id = NULL
        WHERE account_id = %(account)s AND message_id = ANY(%(ids)s) AND kind <> %(store)s
    )
    DELETE FROM mailcache_message WHERE account_id = %(account)s AND id = ANY(%(ids)s)
"""


def lock_homes(account_id: int, mutation_ids: Collection[int]) -> None:
    """Lock the mailboxes of the messages that mutations are about, as clients do before they queue anything."""
    rows = fetch_all(_HOMES, {"account": account_id, "ids": list(mutation_ids)}) if mutation_ids else []
    lock_mailboxes([mailbox_id for (mailbox_id,) in rows])


def remove_messages_here(account_id: int, message_ids: Collection[int]) -> None:
    """Take messages away in the caller's transaction."""
    found = fetch_all(_MESSAGES, {"account": account_id, "ids": list(message_ids)}) if message_ids else []
    locked = lock_mailboxes({row[0] for row in found})
    for mailbox_id, rows in groupby(found, key=lambda row: int(row[0])):
        gone = list(rows)
        execute(_DELETE, {"account": account_id, "ids": [row[1] for row in gone], "store": MutationKind.STORE.value})
        write_change(
            locked[mailbox_id],
            expunged=NumberSet.from_numbers(row[2] for row in gone),
            counters=count_expunged([FlagSet.of(row[3]) for row in gone], [row[4] for row in gone]),
        )
