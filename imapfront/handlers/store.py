"""STORE and UID STORE (RFC 3501 6.4.6, RFC 7162 3.1.3)."""

from __future__ import annotations

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.handlers.positions import expect_writable, named_positions
from imapfront.session import Selected, Session, flags_item, modseq_item
from imapfront.wire import responses
from imapfront.wire.changing_commands import Store
from mailcache.services.flags import StoreResult, store_flags
from mailcache.wire.number_set import NumberSet

_LINES_AT_ONCE = 500


async def run_store(session: Session, command: Store) -> Answer:
    """Change flags here, durably, and tell them; the upstream hears of it afterwards."""
    selected = session.mailbox
    expect_writable(selected)
    if command.unchanged_since is not None:
        session.enable_condstore()
    await session.refresh()
    if command.uid:
        session.send_updates()
    uids = selected.view.uid_set(named_positions(selected, command.numbers, uid=command.uid))
    result = await session.services.threads.run(
        store_flags,
        user_id=session.user.user_id,
        mailbox_id=selected.shared.id,
        uids=uids,
        store=command.store,
        unchanged_since=command.unchanged_since,
    )
    gone = await _tell(session, command, uids, result) if await session.refresh_if_possible() else 0
    return _ended(selected, command, result, gone)


async def _tell(session: Session, command: Store, uids: NumberSet, result: StoreResult) -> int:
    """Write the new flags of all that was named, or with SILENT only new modseqs; returns how many are gone."""
    selected = session.mailbox
    snapshot, view = selected.shared.snapshot, selected.view
    lines: list[bytes] = []
    gone = 0
    for uid in uids:
        at = snapshot.position(uid)
        if at < 0:
            gone += 1
            continue
        # Told here, or not to be told: what another client did to the message in the meantime has a later modseq.
        if uid in result.changed and snapshot.modseqs[at] == result.modseq:
            view.told[uid], is_known = result.modseq, view.knows(uid, result.before[uid])
        else:
            is_known = True
        # What another client did to it before, and was not told, a SILENT client cannot know of (RFC 3501 6.4.6).
        is_silent = command.silent and is_known
        items = _items(session, uid, at, changed=uid in result.changed, is_silent=is_silent, with_uid=command.uid)
        if items:
            lines.append(responses.fetch(view.position(uid) + 1, items))
        if len(lines) == _LINES_AT_ONCE:
            session.write(b"".join(lines))
            lines.clear()
            await session.channel.drain()
    session.write(b"".join(lines))
    return gone


def _items(session: Session, uid: int, at: int, *, changed: bool, is_silent: bool, with_uid: bool) -> list[bytes]:
    selected = session.mailbox
    items = [] if is_silent else [flags_item(selected, uid, at)]
    if session.condstore and (changed or not is_silent):
        items.append(modseq_item(selected, at))
    return [b"UID %d" % uid, *items] if items and with_uid else items


def _ended(selected: Selected, command: Store, result: StoreResult, gone: int) -> Answer:
    modified = result.modified
    if modified and not command.uid:
        modified = NumberSet.from_numbers(selected.view.position(uid) + 1 for uid in modified)
    if modified:
        return completed("some messages have changed since", code=f"MODIFIED {modified}")
    if gone and not command.uid:
        raise CommandFailed("some of the messages no longer exist", code="EXPUNGEISSUED")
    return completed("STORE completed")
