"""TLS towards upstreams: all modes, whom to trust, and nothing taken from before the handshake."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mailcache.crypto.certificates import write_self_signed
from sync.upstream.endpoint import Credentials, Deadlines, Endpoint, TlsMode
from sync.upstream.errors import ProtocolViolation, ServerBye, Severity, TimedOut, TlsFailed, UpstreamError
from tests.fakes.scripted_imap import Action, Answer, ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.drivers import Connect

CREDENTIALS = Credentials("login", "fred", "s3cret")
SHORT = Deadlines(connect=5, tls=0.3, greeting=5, login=5, command=5, inactivity=5)


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for ``localhost`` and 127.0.0.1, and the certificate to trust."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    write_self_signed(certificate, key, hostnames=["localhost", "127.0.0.1"], now=datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


@pytest.mark.parametrize("mode", ["tls", "starttls"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_tls_with_an_extra_ca(connect: Connect, dovecot: Dovecot, upstream_user: str, mode: TlsMode, host: str) -> None:
    port = dovecot.tls_port if mode == "tls" else dovecot.plain_port
    endpoint = Endpoint(host, port, mode, dovecot.ca_file)

    with connect(endpoint, Credentials("login", upstream_user, dovecot.password), Deadlines()) as client:
        assert client.examine(b"INBOX").exists == 0


@pytest.mark.parametrize("mode", ["tls", "starttls"])
def test_an_unknown_ca_is_refused(connect: Connect, dovecot: Dovecot, mode: TlsMode) -> None:
    port = dovecot.tls_port if mode == "tls" else dovecot.plain_port

    with pytest.raises(TlsFailed, match="not trusted") as caught:
        connect(Endpoint("localhost", port, mode), CREDENTIALS, Deadlines())
    assert caught.value.severity is Severity.ACCOUNT


@pytest.mark.parametrize("name", ["imap.example.test", "127.0.0.2"])
def test_a_certificate_for_somebody_else_is_refused(connect: Connect, dovecot: Dovecot, name: str) -> None:
    endpoint = Endpoint("127.0.0.1", dovecot.tls_port, "tls", dovecot.ca_file, server_hostname=name)

    with pytest.raises(TlsFailed, match="not trusted") as caught:
        connect(endpoint, CREDENTIALS, Deadlines())
    assert caught.value.severity is Severity.ACCOUNT


def test_a_ca_file_that_is_none_says_so(connect: Connect, dovecot: Dovecot, tmp_path: Path) -> None:
    for ca_file in (tmp_path / "missing.pem", Path(__file__)):
        with pytest.raises(TlsFailed, match="CA file"):
            connect(Endpoint("localhost", dovecot.tls_port, "tls", ca_file), CREDENTIALS, Deadlines())


def test_tls_with_a_plaintext_port_fails(connect: Connect, dovecot: Dovecot) -> None:
    with pytest.raises(UpstreamError, match="TLS"):
        connect(Endpoint("localhost", dovecot.plain_port, "tls", dovecot.ca_file), CREDENTIALS, Deadlines())


def test_a_server_that_knows_tls_1_2_at_most(
    connect: Connect, server_tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quirk 20."""
    context, ca_file = server_tls
    monkeypatch.setattr(context, "maximum_version", ssl.TLSVersion.TLSv1_2)
    with ScriptedImap({"STARTTLS": (b"{tag} OK go\r\n", Action.TLS)}, greeting=OFFERED, tls=context) as server:
        starttls(connect, server, ca_file)
        assert b"LOGOUT" in server.commands


def starttls(connect: Connect, server: ScriptedImap, ca_file: Path, deadlines: Deadlines = SHORT) -> None:
    """Connect to a scripted server by STARTTLS."""
    with connect(Endpoint("127.0.0.1", server.port, "starttls", ca_file), CREDENTIALS, deadlines):
        pass


OFFERED = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"


def test_starttls_forgets_what_was_offered_before(connect: Connect, server_tls: tuple[ssl.SSLContext, Path]) -> None:
    answers: dict[str, Answer | list[Answer]] = {
        "STARTTLS": (b"{tag} OK go\r\n", Action.TLS),
        "CAPABILITY": [b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK\r\n", b"* CAPABILITY IMAP4rev1\r\n{tag} OK\r\n"],
    }
    with ScriptedImap(answers, greeting=OFFERED, tls=server_tls[0]) as server:
        starttls(connect, server, server_tls[1])

        assert [command.split()[0] for command in server.commands] == [
            b"STARTTLS", b"CAPABILITY", b"LOGIN", b"CAPABILITY", b"LOGOUT",
        ]  # fmt: skip


def test_responses_injected_before_tls_are_no_responses(
    connect: Connect, server_tls: tuple[ssl.SSLContext, Path]
) -> None:
    injected = b"{tag} OK go\r\n* CAPABILITY IMAP4rev1 EVIL\r\nA0002 OK injected\r\n"
    with ScriptedImap({"STARTTLS": (injected, Action.TLS)}, greeting=OFFERED, tls=server_tls[0]) as server:
        with pytest.raises(ProtocolViolation, match="injected"):
            starttls(connect, server, server_tls[1])
        assert server.commands == [b"STARTTLS"]


@pytest.mark.parametrize(
    ("greeting", "answers", "match"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", {}, "does not offer"),
        (b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello\r\n", {}, "PREAUTH"),
        (OFFERED, {"STARTTLS": b"{tag} NO not now\r\n"}, "refused STARTTLS"),
    ],
)
def test_no_credentials_go_out_without_tls(
    connect: Connect, server_tls: tuple[ssl.SSLContext, Path], greeting: bytes, answers: dict[str, bytes], match: str
) -> None:
    with ScriptedImap(answers, greeting=greeting, tls=server_tls[0]) as server:
        with pytest.raises(TlsFailed, match=match):
            starttls(connect, server, server_tls[1])
        assert not any(command.startswith(b"LOGIN") for command in server.commands)


def test_a_handshake_that_hangs_times_out(connect: Connect) -> None:
    with ScriptedImap(greeting=Action.HANG) as server, pytest.raises(TimedOut, match="handshake"):
        connect(Endpoint("127.0.0.1", server.port, "tls"), CREDENTIALS, SHORT)


def test_bye_in_place_of_a_greeting(connect: Connect) -> None:
    with ScriptedImap(greeting=(b"* BYE [UNAVAILABLE] too many connections\r\n", Action.DROP)) as server:
        with pytest.raises(ServerBye, match="too many") as caught:
            connect(Endpoint("127.0.0.1", server.port, "plain"), CREDENTIALS, SHORT)
        assert caught.value.severity is Severity.TRANSIENT
