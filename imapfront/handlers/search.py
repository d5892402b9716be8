"""SEARCH and UID SEARCH (RFC 3501 6.4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imapfront.errors import Answer, completed
from imapfront.session import Selected, Session
from imapfront.wire import commands as c
from imapfront.wire import responses
from mailcache.flags import FlagSet
from search.match import match
from search.query import asks_for_modseq

_NOT_THERE = FlagSet()


@dataclass(frozen=True, slots=True)
class _Messages:
    uids: Sequence[int]
    flag_indexes: Sequence[int]
    combinations: Sequence[FlagSet]
    modseqs: Sequence[int]
    recent_uid: int


def search(session: Session, command: c.Search) -> Answer:
    """Answer from memory; messages are told by the numbers or UIDs that this client knows."""
    selected = session.mailbox
    messages = _messages(selected)
    found = match(command.query, messages)
    uids = selected.view.uids
    numbers = (uids[position] if command.uid else position + 1 for position in found)
    modseq = None
    if asks_for_modseq(command.query):
        session.enable_condstore()
        modseq = max((messages.modseqs[position] for position in found), default=None)
    session.write(responses.search(numbers, modseq=modseq))
    return completed("SEARCH completed")


async def run_search(session: Session, command: c.Search) -> Answer:
    """Learn what was committed, then answer from memory."""
    await session.refresh()
    if command.uid:
        session.send_updates()
    return search(session, command)


def _messages(selected: Selected) -> _Messages:
    snapshot, view = selected.shared.snapshot, selected.view
    if view.uids is snapshot.uids:
        indexes: Sequence[int] = snapshot.flag_indexes
        return _Messages(view.uids, indexes, snapshot.combinations, snapshot.modseqs, view.recent_uid)
    # The client has yet to hear of messages that went: these have no flags any more.
    nothing = len(snapshot.combinations)
    positions = [snapshot.position(uid) for uid in view.uids]
    indexes = [snapshot.flag_indexes[position] if position >= 0 else nothing for position in positions]
    modseqs = [snapshot.modseqs[position] if position >= 0 else 0 for position in positions]
    return _Messages(view.uids, indexes, [*snapshot.combinations, _NOT_THERE], modseqs, view.recent_uid)
