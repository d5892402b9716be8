"""What the mirror holds, in a form that can be compared with what the upstream holds."""

from __future__ import annotations

from mailcache.flags import FlagSet
from mailcache.models import Account, Message
from mailcache.segments import read_range
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import SyncRun
from tests.servers.dovecot import Dovecot

Messages = dict[str, list[tuple[bytes, frozenset[str]]]]
"""Bytes and flags of all messages, by mailbox, in the order of their UIDs."""


def mirrored(account: Account) -> Messages:
    """Return all that is here of an account; a message whose bytes are missing fails the test."""
    found: Messages = {name: [] for name in account.mailboxes.values_list("name", flat=True)}
    rows = Message.objects.filter(account=account).select_related("mailbox", "content__segment").order_by("uid")
    for message in rows:
        content = message.content
        assert content is not None, f"no bytes of {message}"
        assert content.segment is not None
        assert content.size == message.size
        data = read_range(content.segment.name, content.offset, content.size)
        found[message.mailbox.name].append((data, frozenset(FlagSet.of(message.flags, message.keywords).names())))
    return found


def upstream(dovecot: Dovecot, user: str, *mailboxes: str) -> Messages:
    """Return the same from the upstream, read by imaplib."""
    found: Messages = {}
    with dovecot.login(user) as client:
        for name in mailboxes:
            status, _ = client.select(f'"{name}"', readonly=True)
            assert status == "OK"
            _, (uids,) = client.uid("SEARCH", "ALL")
            found[name] = []
            for uid in uids.split():
                _, answer = client.uid("FETCH", uid.decode(), "(FLAGS BODY.PEEK[])")
                head, data = answer[0]
                rest = answer[1] if isinstance(answer[1], bytes) else b""
                flags = (head + rest).split(b"FLAGS (")[1].split(b")")[0].decode().split()
                found[name].append((data, frozenset(flag for flag in flags if flag != "\\Recent")))
    return found


def synced(account: Account) -> SyncRun:
    """Sync an account until it is in step; returns the run."""
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    return SyncRun.objects.latest("started_at")


def bodies(account: Account) -> list[bytes]:
    """Return the messages of INBOX here, in the order of their UIDs."""
    return [data for data, _ in mirrored(account)["INBOX"]]
