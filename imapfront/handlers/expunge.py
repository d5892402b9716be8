"""EXPUNGE and UID EXPUNGE (RFC 3501 6.4.3, RFC 4315 2.1)."""

from __future__ import annotations

from imapfront.errors import Answer, completed
from imapfront.handlers.positions import expect_writable
from imapfront.session import Session
from imapfront.wire.changing_commands import Expunge
from mailcache.services.expunge import expunge_messages
from mailcache.wire.number_set import NumberSet


async def run_expunge(session: Session, command: Expunge) -> Answer:
    """Remove what is marked ``\\Deleted``, of the named UIDs only where some are named."""
    selected = session.mailbox
    expect_writable(selected)
    which = {} if command.uids is None else {"uids": _named(session, command)}
    await session.services.threads.run(
        expunge_messages, user_id=session.user.user_id, mailbox_id=selected.shared.id, **which
    )
    return completed("EXPUNGE completed")


def _named(session: Session, command: Expunge) -> NumberSet:
    uids = session.mailbox.view.uids
    return command.uids.resolve(uids[-1] if uids else 0) if command.uids is not None else NumberSet()
