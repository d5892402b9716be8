"""What handlers know of the connection that they answer: its state, its mailbox, and where to write."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from imapfront.conf import Configuration
from imapfront.db import ServiceThreads
from imapfront.errors import EXPECTED, CommandFailed
from imapfront.hub import Hub, SharedMailbox
from imapfront.states import State
from imapfront.throttle import Throttle
from imapfront.view import Updates, View
from imapfront.wire import responses
from mailcache.reads.mailboxes import Scope
from mailcache.reads.pool import Pool
from mailcache.services.login import Login
from mailcache.wire.framing import LiteralSink

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What all sessions of a process share."""

    configuration: Configuration
    pool: Pool
    hub: Hub
    threads: ServiceThreads
    throttle: Throttle
    can_start_tls: bool
    open_spool: Callable[[], LiteralSink]
    """Returns a new file for a message that a client appends."""


@dataclass(slots=True)
class Selected:
    """The open mailbox of a session."""

    name: str
    account_id: int
    shared: SharedMailbox
    view: View
    read_only: bool


class Channel(Protocol):
    """The connection, as far as handlers use it."""

    def write(self, data: bytes) -> None:
        """Send bytes; they are buffered if the client is slow."""

    async def drain(self) -> None:
        """Wait until the client has taken most of what was sent."""

    async def read_line(self) -> bytes:
        """Return the next line that belongs to the running command."""

    def logged_in(self) -> None:
        """Let the limits after login hold."""


class Session:
    """One client's state (RFC 3501 3)."""

    def __init__(self, services: Services, channel: Channel, *, peer: str, is_local: bool, tls: bool) -> None:
        self.services = services
        self.channel = channel
        self.peer = peer
        self.is_local = is_local
        self.tls = tls
        self.wants_tls = False
        self.state = State.NOT_AUTHENTICATED
        self.scope: Scope | None = None
        self.login: Login | None = None
        self.selected: Selected | None = None
        self.failed_logins = 0
        self.condstore = False
        """True once the client has shown that it knows modseqs: FETCH responses tell them (RFC 7162 3.1.2)."""

    @property
    def may_login(self) -> bool:
        """True when a password may be sent: over TLS, from this machine, or where plaintext is allowed."""
        return self.tls or self.is_local or self.services.configuration.allow_plaintext_login

    @property
    def user(self) -> Scope:
        """Whose mailboxes this session sees."""
        if self.scope is None:
            raise CommandFailed("log in first", status="BAD")
        return self.scope

    @property
    def mailbox(self) -> Selected:
        """The open mailbox."""
        if self.selected is None:
            raise CommandFailed("no mailbox is selected", status="BAD")
        return self.selected

    def write(self, data: bytes) -> None:
        """Send bytes to the client."""
        self.channel.write(data)

    def close_mailbox(self) -> None:
        """Leave the selected state."""
        if self.selected is not None:
            self.services.hub.release(self.selected.shared)
            self.selected = None
            self.state = State.AUTHENTICATED

    def is_current(self) -> bool:
        """True when nothing is known that the client has yet to be told."""
        selected = self.selected
        if selected is None:
            return True
        shared = selected.shared
        return self.services.hub.is_current(shared) and selected.view.modseq >= shared.snapshot.highestmodseq

    async def refresh(self) -> None:
        """Learn what was committed until now; tells the client nothing yet."""
        if self.selected is not None:
            await self.services.hub.refresh(self.selected.shared)

    async def refresh_if_possible(self) -> bool:
        """Learn the same behind something that is done: answered NO, it would be done again. False where that fails.

        The next command tells the rest.
        """
        try:
            await self.refresh()
        except EXPECTED as error:
            logger.warning("%s: no updates: %s", self.peer, error)
            return False
        return True

    def log_in(self, login: Login) -> None:
        """Enter the authenticated state."""
        self.login, self.scope = login, Scope(login.user_id, login.account_id)
        self.state = State.AUTHENTICATED
        self.channel.logged_in()

    def enable_condstore(self) -> None:
        """Tell modseqs from now on; the first command that names them is told how far they are (RFC 7162 3.1)."""
        if not self.condstore and self.selected is not None:
            code = f"HIGHESTMODSEQ {self.selected.view.modseq}"
            self.write(responses.untagged_status("OK", "modseqs", code=code))
        self.condstore = True

    def send_flags(self) -> None:
        """Tell a client that knows modseqs all flags that have changed, while no message may lose its number.

        It may keep the highest modseq that it was told, and would not ask for those below it again (RFC 7162 3.1).
        """
        selected = self.selected
        if selected is None or not self.condstore:
            return
        snapshot, view = selected.shared.snapshot, selected.view
        lines = []
        for uid in view.untold(snapshot):
            at = snapshot.position(uid)
            items = [flags_item(selected, uid, at), modseq_item(selected, at)]
            lines.append(responses.fetch(view.position(uid) + 1, items))
            view.told[uid] = snapshot.modseqs[at]
        if lines:
            self.write(b"".join(lines))

    def send_updates(self) -> None:
        """Tell the client what happened to its mailbox (RFC 3501 7.3, 7.4)."""
        selected = self.selected
        if selected is not None:
            updates = selected.view.sync(selected.shared.snapshot)
            if updates:
                self.write(_rendered(selected, updates, modseqs=self.condstore))


def flags_item(selected: Selected, uid: int, snapshot_position: int) -> bytes:
    """Return ``FLAGS (…)`` of a message in this session."""
    snapshot = selected.shared.snapshot
    rendered = snapshot.rendered[snapshot.flag_indexes[snapshot_position]]
    if uid >= selected.view.recent_uid:
        rendered = rendered + b" \\Recent" if rendered else b"\\Recent"
    return b"FLAGS (" + rendered + b")"


def modseq_item(selected: Selected, snapshot_position: int) -> bytes:
    """Return ``MODSEQ (…)`` of a message."""
    return b"MODSEQ (%d)" % selected.shared.snapshot.modseqs[snapshot_position]


def _rendered(selected: Selected, updates: Updates, *, modseqs: bool) -> bytes:
    pieces = [responses.expunge(number) for number in updates.expunged]
    if updates.exists is not None:
        pieces.append(responses.exists(updates.exists))
        pieces.append(responses.recent(updates.recent or 0))
    snapshot = selected.shared.snapshot
    for position in updates.changed:
        uid = selected.view.uids[position]
        at = snapshot.position(uid)
        if at >= 0:
            items = [b"UID %d" % uid, flags_item(selected, uid, at)]
            if modseqs:
                items.append(modseq_item(selected, at))
            pieces.append(responses.fetch(position + 1, items))
    return b"".join(pieces)
