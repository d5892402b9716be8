"""LIST, with STATUS of all mailboxes where offered (RFC 5819), STATUS of one, and NAMESPACE."""

from __future__ import annotations

from collections.abc import Iterator

from sync.profiles import detect_profile
from sync.upstream.errors import CommandBad, CommandNo, Severity
from sync.upstream.protocol.listed import read_list, read_namespaces, read_status
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Untagged
from sync.upstream.protocol.session import Handlers, Session, argument
from sync.upstream.values import ListedMailbox, MailboxStatus, Namespaces

_STATUS_ITEMS = b"MESSAGES UIDNEXT UIDVALIDITY"


def list_mailboxes(session: Session, reference: bytes, pattern: bytes, *, status: bool) -> Steps[list[ListedMailbox]]:
    """Return what LIST tells, each mailbox once, with special uses wherever the upstream tells them."""
    arguments = argument(reference) + b" " + (pattern if pattern in {b"*", b"%"} else argument(pattern))
    reader = _Listing(session)

    def run(options: bytes) -> Steps[list[ListedMailbox]]:
        reader.clear()
        yield from session.command("LIST", arguments + options, Handlers(untagged=reader.untagged))
        return reader.mailboxes()

    variants = _list_options(session, status=status)
    return (yield from session.first_accepted(variants, run, rejections=(CommandBad, CommandNo)))


def _list_options(session: Session, *, status: bool) -> Iterator[tuple[str, bytes]]:
    """Yield RETURN options: servers leave out what was not asked for (quirk 36), or reject them all (quirk 42)."""
    use = b"SPECIAL-USE " if session.offers("SPECIAL-USE") else b""
    wanted = use + b"SUBSCRIBED CHILDREN"
    if session.offers("LIST-EXTENDED"):
        if status and session.offers("LIST-STATUS"):
            if _may_ask_mailbox_id(session):
                yield "OBJECTID", b" RETURN (%b STATUS (%b))" % (wanted, _status_items(session))
            yield "LIST-STATUS", b" RETURN (%b STATUS (%b))" % (wanted, _status_items(session, mailbox_id=False))
        yield "LIST-EXTENDED", b" RETURN (%b)" % wanted
    yield "", b""


def mailbox_status(session: Session, name_raw: bytes) -> Steps[MailboxStatus]:
    """Return what STATUS tells of a mailbox, if anything."""
    found = [MailboxStatus()]

    def untagged(response: Untagged) -> bool:
        if response.name != b"STATUS":
            return False
        try:
            name, status = read_status(response.scanner())
        except ValueError:
            session.statistics.malformed += 1
            return True
        # With NOTIFY others may come in between; INBOX has many spellings.
        if name != name_raw and name.upper() != name_raw.upper():
            return False
        found.append(status)
        return True

    def run(items: bytes) -> Steps[MailboxStatus]:
        yield from session.command(
            "STATUS",
            b"%b (%b)" % (argument(name_raw), items),
            Handlers(untagged=untagged),
            severity=Severity.MAILBOX,
            patience=session.deadlines.login,
        )
        return found[-1]

    return (yield from session.first_accepted(_status_variants(session), run))


def _status_variants(session: Session) -> Iterator[tuple[str, bytes]]:
    if _may_ask_mailbox_id(session):
        yield "OBJECTID", _status_items(session)
    if session.offers("CONDSTORE"):
        yield "CONDSTORE", _status_items(session, mailbox_id=False)
    yield "", _STATUS_ITEMS


def _may_ask_mailbox_id(session: Session) -> bool:
    # The first connection has no profile that its greeting gave away, and its LIST must not fail either.
    trusted = session.profile.status_mailbox_id and detect_profile(session.said).status_mailbox_id
    return trusted and session.offers("OBJECTID")


def _status_items(session: Session, *, mailbox_id: bool = True) -> bytes:
    modseq = b" HIGHESTMODSEQ" if session.offers("CONDSTORE") else b""
    return _STATUS_ITEMS + modseq + (b" MAILBOXID" if mailbox_id else b"")


def namespaces(session: Session) -> Steps[Namespaces]:
    """Return the namespaces; none where the upstream does not know of any."""
    found: list[Namespaces] = []
    if not session.offers("NAMESPACE"):
        return Namespaces()

    def untagged(response: Untagged) -> bool:
        if response.name != b"NAMESPACE":
            return False
        try:
            found.append(read_namespaces(response.scanner()))
        except ValueError:
            session.statistics.malformed += 1
        return True

    yield from session.command("NAMESPACE", handlers=Handlers(untagged=untagged))
    return found[-1] if found else Namespaces()


class _Listing:
    """Collects what one LIST command tells."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.clear()

    def clear(self) -> None:
        """Forget what a rejected command told."""
        self._found: dict[bytes, ListedMailbox] = {}
        self._status: dict[bytes, MailboxStatus] = {}

    def mailboxes(self) -> list[ListedMailbox]:
        """Return the mailboxes in their order."""
        return [listed._replace(status=self._status.get(name)) for name, listed in self._found.items()]

    def untagged(self, response: Untagged) -> bool:
        """Take LIST and STATUS responses."""
        try:
            if response.name in {b"LIST", b"XLIST"}:
                self._add(read_list(response.scanner()))
            elif response.name == b"STATUS":
                name, status = read_status(response.scanner())
                self._status[name] = status
            else:
                return False
        except ValueError:
            self._session.statistics.malformed += 1
        return True

    def _add(self, listed: ListedMailbox) -> None:
        known = self._found.get(listed.name_raw)
        if known is not None:
            listed = listed._replace(attributes=known.attributes | listed.attributes)
        self._found[listed.name_raw] = listed
