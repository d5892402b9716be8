"""COPY and MOVE from one account of a user to another: to the upstreams an APPEND there and an EXPUNGE here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta, timezone
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import transaction

from mailcache.errors import BytesNotHere, MessagesGone
from mailcache.flags import FlagSet
from mailcache.journal import lock_mailbox
from mailcache.models import Content, Message
from mailcache.segments import read_chunks
from mailcache.services.append import AppendedMessage, AppendResult, append_messages, spooled_message
from mailcache.services.expunge import remove_selected
from mailcache.services.label_changes import trash_of
from mailcache.services.mailbox_locks import Locks, with_locks
from mailcache.services.selected_messages import select_messages
from mailcache.services.transferred import TransferResult
from mailcache.spool import SpooledLiteral, spool_directory
from mailcache.wire.number_set import NumberSet


def copy_across_accounts(
    *, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet, all_or_none: bool = False
) -> TransferResult:
    """Copy messages into a mailbox of another account of the user.

    Those that do not exist are left out; with ``all_or_none`` ``MessagesGone`` is raised instead. Raises
    ``NoSuchMailbox``, ``OverQuota``, and ``BytesNotHere`` for messages whose bytes have yet to come.
    """
    messages = _messages(user_id, mailbox_id, uids, all_or_none=all_or_none)
    return _result(messages, _append(user_id, target_id, messages))


def move_across_accounts(
    *, user_id: int, mailbox_id: int, target_id: int, uids: NumberSet, all_or_none: bool = False
) -> TransferResult:
    """Move messages into a mailbox of another account of the user: they are there before they go here.

    Raises ``NoTrash`` beside what ``copy_across_accounts`` raises.
    """
    # Found out when they are there already, each further attempt would make another copy.
    with_locks([mailbox_id], lambda locks: trash_of(locks[mailbox_id]), user_id=user_id)
    messages = _messages(user_id, mailbox_id, uids, all_or_none=all_or_none)
    result = _result(messages, _append(user_id, target_id, messages))
    with_locks([mailbox_id], partial(_remove, mailbox_id, result.source_uids), user_id=user_id)
    return result


def _remove(mailbox_id: int, uids: Sequence[int], locks: Locks) -> None:
    locked = locks[mailbox_id]
    copied = select_messages(locked, NumberSet.from_numbers(uids))
    if copied:
        remove_selected(locks, locked, copied)


def _messages(user_id: int, mailbox_id: int, uids: NumberSet, *, all_or_none: bool) -> list[Message]:
    rows = Message.objects.filter(account__user_id=user_id, mailbox_id=mailbox_id, uid__in=list(uids))
    messages = list(rows.select_related("content__segment").order_by("uid"))
    if all_or_none and len(messages) < len(uids):
        raise MessagesGone("some of the messages no longer exist")
    if any(message.content is None for message in messages):
        raise BytesNotHere("some of these messages have not been fetched from their server yet, try again later")
    return messages


def _append(user_id: int, target_id: int, messages: list[Message]) -> AppendResult:
    directory = spool_directory(Path(settings.DATA_DIR))
    account_id = _owner(user_id, target_id)
    appended: list[AppendedMessage] = []
    for message in messages:
        literal = SpooledLiteral(directory)
        try:
            if message.content is not None:
                _read_into(literal, message.content)
            appended.append(
                spooled_message(
                    literal,
                    account_id=account_id,
                    flags=FlagSet.of(message.flags, message.keywords),
                    internal_date=message.internal_date.astimezone(timezone(timedelta(minutes=message.internal_zone))),
                )
            )
        finally:
            literal.discard()
    if not appended:
        return AppendResult(1, ())
    return append_messages(user_id=user_id, mailbox_id=target_id, messages=appended)


def _owner(user_id: int, mailbox_id: int) -> int:
    with transaction.atomic():
        return lock_mailbox(mailbox_id, user_id=user_id).account_id


def _read_into(literal: SpooledLiteral, content: Content) -> None:
    if content.inline is not None:
        literal.write(bytes(content.inline))
    elif content.segment is not None:
        for chunk in read_chunks(content.segment.name, content.offset, content.size):
            literal.write(chunk)


def _result(messages: list[Message], appended: AppendResult) -> TransferResult:
    return TransferResult(appended.uidvalidity, [message.uid for message in messages], appended.uids)
