"""Settlement of CREATE, DELETE and RENAME: what the upstream calls mailboxes from now on."""

from __future__ import annotations

from django.db import transaction
from django.db.models import Exists

from mailcache.errors import NameTaken
from mailcache.models import Mailbox, Mutation, MutationKind, MutationState, Remote
from mailcache.services import leases
from mailcache.services.ingest_list import delete_mailbox_rows
from mailcache.services.leases import Fence
from mailcache.services.rows import execute
from mailcache.services.settle_labels import forget_label, rename_label
from mailcache.services.settlement import begin_settlement
from mailcache.wire import utf7

# A message that was taken out of a mailbox is no longer that mailbox's affair.
_SETTLED_ELSEWHERE = """
    UPDATE mailcache_mutation SET mailbox_id = target_id
    WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s AND target_id <> %(mailbox)s AND state = %(settled)s
"""
# What was yet to be moved into it is as good as deleted.
_MOVED_INTO = """
    UPDATE mailcache_mutation
    SET kind = %(expunge)s, target_id = NULL, message_id = NULL, state = %(pending)s, noted = '{}'
    WHERE account_id = %(account)s AND target_id = %(mailbox)s AND mailbox_id <> %(mailbox)s
      AND kind = %(move)s AND state <> %(settled)s
"""
_INTO = """
    WITH into_it AS (
        SELECT id FROM mailcache_mutation
        WHERE account_id = %(account)s AND (target_id = %(mailbox)s OR mailbox_id = %(mailbox)s)
    ), dependent AS (
        UPDATE mailcache_mutation SET depends_on_id = NULL
        WHERE account_id = %(account)s AND depends_on_id IN (SELECT id FROM into_it)
          AND id NOT IN (SELECT id FROM into_it)
    )
    DELETE FROM mailcache_mutation WHERE account_id = %(account)s AND id IN (SELECT id FROM into_it)
"""
_MOVED_INTO_NAMES = {
    "expunge": MutationKind.EXPUNGE.value,
    "move": MutationKind.MOVE.value,
    "pending": MutationState.PENDING.value,
}
_OF_ITS_REMOTES = """
    UPDATE mailcache_mutation SET remote_id = NULL
    WHERE account_id = %(account)s
      AND remote_id IN (SELECT id FROM mailcache_remote WHERE account_id = %(account)s AND mailbox_id = %(mailbox)s)
"""


@transaction.atomic
def settle_create(*, fence: Fence, mutation_id: int, upstream_name: bytes, delimiter: str) -> None:
    """Note that a mailbox exists upstream; raises ``NameTaken`` where another mailbox here is that one."""
    mutation = _settle(fence, mutation_id)
    if mutation is None or mutation.mailbox is None:
        return
    _check_free(mutation.mailbox, upstream_name)
    if mutation.mailbox.label:
        rename_label(mutation.mailbox, utf7.decode(upstream_name))
    Mailbox.objects.filter(pk=mutation.mailbox.pk).update(
        upstream_name=upstream_name, upstream_delimiter=delimiter, upstream_uidvalidity=None, upstream_mailbox_id=""
    )


@transaction.atomic
def note_made_again(*, fence: Fence, mailbox_id: int) -> None:
    """Note that we made a mailbox again whose upstream one was gone, and is perhaps there under another name.

    Where nothing is known to be in that one, it is not this one any more: it would be taken for this one, renamed.
    """
    leases.check(fence)
    mailbox = Mailbox.objects.filter(account_id=fence.account_id, pk=mailbox_id)
    mailbox.exclude(Exists(Remote.objects.filter(account_id=fence.account_id, mailbox_id=mailbox_id))).update(
        upstream_uidvalidity=None, upstream_mailbox_id=""
    )


@transaction.atomic
def settle_rename(*, fence: Fence, mutation_id: int, upstream_name: bytes) -> None:
    """Note that a mailbox, with all below it, has another name upstream; raises ``NameTaken``."""
    mutation = _settle(fence, mutation_id)
    if mutation is None or mutation.mailbox is None:
        return
    mailbox = mutation.mailbox
    before = bytes(mailbox.upstream_name or b"")
    delimiter = mailbox.upstream_delimiter.encode()
    _check_free(mailbox, upstream_name)
    rows = Mailbox.objects.filter(account_id=fence.account_id, upstream_name__isnull=False)
    for row in rows.select_for_update(no_key=True).order_by("pk"):
        name = bytes(row.upstream_name or b"")
        is_below = bool(delimiter) and name.startswith(before + delimiter)
        if row.pk == mailbox.pk or is_below:
            row.upstream_name = upstream_name + name[len(before) :]
            row.save(update_fields=["upstream_name"])
            if row.label and not row.label.startswith("\\"):
                rename_label(row, utf7.decode(row.upstream_name))


@transaction.atomic
def settle_delete(*, fence: Fence, mutation_id: int) -> None:
    """Note that a mailbox is gone upstream: its row and all that is left of it go.

    The mutation stays, without it: a LIST that was read before may not bring the mailbox back.
    """
    mutation = _settle(fence, mutation_id)
    if mutation is None or mutation.mailbox is None:
        return
    mailbox = mutation.mailbox
    Mutation.objects.filter(pk=mutation.pk).update(mailbox=None)
    which = {"account": fence.account_id, "mailbox": mailbox.pk, "settled": MutationState.SETTLED.value}
    execute(_SETTLED_ELSEWHERE, which)
    execute(_MOVED_INTO, {**which, **_MOVED_INTO_NAMES})
    execute(_INTO, which)
    execute(_OF_ITS_REMOTES, which)
    if mailbox.label:
        forget_label(mailbox)
    delete_mailbox_rows(mailbox)


def _settle(fence: Fence, mutation_id: int) -> Mutation | None:
    settlement = begin_settlement(fence, [mutation_id])
    rows = Mutation.objects.select_for_update(no_key=True, of=("self",)).select_related("mailbox")
    mutation = rows.filter(account_id=fence.account_id, pk=mutation_id).exclude(state=MutationState.SETTLED).first()
    if mutation is not None:
        mutation.state, mutation.settlement, mutation.last_error = MutationState.SETTLED, settlement, ""
        mutation.save(update_fields=["state", "settlement", "last_error"])
    return mutation


def _check_free(mailbox: Mailbox, upstream_name: bytes) -> None:
    others = Mailbox.objects.filter(account_id=mailbox.account_id, upstream_name=upstream_name)
    if others.exclude(pk=mailbox.pk).exists():
        raise NameTaken(f"another mailbox here is the upstream's {upstream_name!r}")
