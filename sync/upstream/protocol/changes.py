"""Commands that change mail upstream: STORE, APPEND, COPY, MOVE, EXPUNGE and those on mailboxes (RFC 3501, 4315, 6851).

Everything is addressed by UID. What a server tells of where messages went is returned; what it does not tell is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mailcache.wire import utf7
from mailcache.wire.dates import format_date_time
from mailcache.wire.number_set import NumberSet
from sync.profiles import GENERIC
from sync.upstream.errors import NotOffered, Severity
from sync.upstream.protocol.fetch import command_sets
from sync.upstream.protocol.requests import Deadline, Steps
from sync.upstream.protocol.responses import Status, Untagged
from sync.upstream.protocol.session import Handlers, Session, argument
from sync.upstream.values import NO_APPENDED, NO_COPIED, AppendedUids, CopiedUids, NewMessage

_COPYUID = re.compile(rb"\s*(\d{1,10}) ([\d:,]+) ([\d:,]+)\s*\Z")
_APPENDUID = re.compile(rb"\s*(\d{1,10}) ([\d:,]+)\s*\Z")
_SYSTEM_LABEL = re.compile(r"\\[A-Za-z]+\Z")
# A set that names more messages than any command of ours cannot be an answer to it.
_MOST_UIDS = 100_000


def uid_store(session: Session, uids: Sequence[int], item: bytes, flags: Sequence[str]) -> Steps[None]:
    """Change flags: ``item`` is ``+FLAGS.SILENT`` or ``-FLAGS.SILENT``."""
    told = b" " + item + b" (" + b" ".join(flag.encode("ascii") for flag in flags) + b")"
    for sequence_set in command_sets(uids, most=_most(session)):
        yield from session.command("UID STORE", sequence_set + told, severity=Severity.MESSAGE)


def uid_store_label(session: Session, uids: Sequence[int], label: str, *, added: bool) -> Steps[None]:
    """Give messages a label of Gmail's (X-GM-EXT-1), or take it from them."""
    # The name of a mailbox; those of the system are keywords with a backslash.
    spelled = label.encode("ascii") if _SYSTEM_LABEL.match(label) else argument(utf7.encode(label))
    told = b" %bX-GM-LABELS.SILENT (%b)" % (b"+" if added else b"-", spelled)
    for sequence_set in command_sets(uids, most=_most(session)):
        yield from session.command("UID STORE", sequence_set + told, severity=Severity.MESSAGE)


def uid_expunge(session: Session, uids: Sequence[int]) -> Steps[None]:
    """Expunge exactly these messages (RFC 4315 2.1); raises ``NotOffered`` without UIDPLUS."""
    if not session.offers("UIDPLUS"):
        raise NotOffered("the upstream cannot expunge single messages (UIDPLUS)")
    for sequence_set in command_sets(uids, most=_most(session)):
        yield from session.command("UID EXPUNGE", sequence_set, severity=Severity.MAILBOX)


def expunge(session: Session) -> Steps[None]:
    """Expunge everything that is marked ``\\Deleted`` in the open mailbox, whoever marked it."""
    yield from session.command("EXPUNGE", severity=Severity.MAILBOX)


def uid_copy(session: Session, uids: Sequence[int], target_raw: bytes) -> Steps[CopiedUids]:
    """Copy messages."""
    return (yield from _transfer(session, "UID COPY", uids, target_raw))


def uid_move(session: Session, uids: Sequence[int], target_raw: bytes) -> Steps[CopiedUids]:
    """Move messages (RFC 6851); raises ``NotOffered``."""
    if not session.offers("MOVE"):
        raise NotOffered("the upstream cannot move messages (MOVE)")
    return (yield from _transfer(session, "UID MOVE", uids, target_raw))


def append(session: Session, mailbox_raw: bytes, messages: Sequence[NewMessage]) -> Steps[AppendedUids]:
    """Append messages in one command; more than one needs MULTIAPPEND (RFC 3502)."""
    if len(messages) > 1 and not session.offers("MULTIAPPEND"):
        raise NotOffered("the upstream takes one message at a time (MULTIAPPEND)")
    if session.idle_tag is not None:
        yield from session.end_idle()
    yield from session.pause()
    deadlines = session.deadlines
    yield Deadline("APPEND", deadlines.command, deadlines.inactivity)
    tag = session.next_tag("APPEND")
    spared = session.offers("LITERAL+")
    text = tag + b" APPEND " + argument(mailbox_raw)
    for message in messages:
        yield session.sending(text + _head(message, spared=spared))
        if not spared:
            yield from session.go_ahead(tag, "APPEND", Severity.MESSAGE)
        for chunk in message.chunks():
            yield session.sending(chunk)
        text = b""
    yield session.sending(b"\r\n")
    status = yield from session.read_until(tag, Handlers())
    return _appended(session.checked("APPEND", status, Severity.MESSAGE), len(messages))


def create(session: Session, name_raw: bytes, *, use: str = "") -> Steps[None]:
    """Create a mailbox; ``use`` is asked for where CREATE-SPECIAL-USE is offered (RFC 6154)."""
    special = b" (USE (%b))" % use.encode("ascii") if use and session.offers("CREATE-SPECIAL-USE") else b""
    yield from session.command("CREATE", argument(name_raw) + special, severity=Severity.MAILBOX)


def delete(session: Session, name_raw: bytes) -> Steps[None]:
    """Delete a mailbox."""
    yield from session.command("DELETE", argument(name_raw), severity=Severity.MAILBOX)


def rename(session: Session, name_raw: bytes, new_name_raw: bytes) -> Steps[None]:
    """Rename a mailbox, and what is below it."""
    yield from session.command("RENAME", argument(name_raw) + b" " + argument(new_name_raw), severity=Severity.MAILBOX)


def subscribe(session: Session, name_raw: bytes, *, subscribed: bool) -> Steps[None]:
    """Subscribe to a mailbox, or no longer."""
    name = "SUBSCRIBE" if subscribed else "UNSUBSCRIBE"
    yield from session.command(name, argument(name_raw), severity=Severity.MAILBOX)


def _most(session: Session) -> int | None:
    """Return how many messages one command may name: bounded only for servers that are known to choke."""
    return session.profile.largest_fetch if session.profile.largest_fetch < GENERIC.largest_fetch else None


def _transfer(session: Session, name: str, uids: Sequence[int], target_raw: bytes) -> Steps[CopiedUids]:
    told: list[bytes] = []

    def untagged(response: Untagged) -> bool:
        # MOVE tells it before its EXPUNGE responses (RFC 6851 4.3).
        if response.name == b"OK":
            status = response.status()
            if status.code == "COPYUID":
                told.append(status.arguments)
                return True
        return False

    for sequence_set in command_sets(uids, most=_most(session)):
        status = yield from session.command(
            name, sequence_set + b" " + argument(target_raw), Handlers(untagged=untagged), severity=Severity.MAILBOX
        )
        if status.code == "COPYUID":
            told.append(status.arguments)
    return _copied(told)


def _copied(told: Iterable[bytes]) -> CopiedUids:
    uidvalidity, pairs = 0, dict[int, int]()
    for raw in told:
        match = _COPYUID.match(raw)
        if match is None:
            return NO_COPIED
        source, target = _in_order(match[2]), _in_order(match[3])
        if len(source) != len(target):
            return NO_COPIED
        uidvalidity = int(match[1])
        pairs.update(zip(source, target, strict=True))
    return CopiedUids(uidvalidity, pairs) if pairs else NO_COPIED


def _appended(status: Status, count: int) -> AppendedUids:
    match = _APPENDUID.match(status.arguments) if status.code == "APPENDUID" else None
    if match is None:
        return NO_APPENDED
    uids = _in_order(match[2])
    return AppendedUids(int(match[1]), tuple(uids)) if len(uids) == count else NO_APPENDED


def _in_order(raw: bytes) -> list[int]:
    """Return the UIDs of a set in the order in which they are told, which is that of the messages (RFC 4315 3)."""
    uids: list[int] = []
    for piece in raw.split(b","):
        first, _, last = piece.partition(b":")
        begin, end = int(first), int(last or first)
        if abs(end - begin) > _MOST_UIDS:
            return []
        uids += range(begin, end + 1) if begin <= end else range(begin, end - 1, -1)
    return uids if len(NumberSet.from_numbers(uids)) == len(uids) else []


def _head(message: NewMessage, *, spared: bool) -> bytes:
    flags = " ".join(message.flags).encode("ascii")
    date = format_date_time(message.internal_date)
    return b" (%b) %b {%d%b}\r\n" % (flags, date, message.size, b"+" if spared else b"")
