"""Reads LIST, STATUS and NAMESPACE responses, with what servers get wrong."""

from __future__ import annotations

import re

from mailcache.wire.scanner import Scanner
from mailcache.wire.utf7 import decode_lenient
from sync.upstream.protocol.fetch_items import number_of
from sync.upstream.values import ListedMailbox, MailboxStatus, Namespace, Namespaces

_ATTRIBUTES = (
    "\\Noselect", "\\NonExistent", "\\Noinferiors", "\\HasChildren", "\\HasNoChildren", "\\Marked", "\\Unmarked",
    "\\Subscribed", "\\Remote", "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent",
    "\\Trash",
)  # fmt: skip
_SPELLED = {attribute.lower(): attribute for attribute in _ATTRIBUTES}
_LISTED_ATTRIBUTES = re.compile(rb"\(([^()\r\n]*)\)")
# Names with spaces come without quotes from some servers; extended data (RFC 5258) begins with a parenthesis.
_BARE_NAME = re.compile(rb".+?(?= +\(|\s*\Z)", re.DOTALL)
_STATUS_ITEM = re.compile(rb"([A-Za-z][A-Za-z0-9.\-]*) +(?:(\d{1,20})|\( *([^() ]*) *\)|NIL)", re.IGNORECASE)
_NUMBERS = {b"MESSAGES": "messages", b"UIDNEXT": "uidnext", b"UIDVALIDITY": "uidvalidity",
            b"HIGHESTMODSEQ": "highestmodseq"}  # fmt: skip


def read_list(scan: Scanner) -> ListedMailbox:
    """Read what stands after ``LIST``; raises ``ValueError``."""
    scan.skip_spaces()
    listed = scan.matching(_LISTED_ATTRIBUTES, "attributes")[1:-1].decode("ascii", errors="replace")
    attributes = frozenset(_SPELLED.get(attribute.lower(), attribute) for attribute in listed.split())
    if "\\NonExistent" in attributes:
        attributes |= {"\\Noselect"}  # the one implies the other (RFC 5258 3)
    scan.skip_spaces()
    delimiter = _delimiter(scan)
    scan.skip_spaces()
    name_raw = _name(scan)
    return ListedMailbox(name_raw, decode_lenient(name_raw), delimiter, attributes, old_name_raw=_old_name(scan))


def read_status(scan: Scanner) -> tuple[bytes, MailboxStatus]:
    """Read what stands after ``STATUS``, which may be the name alone (quirk 28); raises ``ValueError``."""
    scan.skip_spaces()
    name_raw = _name(scan)
    numbers: dict[str, int | None] = {}
    mailbox_id = None
    for name, number, identifier in _STATUS_ITEM.findall(scan.rest()):
        field = _NUMBERS.get(name.upper())
        if field is not None and number:
            numbers[field] = number_of(int(number))
        elif name.upper() == b"MAILBOXID" and identifier:
            mailbox_id = identifier.decode("latin-1")
    return name_raw, MailboxStatus(**numbers, mailbox_id=mailbox_id)


def read_namespaces(scan: Scanner) -> Namespaces:
    """Read what stands after ``NAMESPACE``; raises ``ValueError``."""
    kinds = []
    for _ in range(3):
        scan.skip_spaces()
        kinds.append(() if scan.at_end or scan.skip_word(b"NIL") else tuple(_namespace_list(scan)))
    return Namespaces(*kinds)


def _name(scan: Scanner) -> bytes:
    if scan.peek() == b'"' or scan.at_literal():
        return scan.string()
    return scan.matching(_BARE_NAME, "a mailbox name").rstrip()


def _old_name(scan: Scanner) -> bytes | None:
    """Read ``("OLDNAME" ("name"))`` (RFC 5465 5.4) where it follows; other extended data is of no interest."""
    try:
        return _read_old_name(scan)
    except ValueError:
        return None


def _read_old_name(scan: Scanner) -> bytes | None:
    scan.skip_spaces()
    if not scan.skip(b"("):
        return None
    while not scan.skip(b")"):
        item = scan.astring().upper()
        scan.skip_spaces()
        if item == b"OLDNAME" and scan.skip(b"("):
            return scan.string() if scan.peek() == b'"' or scan.at_literal() else scan.tolerant_atom()
        scan.raw_value()
        scan.skip_spaces()
    return None


def _delimiter(scan: Scanner) -> str | None:
    if scan.skip_word(b"NIL"):
        return None
    raw = scan.string() if scan.peek() == b'"' or scan.at_literal() else scan.tolerant_atom()
    return raw.decode("latin-1") or None


def _namespace_list(scan: Scanner) -> list[Namespace]:
    found = []
    scan.expect(b"(")
    while not scan.skip(b")"):
        scan.skip_spaces()
        scan.expect(b"(")
        prefix = scan.string()
        scan.skip_spaces()
        found.append(Namespace(prefix, decode_lenient(prefix), _delimiter(scan)))
        scan.skip_spaces()
        while not scan.skip(b")"):
            scan.raw_value()
            scan.skip_spaces()
        scan.skip_spaces()
    return found
