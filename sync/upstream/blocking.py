"""The blocking driver of the upstream protocol: one socket, for workers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from mailcache.wire.number_set import NumberSet
from sync.profiles import GENERIC, Profile
from sync.upstream.blocking_wire import Wire, dial
from sync.upstream.client import ClientState
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import CommandRefused, ConnectionPoisoned, NotOffered, UpstreamError
from sync.upstream.protocol import changes, fetch, idle, login, mailboxes, notify, search, selecting
from sync.upstream.protocol.requests import StartTls, Steps
from sync.upstream.protocol.session import Session
from sync.upstream.values import (
    AppendedUids,
    CopiedUids,
    IdleEvent,
    ListedMailbox,
    MailboxStatus,
    Namespaces,
    NewMessage,
    OnMessage,
    OpenSink,
    Resync,
    SelectedMailbox,
)

T = TypeVar("T")


class BlockingClient(ClientState):
    """An authenticated connection to an upstream. Not for several threads.

    Once anything failed in the middle of a command, the connection is closed, and every later call raises
    ``ConnectionPoisoned``; a command that the upstream refused (``CommandRefused``) leaves it usable.
    """

    def __init__(self, wire: Wire, session: Session) -> None:
        super().__init__(session)
        self._wire = wire

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        credentials: Credentials,
        deadlines: Deadlines | None = None,
        *,
        profile: Profile = GENERIC,
        refused: Iterable[str] = (),
    ) -> Self:
        """Connect, log in, and agree on extensions; raises ``UpstreamError``.

        What the profile masks and what was ``refused`` on earlier connections is not used, whatever is advertised.
        """
        deadlines = deadlines or Deadlines()
        session = Session(deadlines, profile, refused)
        try:
            client = cls(Wire(dial(endpoint, deadlines), endpoint), session)
            try:
                if endpoint.tls_mode == "tls":
                    client._run(_tls_first(deadlines))
                client._run(login.establish(session, endpoint, credentials))
            except BaseException:
                client.close()
                raise
        except UpstreamError as error:
            error.is_away, error.before_login = not session.greeted, True
            raise
        return client

    def namespaces(self) -> Namespaces:
        """NAMESPACE; empty where it is not offered."""
        return self._run(mailboxes.namespaces(self._session))

    def list_mailboxes(
        self, reference: bytes = b"", pattern: bytes = b"*", *, status: bool = False
    ) -> list[ListedMailbox]:
        """LIST, with special uses where offered; with the ``status`` of each where that costs no more commands."""
        return self._run(mailboxes.list_mailboxes(self._session, reference, pattern, status=status))

    def status(self, name_raw: bytes) -> MailboxStatus:
        """STATUS of one mailbox, which should not be the open one."""
        return self._run(mailboxes.mailbox_status(self._session, name_raw))

    def examine(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        """Open a mailbox to read; with QRESYNC the answer tells what happened since ``resync``."""
        return self._run(selecting.select(self._session, name_raw, read_only=True, resync=resync))

    def select(self, name_raw: bytes, *, resync: Resync | None = None) -> SelectedMailbox:
        """Open a mailbox to read and write; with QRESYNC the answer tells what happened since ``resync``."""
        return self._run(selecting.select(self._session, name_raw, read_only=False, resync=resync))

    def uid_search(self, criteria: bytes = b"ALL") -> list[int]:
        """Return the UIDs that match, ascending."""
        return self._run(search.uid_search(self._session, criteria))

    def uid_fetch(
        self, uids: Sequence[int], items: bytes, *, on_message: OnMessage, open_sink: OpenSink | None = None
    ) -> None:
        """Fetch ``items`` (``b"(UID FLAGS)"``), passing each response to ``on_message`` as it comes.

        Responses may come in any order, in several parts for one message, or not at all. ``open_sink`` may give each
        section a sink to be streamed into; what a sink got is whole only when ``on_message`` names it.
        """
        self._run(fetch.uid_fetch(self._session, uids, items, on_message, open_sink))

    def uid_fetch_set(
        self,
        sequence_set: bytes,
        items: bytes,
        *,
        on_message: OnMessage,
        changed_since: int | None = None,
        vanished: bool = False,
    ) -> NumberSet:
        """Fetch ``items`` of a sequence set (``b"1:*"``) in one command, without bodies.

        With ``changed_since`` only of messages that changed since that modseq. With ``vanished`` too the UIDs that are
        gone since then are returned. Raises ``NotOffered`` where CONDSTORE or QRESYNC is not to be had.
        """
        return self._run(
            fetch.uid_fetch_set(
                self._session, sequence_set, items, on_message, changed_since=changed_since, vanished=vanished
            )
        )

    def uid_store(self, uids: Sequence[int], item: bytes, flags: Sequence[str]) -> None:
        """Change flags: ``item`` is ``b"+FLAGS.SILENT"`` and the like."""
        self._run(changes.uid_store(self._session, uids, item, flags))

    def uid_store_label(self, uids: Sequence[int], label: str, *, added: bool) -> None:
        """Give messages of the open mailbox a label, or take it from them."""
        self._run(changes.uid_store_label(self._session, uids, label, added=added))

    def append(self, mailbox_raw: bytes, messages: Sequence[NewMessage]) -> AppendedUids:
        """APPEND; several messages in one command need MULTIAPPEND."""
        return self._run(changes.append(self._session, mailbox_raw, messages))

    def uid_copy(self, uids: Sequence[int], target_raw: bytes) -> CopiedUids:
        """Copy messages of the open mailbox."""
        return self._run(changes.uid_copy(self._session, uids, target_raw))

    def uid_move(self, uids: Sequence[int], target_raw: bytes) -> CopiedUids:
        """Move messages of the open mailbox; raises ``NotOffered``."""
        return self._run(changes.uid_move(self._session, uids, target_raw))

    def uid_expunge(self, uids: Sequence[int]) -> None:
        """Expunge exactly these messages; raises ``NotOffered``."""
        self._run(changes.uid_expunge(self._session, uids))

    def expunge(self) -> None:
        """Expunge everything in the open mailbox that is marked ``\\Deleted``."""
        self._run(changes.expunge(self._session))

    def create(self, name_raw: bytes, *, use: str = "") -> None:
        """Create a mailbox, with a special use where that can be asked for."""
        self._run(changes.create(self._session, name_raw, use=use))

    def delete(self, name_raw: bytes) -> None:
        """Delete a mailbox."""
        self._run(changes.delete(self._session, name_raw))

    def rename(self, name_raw: bytes, new_name_raw: bytes) -> None:
        """Rename a mailbox."""
        self._run(changes.rename(self._session, name_raw, new_name_raw))

    def subscribe(self, name_raw: bytes, *, subscribed: bool) -> None:
        """Subscribe to a mailbox, or no longer."""
        self._run(changes.subscribe(self._session, name_raw, subscribed=subscribed))

    def offers(self, capability: str) -> bool:
        """True for an extension that may be used on this connection."""
        return self._session.offers(capability)

    def notify(self, *, status: bool = False) -> bool:
        """Ask for announcements of all personal mailboxes in ``idle``; False where NOTIFY is not to be had.

        ``status`` asks for a STATUS event of each mailbox at once; the oldest of too many are lost. An OVERFLOW event
        ends it.
        """
        return self._run(notify.notify(self._session, status=status))

    def noop(self) -> list[IdleEvent]:
        """NOOP; returns what the upstream announced since the last ``noop`` or ``idle``."""
        return self._run(idle.noop(self._session))

    def idle(self, *, seconds: float | None = None) -> Iterator[IdleEvent]:
        """Yield announcements as they come, for ``seconds`` or without end; IDLE stays on until the next command.

        Raises ``NotOffered`` where there is neither IDLE nor ``notify`` was accepted.
        """
        self._wire.waits_until = None if seconds is None else time.monotonic() + seconds
        while (events := self._run(idle.wait(self._session))) is not None:
            yield from events

    def logout(self) -> None:
        """Say goodbye and close; never raises ``UpstreamError``."""
        try:
            self._run(login.log_out(self._session))
        except UpstreamError:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Close without a word. Another thread may call this: a read that waits for bytes ends."""
        self._closed = True
        self._wire.shut_down()
        if not self._busy:
            self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.logout()
        else:
            self.close()

    def _run(self, steps: Steps[T]) -> T:
        if self._closed:
            raise ConnectionPoisoned("the connection failed before or was closed") from self._fault
        if self._busy:
            raise RuntimeError("an upstream connection serves one command at a time")
        self._busy = True
        try:
            reply: bytes | None = None
            while True:
                reply = self._wire.perform(steps.send(reply))
                if reply:
                    self._session.count_in(len(reply))
        except StopIteration as done:
            result: T = done.value
            return result
        except (CommandRefused, NotOffered):
            raise
        except BaseException as fault:
            # Also an interrupt and a fault of the caller's sink: what was not read would be taken for the next answer.
            self._fault = self._fault or fault
            self._closed = True
            raise
        finally:
            self._busy = False
            if self._closed:
                self._wire.close()


def _tls_first(deadlines: Deadlines) -> Steps[None]:
    yield StartTls(deadlines.tls)
