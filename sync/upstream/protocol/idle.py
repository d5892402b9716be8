"""IDLE (RFC 2177) and NOOP: what the upstream announces by itself."""

from __future__ import annotations

from typing import NoReturn

from sync.upstream.errors import CommandRefused, NotOffered, ProtocolViolation
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
        if session.idle_tag is None and not session.listening:
            yield from _begin(session)
            continue
        data = yield _PATIENT
        if data is None:
            return None
        if data:
            session.feed(data)
            _take_frames(session)
        elif session.idle_tag is not None:
            yield from session.end_idle()
            if session.profile.noop_between_idles:
                yield from session.command("NOOP")
        else:
            yield from session.command("NOOP")
    return take_pending(session)


def _begin(session: Session) -> Steps[None]:
    if session.offers("IDLE"):
        yield from _begin_idle(session)
    elif session.notifying:
        # NOTIFY needs no IDLE: the upstream speaks whenever it wants (RFC 5465 3.1). NOOP now and then keeps it alive.
        session.listening = True
    else:
        raise NotOffered("the upstream does not offer IDLE")
    seconds = session.deadlines.idle or session.profile.idle_seconds
    yield Deadline("IDLE", seconds, seconds)
    _take_frames(session)


def _begin_idle(session: Session) -> Steps[None]:
    yield from session.pause()
    yield Deadline("IDLE", session.deadlines.command, session.deadlines.inactivity)
    tag = session.next_tag("IDLE")
    yield session.sending(tag + b" IDLE\r\n")
    while True:
        response = read_response((yield from session.read_frame()))
        if isinstance(response, Continuation):
            session.idle_tag = tag
            return
        if isinstance(response, Tagged):
            _ended_at_once(session, response)
        else:
            session.take(response, None)


def _ended_at_once(session: Session, response: Tagged) -> NoReturn:
    try:
        session.checked("IDLE", response.status)
    except CommandRefused as error:
        session.refuse("IDLE", error)
        raise
    session.refused.add("IDLE")
    raise NotOffered("the upstream ended IDLE before it began")


def _take_frames(session: Session) -> None:
    """Handle what has arrived."""
    while (frame := session.arrived_frame()) is not None:
        response = read_response(frame)
        if isinstance(response, Tagged):
            # Beginning again could go round and round; whoever reconnects waits longer each time.
            raise ProtocolViolation("the upstream ended IDLE by itself")
        if not isinstance(response, Continuation):
            session.take(response, None)
