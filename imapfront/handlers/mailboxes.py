"""NAMESPACE, LIST, LSUB, STATUS (RFC 2342, RFC 3501 6.3.8-10, RFC 5258, RFC 5819)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from imapfront.errors import Answer, completed
from imapfront.mailbox_tree import Selection, list_names, lsub_names
from imapfront.session import Session
from imapfront.wire import commands as c
from imapfront.wire import responses
from mailcache.errors import MailboxNotSelectable, NoSuchMailbox
from mailcache.reads.mailboxes import MailboxInfo, count_recent, find_mailbox, list_mailboxes, namespace_prefixes


async def run_namespace(session: Session, _: c.Namespace) -> Answer:
    """Tell the prefixes of the session's accounts."""
    session.write(responses.namespace(await namespace_prefixes(session.services.pool, session.user)))
    return completed("NAMESPACE completed")


async def run_list(session: Session, command: c.List) -> Answer:
    """Tell the names that match, and their status where it is asked for."""
    if command.patterns == ("",):
        session.write(responses.delimiter_response())
        return completed("LIST completed")
    wanted = Selection(
        subscribed_only=command.subscribed_only,
        special_use_only=command.special_use_only,
        recursive_match=command.recursive_match,
        return_subscribed=command.return_subscribed,
    )
    mailboxes = await list_mailboxes(session.services.pool, session.user)
    shown = list_names(mailboxes, command.reference, command.patterns, wanted)
    selectable = [cast(MailboxInfo, one.mailbox) for one in shown if one.mailbox is not None and one.mailbox.selectable]
    recent = await _recent(session, selectable, command.return_status)
    for one in shown:
        session.write(responses.list_response(one.name, one.attributes, child_info=one.subscribed_below))
        if command.return_status and one.mailbox is not None and one.mailbox.selectable:
            _write_status(session, cast(MailboxInfo, one.mailbox), command.return_status, recent)
    return completed("LIST completed")


async def run_lsub(session: Session, command: c.Lsub) -> Answer:
    """Tell the subscribed names that match."""
    if command.pattern == "":
        session.write(responses.delimiter_response(b"LSUB"))
        return completed("LSUB completed")
    mailboxes = await list_mailboxes(session.services.pool, session.user)
    for one in lsub_names(mailboxes, command.reference, command.pattern):
        session.write(responses.list_response(one.name, one.attributes, command=b"LSUB"))
    return completed("LSUB completed")


async def run_status(session: Session, command: c.Status) -> Answer:
    """Tell counters of one mailbox."""
    mailbox = await find_mailbox(session.services.pool, session.user, command.mailbox)
    if mailbox is None:
        raise NoSuchMailbox("no such mailbox")
    if not mailbox.selectable:
        raise MailboxNotSelectable("this name holds no messages")
    recent = await _recent(session, [mailbox], command.items)
    _write_status(session, mailbox, command.items, recent)
    return completed("STATUS completed")


async def _recent(session: Session, mailboxes: Sequence[MailboxInfo], items: Sequence[c.StatusItem]) -> dict[int, int]:
    if c.StatusItem.RECENT not in items:
        return {}
    return await count_recent(session.services.pool, session.user, [mailbox.id for mailbox in mailboxes])


def _write_status(
    session: Session, mailbox: MailboxInfo, items: Sequence[c.StatusItem], recent: dict[int, int]
) -> None:
    values = {
        c.StatusItem.MESSAGES: mailbox.messages,
        c.StatusItem.RECENT: recent.get(mailbox.id, 0),
        c.StatusItem.UIDNEXT: mailbox.uidnext,
        c.StatusItem.UIDVALIDITY: mailbox.uidvalidity,
        c.StatusItem.UNSEEN: mailbox.unseen,
        c.StatusItem.HIGHESTMODSEQ: mailbox.highestmodseq,
    }
    if c.StatusItem.HIGHESTMODSEQ in items:
        session.enable_condstore()
    session.write(responses.status_response(mailbox.name, {item.value: values[item] for item in items}))
