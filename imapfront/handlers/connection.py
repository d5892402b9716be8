"""CAPABILITY, NOOP, CHECK, ID, ENABLE, LOGOUT (RFC 3501 6.1, RFC 2971, RFC 5161)."""

from __future__ import annotations

import logging

from imapfront.capabilities import ENABLEABLE, capabilities
from imapfront.errors import Answer, completed
from imapfront.session import Session
from imapfront.states import State
from imapfront.wire import commands as c
from imapfront.wire import responses

logger = logging.getLogger(__name__)

_LOGGED_ID_FIELDS = ("name", "version", "os")


def announced(session: Session) -> tuple[str, ...]:
    """Return the capabilities of a session as it is now."""
    return capabilities(
        authenticated=session.scope is not None,
        can_start_tls=session.services.can_start_tls and not session.tls,
        may_login=session.may_login,
        append_limit=session.services.configuration.limits.message,
    )


def capability(session: Session, _: c.Capability) -> Answer:
    """Tell the capabilities."""
    session.write(responses.capability(announced(session)))
    return completed("CAPABILITY completed")


async def run_capability(session: Session, command: c.Capability) -> Answer:
    """Tell the capabilities."""
    return capability(session, command)


def noop(session: Session, _: c.Noop) -> Answer:
    """Do nothing; what happened to the mailbox is told with the answer."""
    return completed("NOOP completed")


async def run_noop(session: Session, command: c.Noop) -> Answer:
    """Learn what happened to the mailbox."""
    return noop(session, command)


def check(session: Session, _: c.Check) -> Answer:
    """Do what NOOP does: everything is durable already."""
    return completed("CHECK completed")


async def run_check(session: Session, command: c.Check) -> Answer:
    """Do what NOOP does."""
    return check(session, command)


async def run_id(session: Session, command: c.Id) -> Answer:
    """Exchange names. The version is not told to strangers."""
    told = {key: value for key, value in command.parameters.items() if key.lower() in _LOGGED_ID_FIELDS and value}
    if told:
        logger.info("%s: client %s", session.peer, " ".join(f"{key}={value[:60]!r}" for key, value in told.items()))
    session.write(responses.id_response({"name": "imapped"}))
    return completed("ID completed")


async def run_enable(session: Session, command: c.Enable) -> Answer:
    """Switch extensions on; unknown ones are ignored (RFC 5161 3.1)."""
    on = [name for name in command.capabilities if name in ENABLEABLE]
    session.condstore |= "CONDSTORE" in on
    session.write(responses.enabled(on))
    return completed("ENABLE completed")


async def run_logout(session: Session, _: c.Logout) -> Answer:
    """Say goodbye."""
    session.close_mailbox()
    session.write(responses.untagged_status("BYE", "logging out"))
    session.state = State.LOGOUT
    return completed("LOGOUT completed")
