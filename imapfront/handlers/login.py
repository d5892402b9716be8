"""STARTTLS, LOGIN, AUTHENTICATE PLAIN (RFC 3501 6.2, RFC 4616)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging

from imapfront.errors import Answer, CommandFailed, completed
from imapfront.handlers.connection import announced
from imapfront.session import Session
from imapfront.states import State
from imapfront.wire import commands as c
from imapfront.wire import responses
from mailcache.reads.mailboxes import Scope
from mailcache.services.login import check_login

logger = logging.getLogger(__name__)

_FAILURE_DELAY_SECONDS = 1.0
_MAX_FAILURES = 5


async def run_starttls(session: Session, _: c.StartTls) -> Answer:
    """Begin TLS as soon as the answer is sent."""
    if session.tls or not session.services.can_start_tls:
        raise CommandFailed("TLS is on already" if session.tls else "no certificate is configured", status="BAD")
    session.wants_tls = True
    return completed("begin TLS now")


async def run_login(session: Session, command: c.Login) -> Answer:
    """Log in with name and password."""
    return await _log_in(session, command.user, command.password)


async def run_authenticate(session: Session, command: c.Authenticate) -> Answer:
    """Log in by SASL; PLAIN is what there is."""
    if command.mechanism != "PLAIN":
        raise CommandFailed("the one mechanism is PLAIN")
    _expect_safe_transport(session)
    if command.initial_response is None:
        session.write(responses.continuation())
        encoded = await session.channel.read_line()
    else:
        encoded = b"" if command.initial_response == b"=" else command.initial_response
    if encoded == b"*":
        raise CommandFailed("AUTHENTICATE cancelled", status="BAD")
    name, password = _plain(encoded)
    return await _log_in(session, name, password)


def _plain(encoded: bytes) -> tuple[str, str]:
    try:
        identity, name, password = base64.b64decode(encoded, validate=True).decode("utf-8").split("\0")
    except (binascii.Error, ValueError):
        raise CommandFailed("not a response of PLAIN", status="BAD") from None
    if identity not in ("", name):
        raise CommandFailed("nobody may act for another user", code="AUTHORIZATIONFAILED")
    return name, password


async def _log_in(session: Session, name: str, password: str) -> Answer:
    _expect_safe_transport(session)
    services = session.services
    throttle = services.throttle
    if await services.threads.run(throttle.is_locked_out, name=name, address=session.peer):
        logger.warning("%s: login refused, too many failures", session.peer)
        raise CommandFailed("too many failed logins, try again later", code="AUTHENTICATIONFAILED")
    login = await services.threads.run(check_login, name=name, password=password)
    if login is None:
        await _note_failure(session, name)
        raise CommandFailed("wrong name or password", code="AUTHENTICATIONFAILED")
    await services.threads.run(throttle.forget, name=name)
    session.scope = Scope(login.user_id, login.account_id)
    session.state = State.AUTHENTICATED
    session.channel.logged_in()
    logger.info("%s: user %d logged in%s", session.peer, login.user_id, " over TLS" if session.tls else "")
    return completed("logged in", code="CAPABILITY " + " ".join(announced(session)))


async def _note_failure(session: Session, name: str) -> None:
    await session.services.threads.run(session.services.throttle.note_failure, name=name, address=session.peer)
    session.failed_logins += 1
    logger.warning("%s: login failed", session.peer)
    await asyncio.sleep(_FAILURE_DELAY_SECONDS * session.failed_logins)
    if session.failed_logins >= _MAX_FAILURES:
        session.write(responses.untagged_status("BYE", "too many failed logins"))
        session.state = State.LOGOUT


def _expect_safe_transport(session: Session) -> None:
    if not session.may_login:
        raise CommandFailed("passwords are taken over TLS only", code="PRIVACYREQUIRED")
