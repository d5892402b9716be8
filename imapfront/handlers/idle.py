"""IDLE (RFC 2177)."""

from __future__ import annotations

import asyncio
from typing import Any

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.session import Session
from imapfront.wire import commands as c
from imapfront.wire import responses

# Keeps NAT tables warm, and finds connections that are dead.
_STILL_HERE_SECONDS = 120.0


async def run_idle(session: Session, _: c.Idle) -> Answer:
    """Tell what happens to the mailbox as it happens, until the client says DONE."""
    changed = asyncio.Event()
    shared = session.selected.shared if session.selected is not None else None
    if shared is not None:
        shared.listeners.add(changed.set)
    done = asyncio.ensure_future(session.channel.read_line())
    try:
        session.write(responses.continuation("idling"))
        await session.refresh()
        session.send_updates()
        while not done.done():
            await _wait(done, changed)
            if shared is not None and shared.gone:
                break
            if changed.is_set():
                changed.clear()
                session.send_updates()
            elif not done.done():
                session.write(responses.untagged_status("OK", "still here"))
            await session.channel.drain()
    finally:
        if shared is not None:
            shared.listeners.discard(changed.set)
        done.cancel()
    if done.done() and not done.cancelled() and done.result().upper() != b"DONE":
        raise CommandFailed("expected DONE", status="BAD")
    return completed("IDLE completed")


async def _wait(done: asyncio.Future[bytes], changed: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(changed.wait())
    try:
        both: set[asyncio.Future[Any]] = {done, waiting}
        await asyncio.wait(both, timeout=_STILL_HERE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
