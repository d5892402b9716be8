"""From the first byte to a usable connection: greeting, STARTTLS, login, capabilities, ID."""

from __future__ import annotations

from sync.upstream.endpoint import Credentials, Endpoint
from sync.upstream.errors import AuthFailed, CommandRefused, ProtocolViolation, ServerBye, TlsFailed
from sync.upstream.protocol import extensions
from sync.upstream.protocol.requests import Deadline, StartTls, Steps
from sync.upstream.protocol.responses import Stray, Untagged, read_response
from sync.upstream.protocol.sasl import authenticate, mechanism_of
from sync.upstream.protocol.session import Session, argument, login_refused


def establish(session: Session, endpoint: Endpoint, credentials: Credentials) -> Steps[None]:
    """Bring a connection (with TLS already, for mode ``tls``) to the authenticated state."""
    session.secrets = secrets_of(credentials, endpoint)
    preauthenticated = yield from greeting(session)
    if endpoint.tls_mode == "starttls":
        if preauthenticated:
            # STARTTLS is not allowed any more, and going on would be in the clear (RFC 9051 11.1).
            raise TlsFailed("the upstream says PREAUTH, so TLS cannot be had")
        yield from _starttls(session)
    if not preauthenticated:
        yield from _log_in(session, endpoint, credentials)
    if session.profile.probe_login:
        yield from extensions.probe(session)
    # What was offered before login, also what a proxy in between rewrote, does not count (quirk 21).
    yield from session.command("CAPABILITY")
    yield from extensions.identify(session)
    yield from extensions.compress(session)
    yield from extensions.enable(session)
    session.setting_up = False


def log_out(session: Session) -> Steps[None]:
    """Say goodbye."""
    session.logging_out = True
    yield from session.command("LOGOUT", patience=session.deadlines.tls)


def secrets_of(credentials: Credentials, endpoint: Endpoint) -> tuple[str, ...]:
    """Return the texts that must not be repeated, the longest first."""
    mechanism = mechanism_of(credentials, endpoint)
    texts = {credentials.secret, credentials.username, mechanism.message.decode(), mechanism.initial.decode()}
    return tuple(sorted(texts, key=len, reverse=True))


def greeting(session: Session) -> Steps[bool]:
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
        session.greeted = True
        session.said = session.redacted(status.text)
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


def _log_in(session: Session, endpoint: Endpoint, credentials: Credentials) -> Steps[None]:
    if not session.capabilities:
        yield from session.command("CAPABILITY")
    try:
        if credentials.method == "login":
            yield from _login(session, credentials)
        else:
            yield from authenticate(session, mechanism_of(credentials, endpoint))
    except CommandRefused as error:
        raise login_refused(error) from None


def _login(session: Session, credentials: Credentials) -> Steps[None]:
    if session.offers("LOGINDISABLED"):
        raise AuthFailed("the upstream does not allow LOGIN on this connection (LOGINDISABLED)")
    arguments = b" ".join(argument(text.encode("utf-8")) for text in (credentials.username, credentials.secret))
    yield from session.command("LOGIN", arguments, patience=session.deadlines.login)
