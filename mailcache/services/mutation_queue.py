"""Queueing of local changes for replay, in the transaction that makes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction

from mailcache.flags import FlagDelta
from mailcache.models import MutationKind, MutationState
from mailcache.services.rows import fetch_all
from mailcache.signals import announce_mutations

_QUEUE = """
    INSERT INTO mailcache_mutation (
        account_id, mailbox_id, target_id, message_id, remote_id, depends_on_id, content_id, kind,
        add_flags, add_keywords, remove_flags, remove_keywords,
        arguments, state, noted, attempts, next_try_at, last_error, created_at)
    SELECT %(account)s, %(mailbox)s, %(target)s, message_id, remote_id, depends_on_id, content_id, %(kind)s,
           add_flags, string_to_array(add_keywords, ' '), remove_flags, string_to_array(remove_keywords, ' '),
           arguments::jsonb, %(state)s, '{}', 0, now(), '', now()
    FROM unnest(
        %(messages)s::bigint[], %(remotes)s::bigint[], %(depends)s::bigint[], %(contents)s::bigint[],
        %(add)s::smallint[], %(add_keywords)s::text[], %(remove)s::smallint[], %(remove_keywords)s::text[],
        %(arguments)s::text[]
    ) WITH ORDINALITY AS row (message_id, remote_id, depends_on_id, content_id,
                              add_flags, add_keywords, remove_flags, remove_keywords, arguments, position)
    ORDER BY position
    RETURNING id
"""
_NO_DELTA = FlagDelta()


@dataclass(frozen=True, slots=True)
class NewMutation:
    """What one mutation of a batch is about; see the fields of ``Mutation``."""

    message_id: int | None = None
    remote_id: int | None = None
    depends_on_id: int | None = None
    content_id: int | None = None
    delta: FlagDelta = _NO_DELTA
    arguments: Mapping[str, Any] = field(default_factory=dict)


def queue_mutations(
    *,
    account_id: int,
    kind: MutationKind,
    mailbox_id: int | None,
    rows: Sequence[NewMutation],
    target_id: int | None = None,
) -> list[int]:
    """Queue mutations of one kind, in order, in the caller's transaction; replay hears of them after COMMIT.

    Returns their ids, in the order of ``rows``.
    """
    if not rows:
        return []
    parameters: dict[str, Any] = {
        "account": account_id,
        "mailbox": mailbox_id,
        "target": target_id,
        "kind": kind.value,
        "state": MutationState.PENDING.value,
        "arguments": [json.dumps(dict(row.arguments)) for row in rows],
        "messages": [row.message_id for row in rows],
        "remotes": [row.remote_id for row in rows],
        "depends": [row.depends_on_id for row in rows],
        "contents": [row.content_id for row in rows],
        "add": [int(row.delta.add.system) for row in rows],
        "add_keywords": [" ".join(sorted(row.delta.add.keywords)) for row in rows],
        "remove": [int(row.delta.remove.system) for row in rows],
        "remove_keywords": [" ".join(sorted(row.delta.remove.keywords)) for row in rows],
    }
    ids = sorted(number for (number,) in fetch_all(_QUEUE, parameters))
    transaction.on_commit(partial(announce_mutations, account_id))
    return ids
