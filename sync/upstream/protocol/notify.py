"""NOTIFY (RFC 5465): announcements of all mailboxes on one connection."""

from __future__ import annotations

from sync.upstream.errors import CommandBad, CommandNo, CommandRefused
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Status
from sync.upstream.protocol.session import Session

_MESSAGES = b"MessageNew MessageExpunge FlagChange"
_SELECTED = b"(SELECTED-DELAYED (%b))" % _MESSAGES
_NAMES_TOO = b"%b (PERSONAL (%b MailboxName))" % (_SELECTED, _MESSAGES)
# Stands among the refused capabilities for what is part of one.
_NAMES = "NOTIFY MailboxName"
_MESSAGES_ONLY = b"%b (PERSONAL (%b))" % (_SELECTED, _MESSAGES)


def notify(session: Session, *, status: bool) -> Steps[bool]:
    """Ask for announcements of all personal mailboxes; False where the upstream does not give them.

    ``status`` asks for the STATUS of each mailbox at once, as announcements.
    """
    if not session.offers("NOTIFY"):
        return False
    variants = [] if _NAMES in session.refused else [(_NAMES, _NAMES_TOO)]
    beginning = b"SET STATUS " if status else b"SET "

    def run(groups: bytes) -> Steps[Status]:
        return session.command("NOTIFY", beginning + groups)

    try:
        # Which events a server knows is its own affair: NO [BADEVENT] (RFC 5465 5).
        yield from session.first_accepted([*variants, ("", _MESSAGES_ONLY)], run, rejections=(CommandBad, CommandNo))
    except CommandRefused as error:
        session.refuse("NOTIFY", error)
        return False
    session.notifying = True
    return True
