"""What became of messages that were sent and of which the upstream did not say where they are.

The target is searched from the UIDNEXT that was noted before they were sent. What is linked to a message already is no
candidate, and one candidate settles one change: two copies that were meant stay two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mailcache.flags import FlagSet
from mailcache.models import Mailbox, Mutation, MutationKind, ParkedCause, Remote
from mailcache.services.settle_creators import settle_creators
from mailcache.services.settlement import note_searched
from mailcache.wire.strings import render_astring
from sync.replay.identity import Known, Told, is_told, may_be
from sync.replay.plan import Queued, Step
from sync.replay.present import known_of
from sync.replay.renumbered import others, relink
from sync.replay.store import kept_from_append
from sync.replay.told import told_of
from sync.replay.work import ReplayWork, uidvalidity_of
from sync.upstream.values import LiteralInfo, SelectedMailbox

_NOT_FOUND = "the upstream accepted it, but it is not to be found there"
_REWRITTEN = "it may have been sent, and this upstream changes messages: whether it arrived cannot be told"
_RENUMBERED = "the upstream gave the mailbox other UIDs after it was sent: whether it arrived cannot be told"


def look_up(work: ReplayWork, step: Step) -> None:
    """Find out what became of changes that were sent: settle what arrived, have the rest sent again."""
    mailbox = work.mailbox(step.target_id)
    resolve(work, mailbox, step.members)


def resolve(work: ReplayWork, mailbox: Mailbox, members: Sequence[Queued]) -> None:
    """Do the same for some creators into one mailbox."""
    rows = work.rows(members)
    _deal_with_missing(work, _settle_arrived(work, mailbox, members, rows), rows)


def settle_arrived(work: ReplayWork, mailbox: Mailbox, members: Sequence[Queued]) -> list[Queued]:
    """Settle what some creators made in their mailbox; returns those that made nothing there."""
    return _settle_arrived(work, mailbox, members, work.rows(members)).missing


class _Searched(NamedTuple):
    """Creators that made nothing in their mailbox, and up to where it was searched, if all of it could be looked at."""

    missing: list[Queued]
    uidvalidity: int
    uidnext: int | None


def _settle_arrived(
    work: ReplayWork, mailbox: Mailbox, members: Sequence[Queued], rows: Mapping[int, Mutation]
) -> _Searched:
    # Opened anew, to see what arrived.
    selected = work.upstream.select(bytes(mailbox.upstream_name or b""))
    uidvalidity = uidvalidity_of(selected, mailbox)
    members = [member for member in members if member.id in rows]
    current = _current(work, mailbox, uidvalidity, members, rows)
    found, untold = _find(work, mailbox, uidvalidity, {member.id: rows[member.id] for member in current})
    _settle_found(work, mailbox, selected, found, rows)
    missing = [member for member in current if member.id not in found]
    return _Searched(missing, uidvalidity, None if untold else selected.uidnext)


def _current(
    work: ReplayWork, mailbox: Mailbox, uidvalidity: int, members: Sequence[Queued], rows: Mapping[int, Mutation]
) -> list[Queued]:
    """Return the creators that can be looked up.

    Where the mailbox was renumbered after they were sent, what was there before is found again first. One is parked
    that may be taken for a message that was not.
    """
    renumbered = [member for member in members if not _is_current(rows[member.id], uidvalidity)]
    if not renumbered:
        return list(members)
    relink(work, mailbox, uidvalidity)
    doubtful = [
        member
        for member in renumbered
        if others(mailbox, uidvalidity, messages__size=rows[member.id].arguments.get("size"))
    ]
    work.park(doubtful, _RENUMBERED, ParkedCause.UNCERTAIN)
    return [member for member in members if member not in doubtful]


def _first_uid(row: Mutation, uidvalidity: int) -> int:
    """Return the first UID under which a creator may have made its message."""
    return int(row.noted.get("uidnext", 1)) if _is_current(row, uidvalidity) else 1


def _is_current(row: Mutation, uidvalidity: int) -> bool:
    return bool(row.noted.get("uidvalidity") == uidvalidity)


def _settle_found(
    work: ReplayWork,
    mailbox: Mailbox,
    selected: SelectedMailbox,
    found: Mapping[int, int],
    rows: Mapping[int, Mutation],
) -> None:
    """Settle what was found; of a move only that it is there: its source is looked at by itself."""
    appended = [FlagSet.of(row.add_flags, row.add_keywords) for row in rows.values() if row.kind == MutationKind.APPEND]
    for is_move in (True, False):
        uids = {pk: uid for pk, uid in found.items() if (rows[pk].kind == MutationKind.MOVE) is is_move}
        if uids:
            settle_creators(
                fence=work.fence,
                target_id=mailbox.pk,
                uidvalidity=uidvalidity_of(selected, mailbox),
                uids=uids,
                kept_local=kept_from_append(selected, appended),
                source_stays=is_move,
                restates_flags=work.upstream.profile.drops_appended_flags,
            )


def _deal_with_missing(work: ReplayWork, searched: _Searched, rows: Mapping[int, Mutation]) -> None:
    accepted = [member for member in searched.missing if rows[member.id].noted.get("accepted")]
    unknown = [member for member in searched.missing if member not in accepted]
    if accepted and searched.uidnext:
        # None of those that are there is it: syncs need not leave them out any longer.
        note_searched(
            fence=work.fence,
            ids=[member.id for member in accepted],
            uidvalidity=searched.uidvalidity,
            uidnext=searched.uidnext,
        )
    work.fail(accepted, _NOT_FOUND, recovers=False)
    if work.upstream.profile.rewrites_bytes:
        work.park(unknown, _REWRITTEN, ParkedCause.UNCERTAIN)
    else:
        work.fail(unknown, "the connection ended before it arrived", outcome_known=True)


def _find(
    work: ReplayWork, mailbox: Mailbox, uidvalidity: int, rows: Mapping[int, Mutation]
) -> tuple[dict[int, int], set[int]]:
    """Return where creators made their messages, and the UIDs of messages of which the upstream did not tell."""
    if not rows:
        return {}, set()
    first = min(_first_uid(row, uidvalidity) for row in rows.values())
    uids = [uid for uid in work.upstream.client.uid_search(b"UID %d:*" % first) if uid >= first]
    linked = set(
        Remote.objects.numbered(work.account.pk, mailbox.pk, uidvalidity)
        .filter(uid__gte=first)
        .values_list("uid", flat=True)
    )
    unlinked = [uid for uid in uids if uid not in linked]
    told = told_of(work, unlinked)
    known = known_of(work, dict(rows))
    hashes: dict[int, bytes] = {}
    found: dict[int, int] = {}
    for pk in sorted(rows):
        noted = _first_uid(rows[pk], uidvalidity)
        for uid in sorted(told.keys() - set(found.values())):
            if uid >= noted and _matches(work, known[pk], told[uid], hashes):
                found[pk] = uid
                break
    rest = {pk: row for pk, row in rows.items() if pk not in found}
    return found | _find_deduplicated(work, mailbox, rest, known), set(unlinked) - told.keys()


def _matches(work: ReplayWork, known: Known, told: Told, hashes: dict[int, bytes]) -> bool:
    exact = work.upstream.profile.exact_sizes and not work.upstream.profile.rewrites_bytes
    if not may_be(known, told, exact_sizes=exact):
        return False
    is_certain = is_told(known, exact_sizes=exact) or (known.message_id and work.upstream.profile.rewrites_bytes)
    if is_certain or known.sha256 is None:
        return bool(is_certain) or known.internal_date == told.internal_date
    if told.uid not in hashes:
        hashes[told.uid] = _hash(work, told.uid)
    return hashes[told.uid] == known.sha256


class _Hash:
    """A sink that keeps no byte."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, chunk: bytes, /) -> None:
        """Take the next piece."""
        self.hash.update(chunk)


def _hash(work: ReplayWork, uid: int) -> bytes:
    sink = _Hash()

    def open_sink(info: LiteralInfo) -> _Hash:
        return sink

    work.upstream.client.uid_fetch([uid], b"(UID BODY.PEEK[])", on_message=lambda message: None, open_sink=open_sink)
    return sink.hash.digest()


def _find_deduplicated(
    work: ReplayWork, mailbox: Mailbox, rows: Mapping[int, Mutation], known: Mapping[int, Known]
) -> dict[int, int]:
    """Find what an upstream that keeps each message once had before: it said OK and added nothing."""
    if not work.upstream.profile.deduplicates:
        return {}
    found: dict[int, int] = {}
    for pk, row in rows.items():
        if row.noted.get("accepted") and known[pk].message_id:
            uid = find_message_id(work, known[pk])
            if uid is not None:
                found[pk] = uid
    return found


def find_message_id(work: ReplayWork, known: Known) -> int | None:
    """Return the UID of the message of the open mailbox that has this Message-ID."""
    wanted = (known.message_id or "").encode()
    if not wanted or not wanted.isascii():
        return None
    uids = work.upstream.client.uid_search(b"HEADER MESSAGE-ID " + render_astring(wanted))
    told = told_of(work, uids[-10:])
    return next((uid for uid in sorted(told) if known.message_id in told[uid].message_ids), None)
