"""Messages found again by replay in a mailbox that the upstream has given another UIDVALIDITY.

As a rule that is the next comparison's work, and replay waits for it. It cannot wait where no sync compares the
mailbox, as it was deleted here, nor where it has to know what is new in it.
"""

from __future__ import annotations

from mailcache.identity import Traits, upstream_key
from mailcache.models import Mailbox, Remote
from mailcache.services.ingest_relink import relink_messages
from sync.planner import chunks
from sync.replay.identity import Told
from sync.replay.told import told_of
from sync.replay.work import ReplayWork


def relink(work: ReplayWork, mailbox: Mailbox, uidvalidity: int) -> None:
    """Give the messages of the open mailbox their present numbers, as far as they are known again by identity."""
    for uids in chunks(work.upstream.client.uid_search(b"ALL")):
        if not others(mailbox, uidvalidity):
            return
        told = told_of(work, uids)
        traits = {uid: found for uid in sorted(told) if (found := _traits(told[uid])) is not None}
        relink_messages(fence=work.fence, mailbox_id=mailbox.pk, uidvalidity=uidvalidity, traits=traits)


def others(mailbox: Mailbox, uidvalidity: int, **which: object) -> bool:
    """Tell whether messages are known under another UIDVALIDITY only."""
    rows = Remote.objects.filter(account_id=mailbox.account_id, mailbox_id=mailbox.pk, **which)
    return rows.exclude(uidvalidity=uidvalidity).exists()


def _traits(told: Told) -> Traits | None:
    if told.size is None or told.internal_date is None:
        return None
    # Of two (quirk 15) nobody knows which one the message has here.
    message_id = None if len(told.message_ids) > 1 else next(iter(told.message_ids), "")
    return Traits(told.size, told.internal_date, upstream_key(told.upstream_id), message_id)
