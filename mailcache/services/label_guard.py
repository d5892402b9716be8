"""Mailboxes that only show a label: what they hold is not changed here before replay knows how to change labels.

There an EXPUNGE takes a label away, a COPY adds one; the plain command would reach the message in all its mailboxes.
"""

from __future__ import annotations

from collections.abc import Collection

from mailcache.errors import LabelMailbox
from mailcache.models import Mailbox


def check_no_label(mailbox_ids: Collection[int]) -> None:
    """Raise ``LabelMailbox`` when one of these mailboxes shows a label of Gmail's."""
    if Mailbox.objects.filter(pk__in=mailbox_ids).exclude(label="").exists():
        raise LabelMailbox("messages cannot be added to or removed from a Gmail label here yet; use Gmail for that")
