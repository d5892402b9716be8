"""What a watcher does when an upstream speaks of INBOX."""

from __future__ import annotations

from mailcache.models import Mailbox, MailboxRole
from sync.services.checkpoints import want_mailboxes


def want_inbox(*, account_id: int) -> bool:
    """Note that the upstream spoke of INBOX; False while there is none here."""
    return bool(want_mailboxes(account_id=account_id, mailbox_ids=[inbox_id(account_id)]))


def inbox_id(account_id: int) -> int:
    """Return the account's INBOX, or 0."""
    inbox = Mailbox.objects.mirrored(account_id).filter(role=MailboxRole.INBOX).first()
    return inbox.pk if inbox else 0
