"""Reads all mail of an account with clients that others wrote, for comparison."""

from __future__ import annotations

import contextlib
import imaplib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from imapclient import IMAPClient, imap_utf7

_LIST = re.compile(rb'\((?P<attributes>[^)]*)\) (?:NIL|"(?P<delimiter>.)") (?P<name>.*)\Z', re.DOTALL)
_NOT_SELECTABLE = {b"\\noselect", b"\\nonexistent"}
_ITEMS = "(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
_CHUNK = 250


@dataclass(frozen=True, slots=True)
class Copy:
    """One message as a client sees it, without its UID."""

    data: bytes
    flags: frozenset[str]
    internal_date: str
    size: int

    def brief(self) -> str:
        """Return what tells it from others, for a failure's text."""
        return f"{self.size} octets, {sorted(self.flags)}, {self.internal_date}, {self.data[:60]!r}"


Mirror = dict[str, list[Copy]]
"""Messages by mailbox name, in the order of their UIDs; only mailboxes that can be selected."""


@contextlib.contextmanager
def imaplib_login(port: int, user: str, password: str) -> Iterator[imaplib.IMAP4]:
    """Yield an imaplib client that is logged in."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
    try:
        client.login(user, password)
        yield client
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):  # it may be closed already
            client.logout()


def list_with_imaplib(client: imaplib.IMAP4) -> dict[str, tuple[bytes, frozenset[bytes]]]:
    """Return each mailbox's name, its spelling on the wire (quoted), and its attributes in lower case."""
    status, lines = client.list()
    assert status == "OK"
    found: dict[str, tuple[bytes, frozenset[bytes]]] = {}
    for line in lines:
        assert isinstance(line, bytes), line
        match = _LIST.match(line)
        assert match is not None, line
        raw = match["name"][1:-1] if match["name"].startswith(b'"') else match["name"]
        found[imap_utf7.decode(raw)] = (b'"' + raw + b'"', frozenset(match["attributes"].lower().split()))
    return found


def read_with_imaplib(client: imaplib.IMAP4) -> Mirror:
    """Return everything in an account."""
    mirror: Mirror = {}
    for name, (spelled, attributes) in list_with_imaplib(client).items():
        if not attributes & _NOT_SELECTABLE:
            status, answer = client.select(spelled, readonly=True)  # type: ignore[arg-type] # bytes go as they are
            assert status == "OK", (name, answer)
            mirror[name] = list(_read_selected(client, int(answer[0] or b"0")))
    return mirror


def _read_selected(client: imaplib.IMAP4, exists: int) -> Iterator[Copy]:
    last_uid = 0
    for first in range(1, exists + 1, _CHUNK):
        status, answer = client.fetch(f"{first}:{min(first + _CHUNK - 1, exists)}", _ITEMS)
        assert status == "OK", answer
        copies = [_as_copy(answer, index) for index, part in enumerate(answer) if isinstance(part, tuple)]
        assert len(copies) == min(_CHUNK, exists - first + 1)
        for uid, copy in copies:
            assert uid > last_uid, "UIDs ascend"
            last_uid = uid
            yield copy


def _as_copy(answer: list[Any], index: int) -> tuple[int, Copy]:
    head, data = answer[index]
    rest = answer[index + 1] if index + 1 < len(answer) and isinstance(answer[index + 1], bytes) else b""
    values = head + b" " + rest
    names = frozenset(_value(rb"FLAGS \(([^)]*)\)", values).split()) - {"\\Recent"}
    # " 2-Nov" and "02-Nov" are two spellings of one day (RFC 3501 date-day-fixed).
    date = re.sub("^ ", "0", _value(rb'INTERNALDATE "([^"]*)"', values))
    copy = Copy(data, names, date, int(_value(rb"RFC822\.SIZE (\d+)", values)))
    return int(_value(rb"UID (\d+)", values)), copy


def _value(pattern: bytes, values: bytes) -> str:
    match = re.search(pattern, values)
    assert match is not None, (pattern, values)
    return match[1].decode()


def read_with_imapclient(port: int, user: str, password: str) -> Mirror:
    """Return everything in an account."""
    mirror: Mirror = {}
    with IMAPClient("127.0.0.1", port, ssl=False, use_uid=True, timeout=60) as client:
        client.normalise_times = False
        client.login(user, password)
        for attributes, _, name in client.list_folders():
            if not {attribute.lower() for attribute in attributes} & _NOT_SELECTABLE:
                client.select_folder(name, readonly=True)
                mirror[name] = list(_fetch_with_imapclient(client))
    return mirror


def _fetch_with_imapclient(client: IMAPClient) -> Iterator[Copy]:
    uids = sorted(client.search("ALL"))
    for first in range(0, len(uids), _CHUNK):
        chunk = uids[first : first + _CHUNK]
        answer: Mapping[int, Mapping[bytes, Any]] = client.fetch(
            chunk, ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]"]
        )
        assert sorted(answer) == chunk
        for uid in chunk:
            values = answer[uid]
            date: datetime = values[b"INTERNALDATE"]
            flags = frozenset(flag.decode() for flag in values[b"FLAGS"]) - {"\\Recent"}
            yield Copy(values[b"BODY[]"], flags, date.isoformat(), values[b"RFC822.SIZE"])


def differences(ours: Mirror, theirs: Mirror) -> list[str]:
    """Return in words how two mirrors differ; at most twenty."""
    found = [f"mailbox only in one: {name!r}" for name in sorted(ours.keys() ^ theirs.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if len(ours[name]) != len(theirs[name]):
            found.append(f"{name!r}: {len(ours[name])} messages, not {len(theirs[name])}")
        for number, (mine, other) in enumerate(zip(ours[name], theirs[name], strict=False), start=1):
            if mine != other:
                same = "same bytes" if mine.data == other.data else "other bytes"
                found.append(f"{name!r} {number} ({same}): {mine.brief()} instead of {other.brief()}")
    return found[:20]
