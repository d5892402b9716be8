"""What an operator asks of the sync of one mailbox: each is written down first and then given to a worker."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Mailbox
from sync.models import Checkpoint
from sync.scheduling import enqueue


@transaction.atomic
def sync_mailbox(*, mailbox: Mailbox, everything: bool = False) -> None:
    """Have one mailbox compared as soon as a worker is free, also one that is left alone after failures.

    ``everything`` makes that comparison trust no number: every UID and all flags are read.
    """
    if mailbox.upstream_name is None or not mailbox.selectable or mailbox.label:
        raise InvalidValue(f"{mailbox} has no counterpart upstream that could be compared")
    values: dict[str, object] = {"wanted_at": timezone.now(), "retry_at": None}
    if everything:
        values["full_wanted"] = True
    Checkpoint.objects.update_or_create(account_id=mailbox.account_id, mailbox=mailbox, defaults=values)
    transaction.on_commit(partial(enqueue, mailbox.account_id, full=False, urgent=True), robust=True)


@transaction.atomic
def confirm_deletions(*, mailbox: Mailbox) -> None:
    """Believe a mass deletion upstream that the mailbox is being guarded against; raises ``InvalidValue``."""
    held = Checkpoint.objects.filter(account_id=mailbox.account_id, mailbox=mailbox, gone_seen_at__isnull=False)
    if not held.update(gone_confirmed=True):
        raise InvalidValue(f"no deletions are held back in {mailbox}")
    sync_mailbox(mailbox=mailbox)
