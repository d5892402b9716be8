"""The audit: is what we believe to be upstream really there? One mailbox of an account at a time, by checksum.

A sync reads only what the upstream says has changed, so that a change that it failed to tell, or that we failed to
keep, would stay unnoticed. The audit reads all UIDs with their flags, and labels where mailboxes are labels, in one
command and keeps none of them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from random import Random

from django.utils import timezone

from mailcache.errors import LeaseLost, SealBroken
from mailcache.flags import FlagSet
from mailcache.models import Account, AccountState, LeaseKind, Remote
from mailcache.services import leases
from mailcache.services.leases import Fence
from mailcache.services.repair import repair_mailbox
from sync import scheduling
from sync.checksum import MailboxChecksum
from sync.connection import UpstreamSession, new_holder
from sync.errors import NoConnectionFree
from sync.gmail import X_GM_EXT_1, canonical_labels
from sync.heartbeat import Heartbeat
from sync.label_mailboxes import is_labels_source
from sync.lanes import Lane
from sync.models import Checkpoint, Purpose, SyncRun
from sync.services.audits import auditable, claim_audits, note_audited, note_moved, put_off_audit
from sync.services.usage import forget_usage, record_usage
from sync.slice_connections import SliceConnections
from sync.upstream.errors import UpstreamError
from sync.upstream.values import FetchedMessage, SelectedMailbox

logger = logging.getLogger(__name__)

_AT_ONCE = 1000
_USAGE_KEPT = timedelta(days=92)
# Few combinations of flags are in use, whatever the number of messages.
_parse = lru_cache(maxsize=4096)(FlagSet.parse)
_canonical = lru_cache(maxsize=4096)(canonical_labels)
# A mailbox that changed since its last comparison is left to the sync, and the next one is looked at instead: first so
# many of those not audited for the longest time, then as many others, so that busy ones do not keep the rest waiting.
_LOOKED_AT = 3


class AuditEnd(Enum):
    """What an audit found."""

    AGREED = "the mailbox is the same here and upstream"
    DIFFERED = "it is not; the next sync compares all of it"
    NOTHING = "there is no mailbox that can be audited now"
    BUSY = "somebody works on the account"
    FAILED = "the upstream could not be asked"


def enqueue_due_audits() -> int:
    """Enqueue the accounts of which a mailbox is to be audited; returns how many."""
    due = claim_audits(now=timezone.now(), limit=_AT_ONCE)
    for account_id in due:
        scheduling.enqueue_audit(account_id)
    return len(due)


def audit_account(account_id: int) -> AuditEnd:
    """Audit the mailbox of an account that was not audited for the longest time."""
    account = Account.objects.syncable().filter(pk=account_id, state=AccountState.ACTIVE).first()
    if account is None:
        return AuditEnd.NOTHING
    fence = None
    if not SyncRun.objects.open().filter(account=account).exists():
        fence = leases.acquire(account_id=account_id, kind=LeaseKind.SYNC, holder=new_holder())
    if fence is None:
        put_off_audit(account_id=account_id)
        return AuditEnd.BUSY
    try:
        return _audit(account, fence)
    except NoConnectionFree:
        put_off_audit(account_id=account_id)
        return AuditEnd.BUSY
    except (UpstreamError, SealBroken, LeaseLost) as error:
        # The account's next sync meets the same fault and is the one to say so.
        logger.info("account %s: no audit: %s", account_id, error)
        return AuditEnd.FAILED
    finally:
        leases.release(fence)
        # Also for those who asked while the lease was held.
        if Checkpoint.objects.wanted(timezone.now()).filter(account_id=account_id).exists():
            scheduling.enqueue(account_id, full=False, urgent=True)


def _audit(account: Account, fence: Fence) -> AuditEnd:
    rng = Random()  # noqa: S311 - jitter, not a secret
    checkpoints = _some(auditable(account.pk), rng)
    # With the patience of the slow lane: nobody waits for an audit.
    connections = SliceConnections(account, holder=fence.holder, lane=Lane.SLOW, rng=rng)
    upstream = connections.open(Purpose.SYNC)
    try:
        with Heartbeat(fence, on_beat=connections.renew_slots, abort=connections.abort):
            ends = (_MailboxAudit(upstream, fence, checkpoint).run() for checkpoint in checkpoints)
            return next((end for end in ends if end is not None), AuditEnd.NOTHING)
    finally:
        connections.close()
        today = timezone.now().date()
        record_usage(account_id=account.pk, day=today, by_command=connections.new_usage())
        forget_usage(account_id=account.pk, before=today - _USAGE_KEPT)


def _some(checkpoints: Sequence[Checkpoint], rng: Random) -> Sequence[Checkpoint]:
    others = checkpoints[_LOOKED_AT:]
    return [*checkpoints[:_LOOKED_AT], *rng.sample(others, min(_LOOKED_AT, len(others)))]


class _MailboxAudit:
    """One look at one mailbox."""

    def __init__(self, upstream: UpstreamSession, fence: Fence, checkpoint: Checkpoint) -> None:
        self._upstream = upstream
        self._fence = fence
        self._checkpoint = checkpoint
        self._mailbox = checkpoint.mailbox
        self._name = bytes(self._mailbox.upstream_name or b"")
        self._key = secrets.token_bytes(16)

    def run(self) -> AuditEnd | None:
        """Compare, note and repair; None when the mailbox has changed since the last comparison."""
        selected = self._upstream.examine(self._name)
        there = self._read_upstream(selected) if self._is_in_step(selected) else None
        if there is None or there.count != selected.exists:
            self._leave_to_sync()
            return None
        here = self._read_here()
        same_uids, same_flags = there.uids == here.uids, there.flags == here.flags
        # What changed while it was read is no difference.
        if not (same_uids and same_flags) and not self._is_in_step(self._upstream.examine(self._name)):
            self._leave_to_sync()
            return None
        repaired = self._repair()
        # Without HIGHESTMODSEQ flags may have changed unnoticed: brought in step, but nobody's fault.
        at_fault = repaired > 0 or not same_uids or (not same_flags and selected.highestmodseq is not None)
        wrong = repaired > 0 or not (same_uids and same_flags)
        note_audited(fence=self._fence, checkpoint=self._checkpoint, repair=wrong, counted=at_fault)
        if at_fault:
            logger.warning(
                "account %s, mailbox %s: the audit found a difference: UIDs %s, flags %s, %d messages repaired here",
                self._mailbox.account_id, self._mailbox.pk,
                "agree" if same_uids else "differ", "agree" if same_flags else "differ", repaired,
            )  # fmt: skip
        return AuditEnd.DIFFERED if wrong else AuditEnd.AGREED

    def _is_in_step(self, selected: SelectedMailbox) -> bool:
        """Tell whether the upstream says of the mailbox what it said when it was last compared."""
        before = self._checkpoint
        pairs = (
            (selected.uidnext, before.uidnext),
            (selected.highestmodseq, before.highestmodseq),
        )
        told = all(now == then for now, then in pairs if now is not None and then is not None)
        return told and (selected.uidvalidity, selected.exists) == (before.uidvalidity, before.exists)

    def _leave_to_sync(self) -> None:
        note_moved(fence=self._fence, checkpoint=self._checkpoint)

    def _read_upstream(self, selected: SelectedMailbox) -> MailboxChecksum:
        checksum = MailboxChecksum(self._key)

        def add(message: FetchedMessage) -> None:
            if message.uid is None or message.flags is None:
                return
            if self._with_labels:
                checksum.add(message.uid, _parse(message.flags).unmarked(), _canonical(message.labels or ()))
            else:
                checksum.add(message.uid, _parse(message.flags))

        client = self._upstream.client
        items = b"(FLAGS X-GM-LABELS)" if self._with_labels else b"(FLAGS)"
        if not self._upstream.profile.wide_ranges:
            client.uid_fetch(client.uid_search(), items, on_message=add)
        # Some servers refuse 1:* where there is nothing.
        elif selected.exists:
            client.uid_fetch_set(b"1:*", items, on_message=add)
        return checksum

    @property
    def _with_labels(self) -> bool:
        profile, client = self._upstream.profile, self._upstream.client
        return is_labels_source(self._mailbox, profile) and client.may(X_GM_EXT_1)

    def _read_here(self) -> MailboxChecksum:
        checksum = MailboxChecksum(self._key)
        agreed = Remote.objects.numbered(
            self._mailbox.account_id, self._mailbox.pk, self._mailbox.upstream_uidvalidity or 0
        )
        columns = agreed.values_list("uid", "flags", "keywords", "labels")
        for uid, flags, keywords, labels in columns.iterator(chunk_size=10_000):
            checksum.add(uid, FlagSet.of(flags, keywords), labels if self._with_labels else ())
        return checksum

    def _repair(self) -> int:
        """Put right what contradicts itself here; the upstream is not asked for that."""
        return repair_mailbox(
            fence=self._fence,
            mailbox_id=self._mailbox.pk,
            uidvalidity=self._mailbox.upstream_uidvalidity or 0,
        )
