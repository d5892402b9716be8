"""Flags of messages that are here already: what the upstream changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailcache.flags import FlagSet
from mailcache.models import Mailbox
from mailcache.services.ingest_flags import apply_upstream_flags
from sync import planner
from sync.upstream.values import FetchedMessage
from sync.work import SliceWork


def compare_flags(
    work: SliceWork, mailbox: Mailbox, uidvalidity: int, uids: Sequence[int], agreed: Mapping[int, FlagSet]
) -> None:
    """Take over flags that differ from those last agreed. A message that the answer leaves out keeps its flags."""
    if not uids:
        return
    interned: dict[tuple[str, ...], FlagSet] = {}
    upstream: dict[int, FlagSet] = {}

    def collect(message: FetchedMessage) -> None:
        if message.uid is not None and message.flags is not None:
            upstream[message.uid] = interned.get(message.flags) or interned.setdefault(
                message.flags, FlagSet.parse(message.flags)
            )

    work.upstream.client.uid_fetch(uids, b"(FLAGS)", on_message=collect)
    changed = planner.changed_flags(upstream, agreed)
    for chunk in planner.chunks(sorted(changed)):
        work.counters.flags_changed += apply_upstream_flags(
            fence=work.fence,
            mailbox_id=mailbox.pk,
            uidvalidity=uidvalidity,
            flags={uid: changed[uid] for uid in chunk},
        )
        work.pause_point()
