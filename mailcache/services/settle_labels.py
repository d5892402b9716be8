"""Settlement of changes of labels: what the upstream's X-GM-LABELS say from now on."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from mailcache.models import LABEL_KINDS, Mailbox, MutationState
from mailcache.services.leases import Fence
from mailcache.services.rows import execute
from mailcache.services.settlement import begin_settlement

_AGREE = """
    UPDATE mailcache_remote
    SET labels = array_remove(labels, %(label)s) || CASE WHEN %(added)s THEN ARRAY[%(label)s] ELSE '{}'::text[] END
    WHERE account_id = %(account)s AND id IN (
        SELECT remote_id FROM mailcache_mutation WHERE account_id = %(account)s AND id = ANY(%(ids)s))
"""
_SETTLE = """
    UPDATE mailcache_mutation SET state = %(settled)s, settlement = %(settlement)s, last_error = ''
    WHERE account_id = %(account)s AND id = ANY(%(ids)s) AND kind = ANY(%(kinds)s) AND state <> %(settled)s
"""
_RENAME = """
    UPDATE mailcache_remote SET labels = array_replace(labels, %(old)s, %(new)s)
    WHERE account_id = %(account)s AND labels @> ARRAY[%(old)s]
"""
_FORGET = """
    UPDATE mailcache_remote SET labels = array_remove(labels, %(label)s)
    WHERE account_id = %(account)s AND labels @> ARRAY[%(label)s]
"""


@transaction.atomic
def settle_labels(*, fence: Fence, ids: Collection[int], label: str, added: bool) -> None:
    """Note that the messages of mutations have a label upstream now, or no longer."""
    which = {
        "account": fence.account_id,
        "ids": list(ids),
        "kinds": [kind.value for kind in LABEL_KINDS],
        "settlement": begin_settlement(fence, ids),
        "settled": MutationState.SETTLED.value,
    }
    execute(_AGREE, {**which, "label": label, "added": added})
    execute(_SETTLE, which)


def rename_label(mailbox: Mailbox, label: str) -> None:
    """Give the label of a mailbox another name, in the caller's transaction; which messages have it is the same."""
    execute(_RENAME, {"account": mailbox.account_id, "old": mailbox.label, "new": label})
    mailbox.label = label
    mailbox.save(update_fields=["label"])


def forget_label(mailbox: Mailbox) -> None:
    """Note that no message has the label of a mailbox, in the caller's transaction: it was deleted."""
    execute(_FORGET, {"account": mailbox.account_id, "label": mailbox.label})
