"""How the sync of one mailbox stands, from its checkpoint, for the console."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from imapped_site.units import age, decimal
from mailcache.models import Mailbox
from sync.models import Checkpoint
from sync.services.checkpoints import first_sight


@dataclass(frozen=True, slots=True)
class MailboxSync:
    """One mailbox's position; ``checkpoint`` is None before its first comparison."""

    mailbox: Mailbox
    checkpoint: Checkpoint | None
    now: datetime

    @property
    def is_mirrored(self) -> bool:
        """Tell whether there is something upstream to be compared with."""
        return self.mailbox.upstream_name is not None and self.mailbox.selectable and not self.mailbox.label

    @property
    def held(self) -> int:
        """Return how many deletions are held back."""
        seen = first_sight(self.checkpoint) if self.checkpoint else None
        return len(seen.uids) if seen else 0

    @property
    def is_confirmed(self) -> bool:
        """Tell whether an operator has said that they are meant."""
        return self.checkpoint is not None and self.checkpoint.gone_confirmed

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """Return what is known, as titles and texts."""
        row = self.checkpoint
        if row is None:
            return (("Last compared", "never"),)
        now = self.now
        told = (
            ("Last compared", age(now, row.compared_at)),
            ("Flags of all messages", f"compared {age(now, row.flags_compared_at)}" if row.flags_compared_at else ""),
            ("Changes are found by", _tier(row)),
            ("Asked for", f"{age(now, row.wanted_at)}, not compared since" if row.wanted_at else ""),
            ("Next comparison", "trusts no number: all UIDs and flags are read" if row.full_wanted else ""),
            ("Failed", f"{row.failures} times in a row: {row.reason}" if row.reason else ""),
            ("Left alone", f"tried again {age(now, row.retry_at)}" if row.retry_at and row.retry_at > now else ""),
            ("Renumbered", f"{row.uidvalidity_changes} times lately" if row.uidvalidity_changes else ""),
            ("Audited", self._audit(row)),
        )
        return tuple((title, text) for title, text in told if text)

    def _audit(self, row: Checkpoint) -> str:
        number = row.audit_differences
        found = f"; {decimal(number)} audit{'s' if number > 1 else ''} found a difference" if number else ""
        return f"{age(self.now, row.audited_at)}{found}"

    @property
    def held_since(self) -> str:
        """Return since when deletions are held back."""
        return age(self.now, self.checkpoint.gone_seen_at) if self.checkpoint else ""


def read_mailbox_sync(mailbox: Mailbox) -> MailboxSync:
    """Read a mailbox's position."""
    checkpoint = Checkpoint.objects.filter(account_id=mailbox.account_id, mailbox=mailbox).first()
    return MailboxSync(mailbox, checkpoint, timezone.now())


def _tier(row: Checkpoint) -> str:
    if row.uidvalidity is None:
        return ""
    return "HIGHESTMODSEQ (CONDSTORE)" if row.highestmodseq else "the set of UIDs, and by asking for flags"
