"""Label mailboxes in a run: found in LIST, filled from All Mail, never opened upstream themselves.

Where All Mail is hidden from IMAP they are mirrored one by one like other mailboxes. Switching from one to the other
keeps every message, its UID and its bytes (``mailcache.services.label_adoption``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailcache.models import Mailbox, MailboxRole, Remote
from mailcache.services.label_adoption import split_off
from mailcache.services.labels import apply_labels, hide_all_mail, remove_unlabelled, set_labels, show_label
from mailcache.services.notices import set_notice
from sync import planner
from sync.gmail import (
    CAPPED_NOTICE,
    HIDDEN_NOTICE,
    X_GM_EXT_1,
    LabelMailbox,
    is_all_mail,
    is_capped,
    labels_of_mailboxes,
    mailboxes_to_fetch_first,
)
from sync.models import Checkpoint
from sync.profiles import Profile
from sync.services.checkpoints import note_filled, want_filled
from sync.upstream.values import ListedMailbox
from sync.work import SliceWork

_TOPIC = "All Mail"
_LIMIT_TOPIC = "Size of All Mail"
_CHUNK = planner.CHUNK_MESSAGES


def are_labels_told(work: SliceWork, mailbox: Mailbox) -> bool:
    """Tell whether the labels of this mailbox's messages decide which other mailboxes show them."""
    return is_labels_source(mailbox, work.profile) and work.upstream.client.may(X_GM_EXT_1)


def is_labels_source(mailbox: Mailbox, profile: Profile) -> bool:
    """Tell whether other mailboxes show what is in this one."""
    return mailbox.role == MailboxRole.ALL and profile.labels


def with_hidden(work: SliceWork, listed: Sequence[ListedMailbox]) -> list[ListedMailbox]:
    """Return a LIST answer with the All Mail that is here and that the upstream hides: it is not gone."""
    if not work.profile.labels or any(map(is_all_mail, listed)):
        return list(listed)
    hidden = Mailbox.objects.mirrored(work.account.pk).filter(role=MailboxRole.ALL).order_by("pk")[:1]
    names = {entry.name_raw for entry in listed}
    return [
        *listed,
        *(
            ListedMailbox(bytes(mailbox.upstream_name), mailbox.name, mailbox.upstream_delimiter, frozenset({"\\All"}))
            for mailbox in hidden
            if mailbox.upstream_name is not None and bytes(mailbox.upstream_name) not in names
        ),
    ]


def take_over_labels(work: SliceWork, listed: Sequence[ListedMailbox], *, settlements: int) -> None:
    """Note which mailboxes show labels, by what LIST says; raises ``SliceOver`` between steps of a conversion.

    ``settlements`` was read before the LIST.
    """
    account_id = work.account.pk
    labelled = Mailbox.objects.mirrored(account_id).exclude(label="")
    labels: Mapping[bytes, str] | None = None
    if work.profile.labels:
        if not work.upstream.client.may(X_GM_EXT_1):
            return  # not on this connection (quirk 45)
        labels = labels_of_mailboxes(listed)
    elif _TOPIC not in work.account.notice and not labelled.exists():
        return
    if labels is None:
        for mailbox in labelled:
            while split_off(fence=work.fence, mailbox_id=mailbox.pk, limit=_CHUNK):
                work.pause_point()
    new = set_labels(fence=work.fence, labels=labels or {}, settlements=settlements)
    want_filled(fence=work.fence, mailbox_ids=new)
    is_hidden = work.profile.labels and labels is None
    hide_all_mail(fence=work.fence, hidden=is_hidden)
    set_notice(account_id=account_id, topic=_TOPIC, text=HIDDEN_NOTICE if is_hidden else "")


def fill_label_mailboxes(work: SliceWork) -> None:
    """Show messages in label mailboxes that are new here, once All Mail has been compared.

    Raises ``SliceOver`` between steps.
    """
    if not work.profile.labels:
        return
    account_id = work.account.pk
    labelled = Mailbox.objects.mirrored(account_id).exclude(label="")
    source = Mailbox.objects.mirrored(account_id).filter(role=MailboxRole.ALL).first()
    compared = Checkpoint.objects.filter(account_id=account_id, mailbox=source, failures=0, uidnext__isnull=False)
    checkpoint = compared.first()
    if source is None or checkpoint is None or not labelled.exists():
        return
    capped = is_capped(checkpoint.exists or 0)
    set_notice(account_id=account_id, topic=_LIMIT_TOPIC, text=CAPPED_NOTICE if capped else "")
    filled = Checkpoint.objects.filter(account_id=account_id, compared_at__isnull=False, full_wanted=False)
    for mailbox in labelled.exclude(pk__in=filled.values("mailbox_id")).order_by("pk"):
        _fill(work, mailbox)
    note_filled(fence=work.fence)


def _fill(work: SliceWork, mailbox: Mailbox) -> None:
    above: int | None = 0
    while above is not None:
        above = show_label(fence=work.fence, mailbox_id=mailbox.pk, above=above, limit=_CHUNK)
        work.pause_point()
    while removed := remove_unlabelled(fence=work.fence, mailbox_id=mailbox.pk, limit=_CHUNK):
        work.counters.messages_removed += removed
        work.pause_point()
    note_filled(fence=work.fence, mailbox_id=mailbox.pk)


def take_labels(
    work: SliceWork, mailbox: Mailbox, labels: Mapping[int, tuple[str, ...]], *, settlements: int = 0
) -> bool:
    """Take over labels of messages of All Mail by upstream UID; tells whether any had changed.

    ``settlements`` is what the account had counted before they were read.
    """
    is_changed = False
    for chunk in planner.chunks(sorted(labels)):
        known = Remote.objects.numbered(mailbox.account_id, mailbox.pk, mailbox.upstream_uidvalidity or 0)
        rows = known.filter(uid__in=chunk).values_list("uid", "labels")
        changed = {uid: labels[uid] for uid, before in rows if set(before) != set(labels[uid])}
        if changed:
            apply_labels(
                fence=work.fence,
                source_mailbox_id=mailbox.pk,
                uidvalidity=mailbox.upstream_uidvalidity or 0,
                labels=changed,
                settlements=settlements,
            )
            is_changed = True
            work.pause_point()
    return is_changed


def fetch_first(account_id: int) -> dict[int, list[int]]:
    """Return, by mailbox, the label mailboxes whose messages are to be fetched from it before others."""
    rows = Mailbox.objects.mirrored(account_id).exclude(label="").values_list("pk", "role", "label")
    first = mailboxes_to_fetch_first([LabelMailbox(*row) for row in rows])
    sources = Mailbox.objects.mirrored(account_id).filter(role=MailboxRole.ALL).values_list("pk", flat=True)
    return dict.fromkeys(sources, first) if first else {}
