"""COPY and MOVE (RFC 3501 6.4.7, RFC 6851), with COPYUID always (RFC 4315)."""

from __future__ import annotations

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.handlers.positions import expect_writable, named_positions
from imapfront.session import Session
from imapfront.wire import responses
from imapfront.wire.changing_commands import Copy, Move
from mailcache.reads.mailboxes import MailboxInfo, find_mailbox
from mailcache.services.transfer import copy_messages, move_messages
from mailcache.services.transfer_across import copy_across_accounts, move_across_accounts
from mailcache.services.transferred import TransferResult
from mailcache.wire.number_set import NumberSet


async def run_copy(session: Session, command: Copy) -> Answer:
    """Copy messages; all of them or none."""
    result = await _transfer(session, command, move=False)
    return completed("COPY completed", code=_copyuid(result))


async def run_move(session: Session, command: Move) -> Answer:
    """Move messages; the EXPUNGE responses follow the COPYUID (RFC 6851 4.3)."""
    expect_writable(session.mailbox)
    result = await _transfer(session, command, move=True)
    if result.target_uids:
        session.write(responses.untagged_status("OK", "moved", code=_copyuid(result)))
    return completed("MOVE completed")


async def _transfer(session: Session, command: Copy | Move, *, move: bool) -> TransferResult:
    selected = session.mailbox
    target = await _target(session, command.mailbox)
    await session.refresh()
    uids = selected.view.uid_set(named_positions(selected, command.numbers, uid=command.uid))
    if target.account_id == selected.account_id:
        transfer = move_messages if move else copy_messages
    else:
        transfer = move_across_accounts if move else copy_across_accounts
    return await session.services.threads.run(
        transfer,
        user_id=session.user.user_id,
        mailbox_id=selected.shared.id,
        target_id=target.id,
        uids=uids,
        all_or_none=not command.uid,
    )


async def _target(session: Session, name: str) -> MailboxInfo:
    target = await find_mailbox(session.services.pool, session.user, name)
    if target is None:
        raise CommandFailed("no such mailbox", code="TRYCREATE")
    if not target.selectable:
        raise CommandFailed("this name holds no messages", code="CANNOT")
    return target


def _copyuid(result: TransferResult) -> str:
    if not result.target_uids:
        return ""
    source, target = NumberSet.from_numbers(result.source_uids), NumberSet.from_numbers(result.target_uids)
    if list(target) != list(result.target_uids):
        # A message that was there already has kept its UID: the order tells which is whose.
        return f"COPYUID {result.uidvalidity} {source} {','.join(map(str, result.target_uids))}"
    return f"COPYUID {result.uidvalidity} {source} {target}"
