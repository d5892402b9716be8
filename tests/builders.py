"""Rows for tests, made by the same services that make them in production."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db.models import F

from mailcache.flags import FlagSet
from mailcache.mime.parsed import parse_message
from mailcache.models import Account, AuthMethod, LeaseKind, Mailbox, MailboxRole, Remote, TlsMode, User
from mailcache.segments import store_segment
from mailcache.services import accounts, leases, users
from mailcache.services.ingest_bodies import BodiesAdded, BodyRow, add_contents
from mailcache.services.ingest_list import UpstreamMailbox, ingest_mailbox_list
from mailcache.services.ingest_skeleton import SkeletonRow, add_messages
from mailcache.services.leases import Fence

UIDVALIDITY = 7
PASSWORD = "correct horse"
SECRET = "upstream secret"
INTERNAL_DATE = datetime(2024, 5, 17, 8, 30, tzinfo=UTC)

_numbers = itertools.count(1)


def make_user(email: str = "") -> User:
    """Create a user with ``PASSWORD``."""
    return users.create_user(email=email or f"user{next(_numbers)}@example.test", password=PASSWORD)


def make_account(
    user: User | None = None, *, host: str = "127.0.0.1", port: int = 143, username: str = "", secret: str = SECRET
) -> Account:
    """Create an account, of a new user unless one is given."""
    address = f"account{next(_numbers)}@example.test"
    return accounts.create_account(
        user=user or make_user(),
        address=address,
        host=host,
        port=port,
        username=username or address,
        secret=secret,
        tls_mode=TlsMode.PLAIN,
    )


def make_oauth_account(method: AuthMethod) -> Account:
    """Create an account that nobody has signed in at its authorization server yet."""
    return accounts.create_account(
        user=make_user(),
        address="me@example.test",
        host="imap.example.test",
        port=993,
        username="me@example.test",
        secret="",
        auth_method=method,
    )


def make_fence(account: Account) -> Fence:
    """Take the account's sync lease."""
    fence = leases.acquire(account_id=account.pk, kind=LeaseKind.SYNC, holder="test")
    assert fence is not None
    return fence


def upstream_mailbox(name: str, role: MailboxRole = MailboxRole.NONE) -> UpstreamMailbox:
    """Return a LIST entry of a mailbox whose name is the same here and upstream."""
    return UpstreamMailbox(name.encode(), name, "/", True, role)


def make_mailboxes(fence: Fence, *names: str) -> list[Mailbox]:
    """Make mailboxes appear through a LIST; INBOX is always among them."""
    ingest_mailbox_list(fence=fence, listed=[upstream_mailbox(name) for name in {"INBOX": 0, **dict.fromkeys(names)}])
    found = {mailbox.name: mailbox for mailbox in Mailbox.objects.mirrored(fence.account_id)}
    return [found[name] for name in names or ("INBOX",)]


def let_time_pass(account: Account, since_missed: timedelta) -> None:
    """Make mailboxes that LIST did not name have been missing for longer."""
    missing = Mailbox.objects.filter(account=account, missed_since__isnull=False)
    missing.update(missed_since=F("missed_since") - since_missed)


def skeleton_row(uid: int, *flags: str, size: int = 100, upstream_id: str = "", message_id: str = "") -> SkeletonRow:
    """Return what the skeleton pass learns of one message."""
    return SkeletonRow(uid, FlagSet.parse(flags), INTERNAL_DATE, size, upstream_id, message_id)


def row_of(uid: int, body: bytes, *flags: str) -> SkeletonRow:
    """Return what the skeleton pass learns of a message with these bytes, its Message-ID included."""
    return skeleton_row(uid, *flags, size=len(body), message_id=parse_message(body).message_id or "")


def add_skeleton(fence: Fence, mailbox: Mailbox, rows: Sequence[SkeletonRow]) -> int:
    """Make messages appear in a mailbox under ``UIDVALIDITY``."""
    return add_messages(fence=fence, mailbox_id=mailbox.pk, uidvalidity=UIDVALIDITY, rows=rows)


def add_bodies(fence: Fence, mailbox: Mailbox, bodies: dict[int, bytes]) -> BodiesAdded:
    """Give messages, by upstream UID, their bytes."""
    remotes = dict(Remote.objects.filter(mailbox=mailbox, uid__in=bodies).values_list("uid", "pk"))
    rows = []
    offset = 0
    for uid, body in bodies.items():
        rows.append(BodyRow(remotes[uid], hashlib.sha256(body).digest(), parse_message(body), offset))
        offset += len(body)
    segment = store_segment(account_id=fence.account_id, pieces=bodies.values())
    return add_contents(fence=fence, mailbox_id=mailbox.pk, segment=segment, rows=rows)


def message_bytes(subject: str = "Hello", body: str = "How are you?\r\n") -> bytes:
    """Return a small message in wire form."""
    head = f"From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: {subject}\r\n"
    return f"{head}Message-ID: <{next(_numbers)}@example.test>\r\n\r\n{body}".encode()
