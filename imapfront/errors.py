"""How errors become IMAP answers: one table (RFC 3501 7.1, RFC 5530)."""

from __future__ import annotations

from dataclasses import dataclass

import django.db
import psycopg
from psycopg_pool import PoolTimeout

from mailcache import errors


class CommandFailed(Exception):
    """A command that is answered NO or BAD; the text is for people."""

    def __init__(self, text: str, *, status: str = "NO", code: str = "") -> None:
        super().__init__(text)
        self.answer = Answer(status, text, code)


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ends: ``tag status [code] text``."""

    status: str
    text: str
    code: str = ""


def completed(text: str, *, code: str = "") -> Answer:
    """Return the answer of a command that succeeded."""
    return Answer("OK", text, code)


_CODES: tuple[tuple[type[errors.MailcacheError], str], ...] = (
    (errors.NoSuchMailbox, "NONEXISTENT"),
    (errors.MailboxNotSelectable, "CANNOT"),
    (errors.NameTaken, "ALREADYEXISTS"),
    (errors.InvalidValue, "CANNOT"),
    (errors.OverQuota, "OVERQUOTA"),
    (errors.TooBig, "TOOBIG"),
    (errors.MessagesGone, "EXPUNGEISSUED"),
    (errors.BytesNotHere, "UNAVAILABLE"),
    (errors.SegmentMissing, "UNAVAILABLE"),
    (errors.SegmentUnavailable, "UNAVAILABLE"),
)
_DATABASE_AWAY = (
    django.db.OperationalError,
    django.db.InterfaceError,
    psycopg.OperationalError,
    PoolTimeout,
)

EXPECTED = (CommandFailed, errors.MailcacheError, *_DATABASE_AWAY)
"""What a command may fail with; anything else is a bug and ends the connection."""


def answer_to(error: Exception) -> Answer:
    """Return the answer to a command that failed with one of ``EXPECTED``."""
    if isinstance(error, CommandFailed):
        return error.answer
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Answer("NO", str(error), code)
    if isinstance(error, _DATABASE_AWAY):
        return Answer("NO", "the database does not answer, try again later", "UNAVAILABLE")
    return Answer("NO", str(error), "SERVERBUG")
