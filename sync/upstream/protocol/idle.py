"""IDLE (RFC 2177) and NOOP: what the upstream announces by itself."""

from __future__ import annotations

from mailcache.wire.framing import ContinuationWanted, Frame
from sync.upstream.errors import NotOffered, ProtocolViolation
from sync.upstream.protocol.requests import Deadline, Receive, Steps
from sync.upstream.protocol.responses import Continuation, Tagged, read_response
from sync.upstream.protocol.session import Session
from sync.upstream.values import IdleEvent

_PATIENT = Receive(patient=True)


def noop(session: Session) -> Steps[list[IdleEvent]]:
    """Run NOOP and return everything that the upstream announced since the last time."""
    yield from session.command("NOOP")
    return take_pending(session)


def take_pending(session: Session) -> list[IdleEvent]:
    """Return what was announced, and forget it."""
    events = list(session.pending)
    session.pending.clear()
    return events


def wait(session: Session) -> Steps[list[IdleEvent] | None]:
    """Return announcements as soon as there are any; None when whoever waits was asked to stop.

    IDLE stays on afterwards, until the next command; it is renewed when its deadline passes.
    """
    while not session.pending:
        if session.idle_tag is None:
            yield from _begin(session)
            continue
        data = yield _PATIENT
        if data is None:
            return None
        if data:
            session.framer.feed(data)
            _take_frames(session)
        else:
            yield from session.end_idle()
    return take_pending(session)


def _begin(session: Session) -> Steps[None]:
    if not session.offers("IDLE"):
        raise NotOffered("the upstream does not offer IDLE")
    deadlines = session.deadlines
    yield Deadline("IDLE", deadlines.command, deadlines.inactivity)
    tag = session.next_tag()
    yield session.sending(tag + b" IDLE\r\n")
    while True:
        response = read_response((yield from session.read_frame()))
        if isinstance(response, Continuation):
            break
        if isinstance(response, Tagged):
            session.refused.add("IDLE")
            session.checked("IDLE", response.status)
            raise NotOffered("the upstream ended IDLE before it began")
        session.take(response, None)
    session.idle_tag = tag
    yield Deadline("IDLE", deadlines.idle, deadlines.idle)
    _take_frames(session)


def _take_frames(session: Session) -> None:
    """Handle what has arrived."""
    while (event := session.framer.next_event()) is not None:
        if isinstance(event, ContinuationWanted):
            continue
        if not isinstance(event, Frame):
            raise ProtocolViolation("a response exceeds every limit")
        response = read_response(event)
        if isinstance(response, Tagged):
            # Beginning again could go round and round; whoever reconnects waits longer each time.
            raise ProtocolViolation("the upstream ended IDLE by itself")
        if not isinstance(response, Continuation):
            session.take(response, None)
