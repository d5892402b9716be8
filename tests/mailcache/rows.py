"""What tests of the ingest look at: rows and journal of one mailbox, and whether they tell the same."""

from __future__ import annotations

from django.db.models import Sum

from mailcache.flags import FlagSet, SystemFlag
from mailcache.models import Change, Mailbox, Message
from mailcache.segments import read_range
from mailcache.wire.number_set import NumberSet


def uids_of(mailbox: Mailbox) -> list[int]:
    """Return our UIDs of a mailbox."""
    return list(Message.objects.filter(mailbox=mailbox).order_by("uid").values_list("uid", flat=True))


def upstream_uids(mailbox: Mailbox, uidvalidity: int) -> dict[int, int]:
    """Return the upstream UIDs of messages, by our UIDs, under one UIDVALIDITY."""
    rows = Message.objects.filter(mailbox=mailbox, remote__uidvalidity=uidvalidity)
    return dict(rows.order_by("uid").values_list("uid", "remote__uid"))


def bytes_of(mailbox: Mailbox) -> dict[int, bytes | None]:
    """Return the bytes of a mailbox's messages by our UIDs; None where they are not here."""
    found: dict[int, bytes | None] = {}
    for message in Message.objects.filter(mailbox=mailbox).select_related("content__segment").order_by("uid"):
        content = message.content
        if content is None or content.segment is None:
            found[message.uid] = None
        else:
            found[message.uid] = read_range(content.segment.name, content.offset, content.size)
    return found


def flags_of(mailbox: Mailbox, uid: int) -> FlagSet:
    """Return the flags that clients see."""
    message = Message.objects.get(mailbox=mailbox, uid=uid)
    return FlagSet.of(message.flags, message.keywords)


def check_consistency(mailbox: Mailbox) -> None:
    """Fail where counters or journal of a mailbox tell something else than its messages."""
    mailbox.refresh_from_db()
    messages = Message.objects.filter(mailbox=mailbox)
    unseen = sum(not SystemFlag(flags) & SystemFlag.SEEN for flags in messages.values_list("flags", flat=True))
    assert (mailbox.messages, mailbox.unseen) == (messages.count(), unseen)
    assert mailbox.bytes == (messages.aggregate(size=Sum("size"))["size"] or 0)
    # A client that applies the whole journal ends up with the UIDs that are there.
    known: set[int] = set()
    changes = Change.objects.filter(mailbox=mailbox).order_by("modseq")
    for appeared, changed, expunged in changes.values_list("appeared", "changed", "expunged"):
        new, gone = set(NumberSet.parse(appeared)), set(NumberSet.parse(expunged))
        assert not new & known, "a UID appeared twice"
        assert gone <= known
        assert set(NumberSet.parse(changed)) <= known
        known = (known | new) - gone
    assert sorted(known) == uids_of(mailbox)
    assert mailbox.uidnext > max(known, default=0)
    remotes = messages.exclude(remote=None).values_list("remote_id", flat=True)
    assert len(set(remotes)) == len(remotes), "two messages of one mailbox share a Remote"
