"""LIST, NAMESPACE, SELECT and EXAMINE."""

from __future__ import annotations

import re
from dataclasses import replace

from mailcache.wire.scanner import Scanner
from mailcache.wire.utf7 import decode_lenient
from sync.upstream.errors import CommandBad, Severity
from sync.upstream.protocol.fetch_items import flags_of, number_of
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Status, Untagged
from sync.upstream.protocol.session import Handlers, Session, argument
from sync.upstream.values import ListedMailbox, Namespace, Namespaces, SelectedMailbox

_ATTRIBUTES = (
    "\\Noselect", "\\NonExistent", "\\Noinferiors", "\\HasChildren", "\\HasNoChildren", "\\Marked", "\\Unmarked",
    "\\Subscribed", "\\Remote", "\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Important", "\\Junk", "\\Sent",
    "\\Trash",
)  # fmt: skip
_SPELLED = {attribute.lower(): attribute for attribute in _ATTRIBUTES}
_LISTED_ATTRIBUTES = re.compile(rb"\(([^()\r\n]*)\)")
# Names with spaces come without quotes from some servers; extended data (RFC 5258) begins with a parenthesis.
_BARE_NAME = re.compile(rb".+?(?= +\(|\s*\Z)", re.DOTALL)


def list_mailboxes(session: Session, reference: bytes, pattern: bytes) -> Steps[list[ListedMailbox]]:
    """Return what LIST tells, each mailbox once, with special uses wherever the upstream tells them."""
    arguments = argument(reference) + b" " + _pattern(pattern)
    extended = session.offers("SPECIAL-USE") and session.offers("LIST-EXTENDED")
    if extended:
        try:
            return (yield from _list(session, arguments + b" RETURN (SPECIAL-USE)"))
        except CommandBad:
            # Advertised and rejected has been seen (quirk 42).
            session.refused.add("LIST-EXTENDED")
    return (yield from _list(session, arguments))


def namespaces(session: Session) -> Steps[Namespaces]:
    """Return the namespaces; none where the upstream does not know of any."""
    found: list[Namespaces] = []
    if not session.offers("NAMESPACE"):
        return Namespaces()

    def untagged(response: Untagged) -> bool:
        if response.name != b"NAMESPACE":
            return False
        try:
            found.append(_namespaces(response.scanner()))
        except ValueError:
            session.statistics.malformed += 1
        return True

    yield from session.command("NAMESPACE", handlers=Handlers(untagged=untagged))
    return found[-1] if found else Namespaces()


def select(session: Session, name_raw: bytes, *, read_only: bool) -> Steps[SelectedMailbox]:
    """Open a mailbox; EXAMINE where ``read_only``."""
    session.selected = None
    session.pending.clear()
    name = "EXAMINE" if read_only else "SELECT"
    if session.offers("CONDSTORE"):
        try:
            return (yield from _select(session, name, name_raw, b" (CONDSTORE)"))
        except CommandBad:
            session.refused.add("CONDSTORE")
    return (yield from _select(session, name, name_raw, b""))


def _select(session: Session, name: str, name_raw: bytes, parameters: bytes) -> Steps[SelectedMailbox]:
    reader = _Selecting(name_raw)
    status = yield from session.command(
        name,
        argument(name_raw) + parameters,
        Handlers(untagged=reader.untagged),
        severity=Severity.MAILBOX,
        patience=session.deadlines.login,
    )
    read_only = name == "EXAMINE" or status.code == "READ-ONLY"
    session.selected = replace(reader.mailbox, read_only=read_only)
    return session.selected


def _pattern(pattern: bytes) -> bytes:
    return pattern if pattern in {b"*", b"%"} else argument(pattern)


def _list(session: Session, arguments: bytes) -> Steps[list[ListedMailbox]]:
    found: dict[bytes, ListedMailbox] = {}

    def untagged(response: Untagged) -> bool:
        if response.name not in {b"LIST", b"XLIST"}:
            return False
        try:
            listed = read_list(response.scanner())
        except ValueError:
            session.statistics.malformed += 1
            return True
        known = found.get(listed.name_raw)
        found[listed.name_raw] = (
            listed if known is None else listed._replace(attributes=known.attributes | listed.attributes)
        )
        return True

    yield from session.command("LIST", arguments, Handlers(untagged=untagged))
    return list(found.values())


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
    if scan.peek() == b'"' or scan.at_literal():
        name_raw = scan.string()
    else:
        name_raw = scan.matching(_BARE_NAME, "a mailbox name").rstrip()
    return ListedMailbox(name_raw, decode_lenient(name_raw), delimiter, attributes)


def _delimiter(scan: Scanner) -> str | None:
    if scan.skip_word(b"NIL"):
        return None
    raw = scan.string() if scan.peek() == b'"' or scan.at_literal() else scan.tolerant_atom()
    return raw.decode("latin-1") or None


def _namespaces(scan: Scanner) -> Namespaces:
    kinds = []
    for _ in range(3):
        scan.skip_spaces()
        kinds.append(() if scan.at_end or scan.skip_word(b"NIL") else tuple(_namespace_list(scan)))
    return Namespaces(*kinds)


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


class _Selecting:
    """Collects what comes before the OK of SELECT."""

    def __init__(self, name_raw: bytes) -> None:
        self.mailbox = SelectedMailbox(name_raw, 0, None, None, None, (), None, read_only=True, mailbox_id="")

    def untagged(self, response: Untagged) -> bool:
        """Take what describes the mailbox."""
        if response.name == b"EXISTS":
            # Several have been seen during one SELECT (quirk 37).
            self.mailbox = replace(self.mailbox, exists=max(self.mailbox.exists, response.number or 0))
        elif response.name == b"FLAGS":
            flags = _flag_list(response.scanner().rest())
            self.mailbox = replace(self.mailbox, flags=self.mailbox.flags if flags is None else flags)
        elif response.name == b"OK":
            self._code(response.status())
            return False
        else:
            return response.name == b"RECENT"
        return True

    def _code(self, status: Status) -> None:
        number = _first_number(status.arguments)
        if status.code == "UIDVALIDITY":
            self.mailbox = replace(self.mailbox, uidvalidity=number)
        elif status.code == "UIDNEXT":
            self.mailbox = replace(self.mailbox, uidnext=number)
        elif status.code == "HIGHESTMODSEQ":
            self.mailbox = replace(self.mailbox, highestmodseq=number)
        elif status.code == "PERMANENTFLAGS":
            self.mailbox = replace(self.mailbox, permanentflags=_flag_list(status.arguments))
        elif status.code == "MAILBOXID":
            self.mailbox = replace(self.mailbox, mailbox_id=status.arguments.strip(b"() ").decode("latin-1"))


def _flag_list(raw: bytes) -> tuple[str, ...] | None:
    # Without the parentheses rather than by them: junk in a flag must not cost the mailbox (field note 37).
    inside = raw.strip().removeprefix(b"(").removesuffix(b")")
    return flags_of(inside)


def _first_number(raw: bytes) -> int | None:
    found = re.match(rb"\s*\(?(\d{1,20})", raw)
    return number_of(int(found[1])) if found else None
