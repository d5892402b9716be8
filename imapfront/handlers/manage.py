"""CREATE, DELETE, RENAME, SUBSCRIBE, UNSUBSCRIBE (RFC 3501 6.3.3-6.3.7, RFC 6154 3)."""

from __future__ import annotations

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.session import Session
from imapfront.wire.changing_commands import Create, Delete, Rename, Subscribe, Unsubscribe
from mailcache.errors import NoSuchMailbox
from mailcache.models import MailboxRole
from mailcache.reads.mailboxes import MailboxInfo, find_mailbox, locate_name
from mailcache.services.mailbox_changes import create_mailbox, delete_mailbox, rename_mailbox, set_subscribed

_ROLES = {f"\\{role.value}": role for role in MailboxRole if role not in (MailboxRole.NONE, MailboxRole.INBOX)}


async def run_create(session: Session, command: Create) -> Answer:
    """Create a mailbox, with a special use where one is asked for."""
    account_id, name = await _place(session, command.mailbox)
    unknown = [use for use in command.uses if use not in _ROLES]
    if unknown or len(command.uses) > 1:
        raise CommandFailed("a mailbox can have one special use, of those that LIST tells", code="USEATTR")
    role = _ROLES[command.uses[0]] if command.uses else MailboxRole.NONE
    mailbox = await session.services.threads.run(
        create_mailbox, user_id=session.user.user_id, account_id=account_id, name=name, role=role
    )
    return completed("CREATE completed", code=f"MAILBOXID ({mailbox.object_id})")


async def run_delete(session: Session, command: Delete) -> Answer:
    """Delete a mailbox with what is in it."""
    mailbox = await _existing(session, command.mailbox)
    await session.services.threads.run(delete_mailbox, user_id=session.user.user_id, mailbox_id=mailbox.id)
    return completed("DELETE completed")


async def run_rename(session: Session, command: Rename) -> Answer:
    """Give a mailbox, and what is below it, another name."""
    mailbox = await _existing(session, command.mailbox)
    account_id, name = await _place(session, command.new_name)
    if account_id != mailbox.account_id:
        raise CommandFailed("a mailbox cannot move to another account", code="CANNOT")
    await session.services.threads.run(rename_mailbox, user_id=session.user.user_id, mailbox_id=mailbox.id, name=name)
    return completed("RENAME completed")


async def run_subscribe(session: Session, command: Subscribe) -> Answer:
    """Have LSUB show a mailbox."""
    return await _set_subscribed(session, command.mailbox, subscribed=True)


async def run_unsubscribe(session: Session, command: Unsubscribe) -> Answer:
    """Have LSUB leave a mailbox out."""
    return await _set_subscribed(session, command.mailbox, subscribed=False)


async def _set_subscribed(session: Session, name: str, *, subscribed: bool) -> Answer:
    mailbox = await _existing(session, name)
    await session.services.threads.run(
        set_subscribed, user_id=session.user.user_id, mailbox_id=mailbox.id, subscribed=subscribed
    )
    return completed("SUBSCRIBE completed" if subscribed else "UNSUBSCRIBE completed")


async def _existing(session: Session, name: str) -> MailboxInfo:
    mailbox = await find_mailbox(session.services.pool, session.user, name)
    if mailbox is None:
        raise NoSuchMailbox("no such mailbox")
    return mailbox


async def _place(session: Session, name: str) -> tuple[int, str]:
    place = await locate_name(session.services.pool, session.user, name)
    if place is None:
        raise CommandFailed("there is no account to create a mailbox in", code="CANNOT")
    return place
