"""What the mirror holds, in a form that can be compared with what the upstream holds."""

from __future__ import annotations

import imaplib
import re
from collections import Counter

from mailcache.flags import FlagSet
from mailcache.models import Account, Mailbox, Message
from mailcache.names import our_name
from mailcache.segments import read_range
from mailcache.wire import utf7
from sync.account_run import SliceEnd, run_account_until_done
from sync.models import SyncRun
from tests.servers.imap_server import ImapServer

_LISTED = re.compile(rb'\(([^)]*)\) "(.)" (.+)')
_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")

Messages = dict[str, list[tuple[bytes, frozenset[str]]]]
"""Bytes and flags of all messages, by mailbox, in the order of their UIDs."""


def mirrored(account: Account) -> Messages:
    """Return all that is here of an account; a message whose bytes are missing fails the test."""
    found: Messages = {name: [] for name in Mailbox.objects.present(account.pk).values_list("name", flat=True)}
    rows = Message.objects.filter(account=account).select_related("mailbox", "content__segment").order_by("uid")
    for message in rows:
        content = message.content
        assert content is not None, f"no bytes of {message}"
        assert content.size == message.size
        if content.segment is None:
            data = bytes(content.inline or b"")
        else:
            data = read_range(content.segment.name, content.offset, content.size)
        found[message.mailbox.name].append((data, frozenset(FlagSet.of(message.flags, message.keywords).names())))
    return found


def upstream(server: ImapServer, user: str, *mailboxes: str) -> Messages:
    """Return the same from the upstream, read by imaplib; ``mailboxes`` and the keys as the upstream spells them."""
    with server.login(user) as client:
        return {name: read_mailbox(client, f'"{name}"') for name in mailboxes}


def differences_from(client: imaplib.IMAP4, account: Account) -> tuple[list[str], Messages]:
    """Return in words how the mirror differs from the upstream, and what the upstream holds.

    A mailbox that is listed and cannot be opened does not count: nobody knows what becomes of the mail in it.
    """
    there, closed = _read_all(client)
    here = {name: messages for name, messages in mirrored(account).items() if name not in closed}
    return differences(here, there), there


def whole_upstream(client: imaplib.IMAP4) -> Messages:
    """Return all mailboxes of a user, under the names that they have here; all of them can be opened."""
    there, closed = _read_all(client)
    assert not closed, closed
    return there


def _read_all(client: imaplib.IMAP4) -> tuple[Messages, set[str]]:
    """Return what is in all mailboxes, and the names of those that are listed and cannot be opened."""
    _, lines = client.list()
    found: Messages = {}
    closed: set[str] = set()
    for line in lines:
        assert isinstance(line, bytes)
        match = _LISTED.fullmatch(line)
        assert match is not None, line
        name = our_name(utf7.decode(match[3].strip(b'"')), match[2].decode())
        holds_mail = b"\\noselect" not in match[1].lower()
        status, (told,) = client.select(match[3].decode(), readonly=True) if holds_mail else ("OK", (b"0",))
        if status == "OK":
            found[name] = _read_selected(client, told) if holds_mail else []
        else:
            # A mailbox that was deleted above others Dovecot may go on listing.
            assert b"doesn't exist" in (told or b""), told
            closed.add(name)
    return found, closed


def synced(account: Account) -> SyncRun:
    """Sync an account until it is in step; returns the run."""
    assert run_account_until_done(account.pk) is SliceEnd.DONE
    return SyncRun.objects.latest("started_at")


def bodies(account: Account) -> list[bytes]:
    """Return the messages of INBOX here, in the order of their UIDs."""
    return [data for data, _ in mirrored(account)["INBOX"]]


def read_mailbox(client: imaplib.IMAP4, name: str) -> list[tuple[bytes, frozenset[str]]]:
    """Return bytes and flags of all messages of a mailbox in the order of their UIDs."""
    status, (exists,) = client.select(name, readonly=True)
    assert status == "OK", exists
    return _read_selected(client, exists)


def _read_selected(client: imaplib.IMAP4, exists: bytes | None) -> list[tuple[bytes, frozenset[str]]]:
    assert exists is not None
    if not int(exists):
        return []
    _, answer = client.uid("FETCH", "1:*", "(FLAGS BODY.PEEK[])")
    found = []
    for part, rest in zip(answer, [*answer[1:], b""], strict=True):
        if not isinstance(part, tuple):
            continue
        head, data = part
        flags = _FLAGS.search(head + (rest if isinstance(rest, bytes) else b""))
        assert flags is not None, head
        found.append((data, frozenset(flag for flag in flags[1].decode().split() if flag != "\\Recent")))
    assert len(found) == int(exists)
    return found


def differences(here: Messages, there: Messages) -> list[str]:
    """Return what is not the same, in words; order within a mailbox does not count."""
    told = [f"{name} is only here" for name in here.keys() - there.keys()]
    told += [f"{name} is only upstream" for name in there.keys() - here.keys()]
    for name in here.keys() & there.keys():
        ours, theirs = Counter(here[name]), Counter(there[name])
        told += [f"{name}: only here: {describe(each)}" for each in (ours - theirs).elements()]
        told += [f"{name}: only upstream: {describe(each)}" for each in (theirs - ours).elements()]
    return sorted(told)


def describe(message: tuple[bytes, frozenset[str]]) -> str:
    """Return a message in a few words."""
    subject = re.search(rb"^Subject: (.*?)\r$", message[0], re.MULTILINE)
    return f"{len(message[0])} bytes {subject[1] if subject else b''!r} {sorted(message[1])}"
