"""SELECT and EXAMINE, with CONDSTORE and QRESYNC (RFC 7162 3.2.5) where offered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from mailcache.wire.number_set import NumberSet, Range
from sync.upstream.errors import Severity
from sync.upstream.protocol.announcements import FETCHES, MAX_VANISHED_RANGES, read_message, read_vanished
from sync.upstream.protocol.fetch import Receiver
from sync.upstream.protocol.fetch_items import flags_of, number_of
from sync.upstream.protocol.requests import Steps
from sync.upstream.protocol.responses import Status, Untagged
from sync.upstream.protocol.session import Handlers, Session, argument
from sync.upstream.values import NO_NUMBERS, NO_SECTIONS, FetchedMessage, Resync, SelectedMailbox

# More than these are fetched in order rather than kept.
MAX_CHANGED = 50_000


def select(session: Session, name_raw: bytes, *, read_only: bool, resync: Resync | None) -> Steps[SelectedMailbox]:
    """Open a mailbox; EXAMINE where ``read_only``, unless the profile knows that EXAMINE lies (quirk 38)."""
    session.forget_selected()
    name = "EXAMINE" if read_only and not session.profile.select_to_read else "SELECT"

    def run(parameters: bytes) -> Steps[SelectedMailbox]:
        return _select(session, name, name_raw, parameters, resync)

    return (yield from session.first_accepted(_parameters(session, resync), run))


def _parameters(session: Session, resync: Resync | None) -> Iterator[tuple[str, bytes]]:
    if resync is not None and resync.modseq > 0 and resync.uidvalidity > 0 and session.uses_qresync:
        yield "QRESYNC", b" (QRESYNC (%d %d))" % resync
    if session.offers("CONDSTORE"):
        yield "CONDSTORE", b" (CONDSTORE)"
    yield "", b""


def _select(
    session: Session, name: str, name_raw: bytes, parameters: bytes, resync: Resync | None
) -> Steps[SelectedMailbox]:
    reader = _Selecting(session, name_raw)
    asked = resync if parameters.startswith(b" (QRESYNC") else None
    # The changes come by the thousand; without QRESYNC what comes is of the mailbox before.
    receiver = Receiver(session, _Everything(), reader.keep_changed, None)
    handlers = Handlers(
        untagged=reader.untagged if asked is None else reader.untagged_resync,
        plain_lines=None if asked is None else receiver.plain_lines,
    )
    status = yield from session.command(
        name, argument(name_raw) + parameters, handlers, severity=Severity.MAILBOX, patience=session.deadlines.login
    )
    read_only = name == "EXAMINE" or status.code == "READ-ONLY"
    session.selected = replace(reader.result(asked), read_only=read_only)
    return session.selected


class _Everything:
    """Holds every UID, and what is none: a row without a UID must not be overlooked."""

    def __contains__(self, _uid: object) -> bool:
        return True


class _Selecting:
    """Collects what comes before the OK of SELECT."""

    def __init__(self, session: Session, name_raw: bytes) -> None:
        self._session = session
        self._name_raw = name_raw
        self._restart()

    def _restart(self) -> None:
        self.mailbox = SelectedMailbox(self._name_raw, 0, None, None, None, (), None, read_only=True, mailbox_id="")
        self._changed: list[FetchedMessage] = []
        self._vanished: list[Range] = []
        self._whole = True

    def result(self, asked: Resync | None) -> SelectedMailbox:
        """Return the mailbox, with what happened since ``asked`` where all of it was told."""
        mailbox = self.mailbox
        if asked is None or not self._whole or mailbox.highestmodseq is None:
            return mailbox
        if mailbox.uidvalidity != asked.uidvalidity:
            return mailbox
        vanished = NumberSet(self._vanished) if self._vanished else NO_NUMBERS
        return replace(mailbox, resynced=True, vanished=vanished, changed=tuple(self._changed))

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

    def untagged_resync(self, response: Untagged) -> bool:
        """Take what QRESYNC tells as well. What cannot be read makes the answer one that is not whole."""
        if response.name not in FETCHES and response.name != b"VANISHED":
            return self.untagged(response)
        try:
            if response.name == b"VANISHED":
                # Without EARLIER it happens now; the UIDs are as gone.
                self._keep_vanished(read_vanished(response)[1])
            else:
                self.keep_changed(read_message(response))
        except ValueError:
            self._session.statistics.malformed += 1
            self._whole = False
        return True

    def keep_changed(self, message: FetchedMessage) -> None:
        """Keep a message that changed, without what was not asked for."""
        if message.uid is None or message.flags is None:
            self._whole = False
        elif len(self._changed) < MAX_CHANGED:
            slim = message._replace(sections=NO_SECTIONS, envelope_raw=None, bodystructure_raw=None)
            self._changed.append(slim)
        else:
            self._whole = False

    def _keep_vanished(self, uids: NumberSet) -> None:
        self._vanished += uids.ranges
        if len(self._vanished) > MAX_VANISHED_RANGES:
            self._vanished.clear()
            self._whole = False

    def _code(self, status: Status) -> None:
        number = _first_number(status.arguments)
        if status.code == "CLOSED":
            # All before was of the mailbox that was open until now (RFC 7162 3.2.11).
            self._restart()
            self._session.forget_selected()
        elif status.code == "UIDVALIDITY":
            self.mailbox = replace(self.mailbox, uidvalidity=number)
        elif status.code == "UIDNEXT":
            self.mailbox = replace(self.mailbox, uidnext=number)
        elif status.code == "HIGHESTMODSEQ":
            self.mailbox = replace(self.mailbox, highestmodseq=number or None)
        elif status.code == "NOMODSEQ":
            self.mailbox = replace(self.mailbox, highestmodseq=None)
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
