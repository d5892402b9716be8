"""Undoing changes of mailbox names that operators drop: what is so upstream is so here again."""

from __future__ import annotations

from collections.abc import Collection

from mailcache.models import Account, Mailbox, Mutation, MutationKind
from mailcache.names import DELIMITER
from mailcache.services.ingest_list import delete_mailbox_rows


def undo_names(account_id: int, ids: Collection[int]) -> None:
    """Undo the DELETE and RENAME mutations among ``ids``, last one first, in the caller's transaction.

    A mailbox that was deleted here comes back with the next LIST, as a new one. One whose old name is taken by now
    keeps the new one.
    """
    rows = Mutation.objects.filter(account_id=account_id, pk__in=ids, mailbox__isnull=False)
    changes = list(rows.filter(kind__in=[MutationKind.DELETE, MutationKind.RENAME]).order_by("-pk"))
    if changes:
        Account.objects.select_for_update(no_key=True).get(pk=account_id)
    for change in changes:
        mailbox = Mailbox.objects.select_for_update(no_key=True).filter(pk=change.mailbox_id or 0).first()
        if mailbox is None:
            continue
        if change.kind == MutationKind.DELETE and mailbox.deleted_at is not None:
            delete_mailbox_rows(mailbox)
        elif change.kind == MutationKind.RENAME and mailbox.deleted_at is None:
            _rename_back(mailbox, change.arguments["to"], change.arguments["from"])


def _rename_back(mailbox: Mailbox, name: str, before: str) -> None:
    present = Mailbox.objects.present(mailbox.account_id)
    if mailbox.name != name or present.filter(name=before).exists():
        return
    taken = set(present.values_list("name", flat=True))
    below = present.filter(name__startswith=name + DELIMITER)
    for row in [mailbox, *below.select_for_update(no_key=True).order_by("pk")]:
        old_name = before + row.name[len(name) :]
        if old_name not in taken:
            row.name = old_name
            row.save(update_fields=["name"])
