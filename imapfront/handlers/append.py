"""APPEND of one or several messages (RFC 3501 6.3.11, RFC 3502), with APPENDUID always (RFC 4315)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.session import Session
from imapfront.wire.changing_commands import Append, AppendedLiteral
from mailcache.reads.mailboxes import MailboxInfo, find_mailbox
from mailcache.services.append import AppendedMessage, AppendResult, append_messages, inline_message, spooled_message
from mailcache.spool import SpooledLiteral
from mailcache.wire.framing import Literal
from mailcache.wire.number_set import NumberSet


async def run_append(session: Session, command: Append) -> Answer:
    """Add messages to a mailbox here, durably; the upstream gets them afterwards."""
    try:
        mailbox = await find_mailbox(session.services.pool, session.user, command.mailbox)
        if mailbox is None:
            raise CommandFailed("no such mailbox", code="TRYCREATE")
        if not mailbox.selectable:
            raise CommandFailed("this name holds no messages", code="CANNOT")
        result = await session.services.threads.run(
            _append, session.user.user_id, mailbox, command.messages, timezone.now()
        )
    finally:
        discard_literals(command)
    uids = NumberSet.from_numbers(result.uids)
    return completed("APPEND completed", code=f"APPENDUID {result.uidvalidity} {uids}")


def discard_literals(command: Append) -> None:
    """Remove the files in which the messages of a command arrived."""
    for message in command.messages:
        if isinstance(message.literal.sink, SpooledLiteral):
            message.literal.sink.discard()


def _append(user_id: int, mailbox: MailboxInfo, literals: Sequence[AppendedLiteral], now: datetime) -> AppendResult:
    messages = [_learn(one, mailbox.account_id, one.internal_date or now) for one in literals]
    return append_messages(user_id=user_id, mailbox_id=mailbox.id, messages=messages)


def _learn(appended: AppendedLiteral, account_id: int, date: datetime) -> AppendedMessage:
    literal: Literal = appended.literal
    if isinstance(literal.sink, SpooledLiteral):
        if literal.sink.size != literal.size:
            raise CommandFailed("the message did not arrive whole", code="UNAVAILABLE")
        return spooled_message(literal.sink, account_id=account_id, flags=appended.flags, internal_date=date)
    return inline_message(literal.data or b"", flags=appended.flags, internal_date=date)
