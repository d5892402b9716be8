"""APPEND: a message that a client gives us (RFC 3501 6.3.11, RFC 3502)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.db import transaction

from mailcache.errors import NoSuchMailbox, OverQuota
from mailcache.flags import FlagDelta, FlagSet
from mailcache.journal import LockedMailbox, write_change
from mailcache.mime.parsed import ParsedMessage, parse_message
from mailcache.models import MutationKind, MutationState, Segment
from mailcache.segments import StoredSegment, store_segment_file
from mailcache.services.contents import INLINE_BYTES, NewContent, add_or_share_contents, note_dead_bytes
from mailcache.services.label_changes import label_new
from mailcache.services.label_places import Place, all_mail_of, is_mark_local, place_of
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.mutation_queue import NewMutation, queue_mutations
from mailcache.services.recovered import check_not_recovered
from mailcache.services.rows import count_appeared, execute, fetch_all, keyword_column, zone_minutes
from mailcache.services.selected_messages import identity_of
from mailcache.services.transferred import Copies
from mailcache.spool import SpooledLiteral
from mailcache.wire.number_set import NumberSet

_RESERVE = """
    UPDATE mailcache_account SET used_bytes = used_bytes + %(bytes)s
    WHERE id = %(account)s AND (%(bytes)s = 0 OR used_bytes + %(bytes)s <= quota_bytes)
"""
_UPSTREAM_IS_FULL = """
    SELECT 1 FROM mailcache_mutation
    WHERE account_id = %(account)s AND over_quota AND state = %(pending)s
      AND (arguments ->> 'size')::bigint <= %(bytes)s
    LIMIT 1
"""
_ACCOUNT_OF = """
    SELECT mailbox.account_id, mailbox.name FROM mailcache_mailbox AS mailbox
    JOIN mailcache_account AS account ON account.id = mailbox.account_id
    WHERE mailbox.id = %(mailbox)s AND account.user_id = %(user)s
"""
_ADD = """
    WITH added AS (
        INSERT INTO mailcache_message (account_id, mailbox_id, uid, flags, keywords, modseq, internal_date,
                                       internal_zone, size, emailid, threadid, content_id)
        SELECT %(account)s, %(mailbox)s, uid, flags, string_to_array(keywords, ' '), %(modseq)s, internal_date,
               internal_zone, size, '', '', content_id
        FROM unnest(%(uids)s::bigint[], %(flags)s::smallint[], %(keywords)s::text[], %(dates)s::timestamptz[],
                    %(zones)s::smallint[], %(sizes)s::bigint[], %(contents)s::bigint[])
             AS row (uid, flags, keywords, internal_date, internal_zone, size, content_id)
        RETURNING id, uid
    )
    SELECT id FROM added ORDER BY uid
"""


@dataclass(frozen=True, slots=True)
class AppendedMessage:
    """One message to append: what was learnt of its bytes, and where these are (in memory, or stored already)."""

    sha256: bytes
    parsed: ParsedMessage
    flags: FlagSet
    internal_date: datetime
    inline: bytes | None = field(default=None, repr=False)
    segment: StoredSegment | None = None


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where the messages are now (APPENDUID, RFC 4315)."""

    uidvalidity: int
    uids: Sequence[int]


def inline_message(data: bytes, *, flags: FlagSet, internal_date: datetime) -> AppendedMessage:
    """Learn what is stored of a small message, whose bytes will lie in its row."""
    return AppendedMessage(hashlib.sha256(data).digest(), parse_message(data), flags, internal_date, inline=data)


def spooled_message(
    literal: SpooledLiteral, *, account_id: int, flags: FlagSet, internal_date: datetime
) -> AppendedMessage:
    """Learn what is stored of a spooled message, and make its bytes durable: in its row, or in a segment of its own."""
    sha256 = literal.finish()
    if literal.size <= INLINE_BYTES:
        return inline_message(literal.path.read_bytes(), flags=flags, internal_date=internal_date)
    with literal.mapped() as data:
        parsed = parse_message(data)
    segment = store_segment_file(account_id=account_id, path=literal.path)
    return AppendedMessage(sha256, parsed, flags, internal_date, segment=segment)


@transaction.atomic
def append_messages(*, user_id: int, mailbox_id: int, messages: Sequence[AppendedMessage]) -> AppendResult:
    """Add messages to a user's mailbox and queue them for the upstream: all of them or none (RFC 3502).

    Their bytes are durable already, or become so with this transaction. In a label mailbox they are shown, and in All
    Mail. Raises ``NoSuchMailbox``, ``OverQuota``.
    """
    account_id = _account_of(user_id, mailbox_id)
    # Contents, then the account, then mailboxes: in the order in which an ingest of bodies takes them.
    content_ids, added = _keep_contents(account_id, messages)
    _reserve(account_id, added, sum(message.parsed.size for message in messages))
    work = partial(_append, mailbox_id, messages, content_ids)
    return with_locks([mailbox_id], work, user_id=user_id)


def _append(
    mailbox_id: int, messages: Sequence[AppendedMessage], content_ids: Sequence[int], locks: Locks
) -> AppendResult:
    locked = home = locks[mailbox_id]
    flags = [message.flags for message in messages]
    unmarked = [value.unmarked() for value in flags] if is_mark_local(locked) else flags
    via = {}
    if place_of(locked) is Place.LABEL:
        all_mail = all_mail_of(locked.account_id)
        locks.require([all_mail])
        home, via = locks[all_mail], {"via": locked.id}
    added = _add(home, messages, flags if home is locked else unmarked, content_ids)
    creators = _queue(home, messages, unmarked, content_ids, added.ids, via)
    if home is not locked:
        added = _add(locked, messages, flags, content_ids)
        label_new(home.id, locked, list(zip(added.ids, creators, strict=True)))
    return AppendResult(locked.uidvalidity, added.uids)


def _queue(
    home: LockedMailbox,
    messages: Sequence[AppendedMessage],
    flags: Sequence[FlagSet],
    content_ids: Sequence[int],
    message_ids: Sequence[int],
    via: Mapping[str, int],
) -> list[int]:
    """Queue what appends the messages upstream; ``via`` names the label mailbox that they were given to."""
    rows = [
        NewMutation(
            message_id,
            content_id=content_id,
            # As they are now: what clients change later is queued behind.
            delta=FlagDelta(add=value),
            arguments={**identity_of(message.parsed.size, message.internal_date), **via},
        )
        for message_id, content_id, value, message in zip(message_ids, content_ids, flags, messages, strict=True)
    ]
    return queue_mutations(
        account_id=home.account_id, kind=MutationKind.APPEND, mailbox_id=home.id, target_id=home.id, rows=rows
    )


def _account_of(user_id: int, mailbox_id: int) -> int:
    owner = fetch_all(_ACCOUNT_OF, {"mailbox": mailbox_id, "user": user_id})
    if not owner:
        raise NoSuchMailbox("no such mailbox")
    ((account_id, name),) = owner
    check_not_recovered(name)
    return int(account_id)


def _reserve(account_id: int, added: int, size: int) -> None:
    """Take room for ``added`` bytes from the account's quota; ``size`` is that of the messages upstream."""
    if not execute(_RESERVE, {"account": account_id, "bytes": added}):
        raise OverQuota("the account's quota is used up")
    if fetch_all(_UPSTREAM_IS_FULL, {"account": account_id, "bytes": size, "pending": MutationState.PENDING.value}):
        raise OverQuota("the mail provider has no room for it: what was appended before still waits")


def _keep_contents(account_id: int, messages: Sequence[AppendedMessage]) -> tuple[list[int], int]:
    """Return the Content of each message, and how many bytes were not here already."""
    rows = {
        message.segment.name: Segment.objects.create(
            account_id=account_id, name=message.segment.name, size=message.segment.size
        )
        for message in messages
        if message.segment is not None
    }
    contents = [
        NewContent(
            message.sha256,
            message.parsed,
            segment_id=None if message.segment is None else rows[message.segment.name].pk,
            inline=message.inline,
        )
        for message in messages
    ]
    kept = add_or_share_contents(account_id=account_id, contents=contents)
    for message in messages:
        if message.segment is not None and message.sha256 not in kept.added:
            note_dead_bytes(rows[message.segment.name], message.segment.size)
    return [kept.ids[message.sha256] for message in messages], sum(kept.added.values())


def _add(
    locked: LockedMailbox, messages: Sequence[AppendedMessage], flags: Sequence[FlagSet], content_ids: Sequence[int]
) -> Copies:
    uids = list(range(locked.uidnext, locked.uidnext + len(messages)))
    sizes = [message.parsed.size for message in messages]
    parameters: dict[str, Any] = {
        "account": locked.account_id,
        "mailbox": locked.id,
        "modseq": locked.modseq,
        "uids": uids,
        "flags": [int(value.system) for value in flags],
        "keywords": keyword_column(flags),
        "dates": [message.internal_date for message in messages],
        "zones": [zone_minutes(message.internal_date) for message in messages],
        "sizes": sizes,
        "contents": list(content_ids),
    }
    ids = [message_id for (message_id,) in fetch_all(_ADD, parameters)]
    counters = count_appeared(flags, sizes)
    write_change(locked, appeared=NumberSet.from_numbers(uids), uidnext=uids[-1] + 1, counters=counters)
    return Copies(ids, uids)
