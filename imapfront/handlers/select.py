"""SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 6.3.1-2, 6.4.2, RFC 3691)."""

from __future__ import annotations

from contextlib import suppress

from imapfront.errors import Answer, completed
from imapfront.session import Selected, Session
from imapfront.states import State
from imapfront.view import View
from imapfront.wire import commands as c
from imapfront.wire import responses
from mailcache.errors import MailboxNotSelectable, NoSuchMailbox, NoTrash
from mailcache.flags import SYSTEM_FLAG_NAMES, SystemFlag
from mailcache.reads.mailboxes import MailboxInfo, find_mailbox
from mailcache.services.expunge import expunge_messages
from mailcache.services.mailboxes import take_recent


async def run_select(session: Session, command: c.Select) -> Answer:
    """Open a mailbox."""
    session.condstore |= command.condstore
    return await _open(session, command.mailbox, read_only=False)


async def run_examine(session: Session, command: c.Examine) -> Answer:
    """Open a mailbox without changing anything in it."""
    session.condstore |= command.condstore
    return await _open(session, command.mailbox, read_only=True)


async def run_close(session: Session, _: c.Close) -> Answer:
    """Leave the mailbox, and expunge what is marked ``\\Deleted`` in it, without a word (RFC 3501 6.4.2)."""
    selected = session.mailbox
    if not selected.read_only:
        with suppress(NoTrash):  # what cannot be removed stays marked: leaving a mailbox does not fail
            await session.services.threads.run(
                expunge_messages, user_id=session.user.user_id, mailbox_id=selected.shared.id
            )
    session.close_mailbox()
    return completed("CLOSE completed")


async def run_unselect(session: Session, _: c.Unselect) -> Answer:
    """Leave the mailbox."""
    session.close_mailbox()
    return completed("UNSELECT completed")


async def _open(session: Session, name: str, *, read_only: bool) -> Answer:
    # A failed SELECT leaves no mailbox selected (RFC 3501 6.3.1).
    session.close_mailbox()
    services = session.services
    mailbox = await find_mailbox(services.pool, session.user, name)
    if mailbox is None:
        raise NoSuchMailbox("no such mailbox")
    if not mailbox.selectable:
        raise MailboxNotSelectable("this name holds no messages")
    shared = await services.hub.open(session.user, mailbox.id)
    try:
        recent_uid = await _recent_uid(session, mailbox, read_only=read_only)
    except BaseException:
        services.hub.release(shared)
        raise
    view = View.of(shared.snapshot, recent_uid=recent_uid)
    session.selected = Selected(name, mailbox.account_id, shared, view, read_only)
    session.state = State.SELECTED
    _describe(session, session.selected)
    code = "READ-ONLY" if read_only else "READ-WRITE"
    return completed("EXAMINE completed" if read_only else "SELECT completed", code=code)


async def _recent_uid(session: Session, mailbox: MailboxInfo, *, read_only: bool) -> int:
    """Return the first recent UID; a SELECT takes what it is told of, so that the next session is not told again."""
    if read_only or mailbox.recent_uid == mailbox.uidnext:
        return mailbox.recent_uid
    return await session.services.threads.run(take_recent, user_id=session.user.user_id, mailbox_id=mailbox.id)


def _describe(session: Session, selected: Selected) -> None:
    snapshot = selected.shared.snapshot
    session.write(responses.flags([*SYSTEM_FLAG_NAMES.values(), *snapshot.keywords()]))
    session.write(responses.exists(len(selected.view)))
    session.write(responses.recent(selected.view.recent))
    first_unseen = _first_unseen(selected)
    if first_unseen:
        session.write(responses.untagged_status("OK", "first unseen", code=f"UNSEEN {first_unseen}"))
    permanent = () if selected.read_only else (*SYSTEM_FLAG_NAMES.values(), *snapshot.keywords(), "\\*")
    session.write(responses.untagged_status("OK", "flags kept", code=f"PERMANENTFLAGS ({' '.join(permanent)})"))
    session.write(responses.untagged_status("OK", "UIDs valid", code=f"UIDVALIDITY {snapshot.uidvalidity}"))
    session.write(responses.untagged_status("OK", "next UID", code=f"UIDNEXT {snapshot.uidnext}"))
    session.write(responses.untagged_status("OK", "modseqs", code=f"HIGHESTMODSEQ {snapshot.highestmodseq}"))


def _first_unseen(selected: Selected) -> int:
    snapshot = selected.shared.snapshot
    unseen = {index for index, flags in enumerate(snapshot.combinations) if not flags.system & SystemFlag.SEEN}
    return next((position for position, index in enumerate(snapshot.flag_indexes, 1) if index in unseen), 0)
