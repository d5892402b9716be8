"""From the first byte to a usable connection: greeting, STARTTLS, login, capabilities, ID."""

from __future__ import annotations

import base64
from collections.abc import Callable

from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.errors import AuthFailed, CommandRefused, ProtocolViolation, ServerBye, TlsFailed
from sync.upstream.protocol.requests import Deadline, StartTls, Steps
from sync.upstream.protocol.responses import Stray, Untagged, read_response
from sync.upstream.protocol.session import Handlers, Session, argument, login_refused

_ID = b'("name" "imapped")'


def establish(session: Session, endpoint: Endpoint, credentials: Credentials) -> Steps[None]:
    """Bring a connection (with TLS already, for mode ``tls``) to the authenticated state."""
    session.secrets = secrets_of(credentials)
    preauthenticated = yield from _greeting(session)
    if endpoint.tls_mode == "starttls":
        if preauthenticated:
            # STARTTLS is not allowed any more, and going on would be in the clear (RFC 9051 11.1).
            raise TlsFailed("the upstream says PREAUTH, so TLS cannot be had")
        yield from _starttls(session)
    if not preauthenticated:
        yield from _log_in(session, credentials)
    # What was offered before login, also what a proxy in between rewrote, does not count (quirk 21).
    yield from session.command("CAPABILITY")
    if session.offers("ID"):
        try:
            # Some servers open no mailbox for clients that do not say who they are (quirk 28).
            yield from session.command("ID", _ID)
        except CommandRefused:
            session.refused.add("ID")


def log_out(session: Session) -> Steps[None]:
    """Say goodbye."""
    session.logging_out = True
    yield from session.command("LOGOUT", patience=session.deadlines.tls)


def secrets_of(credentials: Credentials) -> tuple[str, ...]:
    """Return the texts that must not be repeated, the longest first."""
    initial = _plain_response(credentials).decode("ascii")
    return tuple(sorted({credentials.secret, credentials.username, initial}, key=len, reverse=True))


def _greeting(session: Session) -> Steps[bool]:
    """Read the greeting; tells whether it was PREAUTH."""
    deadlines = session.deadlines
    yield Deadline("greeting", deadlines.greeting, deadlines.greeting)
    while True:
        response = read_response((yield from session.read_frame()))
        if isinstance(response, Stray) and not response.text.strip(b"\x00 \t"):
            continue
        if not isinstance(response, Untagged) or response.name not in {b"OK", b"PREAUTH", b"BYE"}:
            raise ProtocolViolation("no IMAP server: the greeting is none")
        status = response.status()
        if response.name == b"BYE":
            raise ServerBye(f"BYE {f'[{status.code}] ' if status.code else ''}{status.text}")
        if status.code == "CAPABILITY":
            session.note_capabilities(status.arguments)
        return response.name == b"PREAUTH"


def _starttls(session: Session) -> Steps[None]:
    if not session.capabilities:
        yield from session.command("CAPABILITY")
    if not session.offers("STARTTLS"):
        raise TlsFailed("the upstream does not offer STARTTLS")
    try:
        yield from session.command("STARTTLS")
    except CommandRefused as error:
        raise TlsFailed(f"the upstream refused STARTTLS: {error.text}") from error
    if session.framer.buffered or not session.framer.between_frames:
        # Sent in the clear to be taken for what comes under TLS (CVE-2011-0411 and its kin).
        raise ProtocolViolation("bytes were injected after STARTTLS")
    yield StartTls(session.deadlines.tls)
    session.capabilities = frozenset()
    session.pending.clear()


def _log_in(session: Session, credentials: Credentials) -> Steps[None]:
    if not session.capabilities:
        yield from session.command("CAPABILITY")
    try:
        if credentials.method == "plain":
            yield from _authenticate_plain(session, credentials)
        else:
            yield from _login(session, credentials)
    except CommandRefused as error:
        raise login_refused(error) from None


def _login(session: Session, credentials: Credentials) -> Steps[None]:
    if session.offers("LOGINDISABLED"):
        raise AuthFailed("the upstream does not allow LOGIN on this connection (LOGINDISABLED)")
    arguments = b" ".join(argument(text.encode("utf-8")) for text in (credentials.username, credentials.secret))
    yield from session.command("LOGIN", arguments, patience=session.deadlines.login)


def _authenticate_plain(session: Session, credentials: Credentials) -> Steps[None]:
    initial = _plain_response(credentials)
    at_once = session.offers("SASL-IR")
    yield from session.command(
        "AUTHENTICATE",
        b"PLAIN " + initial if at_once else b"PLAIN",
        Handlers(continuation=_answer_once(initial + b"\r\n")),
        patience=session.deadlines.login,
    )


def _answer_once(answer: bytes) -> Callable[[bytes], bytes]:
    """Answer the first challenge, which also comes where an initial response was overlooked; cancel any further."""
    answers = [answer]

    def on_challenge(_challenge: bytes) -> bytes:
        return answers.pop() if answers else b"*\r\n"

    return on_challenge


def _plain_response(credentials: Credentials) -> bytes:
    """Return the message of RFC 4616, in base64: no authorization identity, name, secret."""
    message = f"\0{credentials.username}\0{credentials.secret}"
    return base64.b64encode(message.encode("utf-8"))
