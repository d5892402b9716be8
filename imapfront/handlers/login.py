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
from imapfront.throttle import Refusal, Throttle
from imapfront.wire import commands as c
from imapfront.wire import responses
from mailcache.services.login import Login, check_login, user_name_of

logger = logging.getLogger(__name__)

_FAILURE_DELAY_SECONDS = 1.0
_MAX_FAILURES = 5
_BUSY_SECONDS = 0.05


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
    login = await _checked(session, name, password)
    while login is Refusal.BUSY:
        await asyncio.sleep(_BUSY_SECONDS)
        login = await _checked(session, name, password)
    if isinstance(login, Refusal):
        logger.warning("%s: login refused, too many failures", session.peer)
        raise CommandFailed("too many failed logins, try again later", code="AUTHENTICATIONFAILED")
    if login is None:
        await _note_failure(session)
        raise CommandFailed("wrong name or password", code="AUTHENTICATIONFAILED")
    session.log_in(login)
    logger.info("%s: user %d logged in%s", session.peer, login.user_id, " over TLS" if session.tls else "")
    return completed("logged in", code="CAPABILITY " + " ".join(announced(session)))


async def _checked(session: Session, name: str, password: str) -> Login | Refusal | None:
    services = session.services
    return await services.threads.run(_check, services.throttle, name, password, session.peer)


def _check(throttle: Throttle, name: str, password: str, address: str) -> Login | Refusal | None:
    """Check a password as far as the throttle lets it: in one call, which no end of the connection leaves half done."""
    attempt = throttle.begin(name=user_name_of(name), address=address)
    if isinstance(attempt, Refusal):
        return attempt
    try:
        login = check_login(name=name, password=password)
    except BaseException:
        throttle.came_to_nothing(attempt)
        raise
    if login is None:
        throttle.failed(attempt)
    else:
        throttle.succeeded(attempt)
    return login


async def _note_failure(session: Session) -> None:
    session.failed_logins += 1
    logger.warning("%s: login failed", session.peer)
    await asyncio.sleep(_FAILURE_DELAY_SECONDS * session.failed_logins)
    if session.failed_logins >= _MAX_FAILURES:
        session.write(responses.untagged_status("BYE", "too many failed logins"))
        session.state = State.LOGOUT


def _expect_safe_transport(session: Session) -> None:
    if not session.may_login:
        raise CommandFailed("passwords are taken over TLS only", code="PRIVACYREQUIRED")
