"""What both drivers tell of their connection."""

from __future__ import annotations

from sync.upstream.protocol.idle import take_pending
from sync.upstream.protocol.session import Session
from sync.upstream.values import IdleEvent, SelectedMailbox, Statistics


class ClientState:
    """The facts of one connection; the drivers add the commands."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fault: BaseException | None = None
        self._closed = False
        self._busy = False

    @property
    def capabilities(self) -> frozenset[str]:
        """What the upstream offers on this connection, in upper case."""
        return self._session.capabilities

    @property
    def enabled(self) -> frozenset[str]:
        """The extensions that ENABLE turned on."""
        return self._session.enabled

    @property
    def refused(self) -> frozenset[str]:
        """What the upstream advertised and rejected on this connection, without what was not to be used anyway.

        Also ``SEARCH ALL`` and ``NOTIFY MailboxName``, which are no capabilities. Given to ``connect`` it is not tried
        again.
        """
        return frozenset(self._session.refused - self._session.masked)

    @property
    def said(self) -> str:
        """The texts of the greeting and of ID, which may tell what the upstream is."""
        return self._session.said

    @property
    def selected(self) -> SelectedMailbox | None:
        """The mailbox that is open."""
        return self._session.selected

    def take_announced(self) -> list[IdleEvent]:
        """Return what the upstream announced beside its answers since the last ``noop``, ``idle`` or call of this."""
        return take_pending(self._session)

    @property
    def statistics(self) -> Statistics:
        """What this connection has done so far."""
        return self._session.statistics

    @property
    def poisoned(self) -> bool:
        """True once the connection cannot be used any more."""
        return self._closed

    def may(self, capability: str) -> bool:
        """Tell whether an extension may be used here: advertised, not masked, not rejected since."""
        return self._session.offers(capability)
