"""Logging in: the methods, what a refusal means, and that nobody reads the credentials."""

from __future__ import annotations

import base64
import logging

import pytest

from sync.upstream.endpoint import Credentials, Deadlines, Endpoint
from sync.upstream.errors import (
    AuthFailed,
    CommandNo,
    ProtocolViolation,
    ServerBye,
    Severity,
    TemporarilyRefused,
    UpstreamError,
)
from tests.fakes.scripted_imap import Action, ScriptedImap
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Connect

SASL = base64.b64encode(b"\0fred\0s3cret")


@pytest.mark.parametrize("method", ["login", "plain"])
def test_both_methods_at_dovecot(connect: Connect, dovecot: Dovecot, upstream_user: str, method: str) -> None:
    credentials = Credentials("plain" if method == "plain" else "login", upstream_user, dovecot.password)
    with connect(Endpoint(dovecot.host, dovecot.plain_port, "plain"), credentials, Deadlines()) as client:
        assert "IDLE" in client.capabilities
        assert client.examine(b"INBOX").exists == 0


@pytest.mark.parametrize("method", ["login", "plain"])
def test_wrong_passwords_concern_the_account(connect: Connect, dovecot: Dovecot, method: str) -> None:
    credentials = Credentials("plain" if method == "plain" else "login", "fred", "wrong")
    with pytest.raises(AuthFailed) as caught:
        connect(Endpoint(dovecot.host, dovecot.plain_port, "plain"), credentials, Deadlines())
    assert caught.value.severity is Severity.ACCOUNT


def test_login_is_followed_by_capability_and_id(script: Script) -> None:
    server, client = script(
        {"CAPABILITY": [b"* CAPABILITY IMAP4rev1 X1\r\n{tag} OK\r\n", b"* CAPABILITY imap4rev1 id x2\r\n{tag} OK\r\n"]}
    )

    assert server.commands == [b"CAPABILITY", b"LOGIN fred s3cret", b"CAPABILITY", b'ID ("name" "imapped")']
    assert client.capabilities == {"IMAP4REV1", "ID", "X2"}


def test_id_may_be_refused(script: Script) -> None:
    _, client = script({"CAPABILITY": b"* CAPABILITY IMAP4rev1 ID\r\n{tag} OK\r\n", "ID": b"{tag} BAD no\r\n"})

    assert client.examine(b"INBOX").exists == 3


def test_plain_with_an_initial_response(script: Script) -> None:
    server, _ = script(greeting=b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n", method="plain")

    assert server.commands[0] == b"AUTHENTICATE PLAIN " + SASL


@pytest.mark.parametrize("offered", [b"AUTH=PLAIN", b"AUTH=PLAIN SASL-IR"])
def test_plain_with_a_challenge(script: Script, offered: bytes) -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 " + offered + b"] hi\r\n"
    answers = {"AUTHENTICATE": b"+ \r\n", "RESPONSE": b"{tag} OK welcome\r\n"}
    server, _ = script(answers, greeting=greeting, method="plain")

    assert server.commands[1] == SASL


def test_a_second_challenge_is_cancelled(script: Script) -> None:
    answers = {"AUTHENTICATE": b"+ \r\n", "RESPONSE": [b"+ what?\r\n", b"{tag} NO [AUTHENTICATIONFAILED] bad\r\n"]}
    with pytest.raises(AuthFailed):
        script(answers, greeting=b"* OK [CAPABILITY IMAP4rev1] hi\r\n", method="plain")


def test_names_and_passwords_may_hold_anything(connect: Connect) -> None:
    credentials = Credentials("login", 'jö"hn', "p\\ass {3} wörd")
    with ScriptedImap() as server:
        with connect(Endpoint("127.0.0.1", server.port, "plain"), credentials, Deadlines()):
            pass
        wanted = 'LOGIN {6}\r\njö"hn {15}\r\np\\ass {3} wörd'.encode()
        assert server.commands[1] == wanted


def test_literals_wait_only_where_they_must(connect: Connect) -> None:
    credentials = Credentials("login", "fred", "wörd")
    with ScriptedImap(greeting=b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n") as server:
        with connect(Endpoint("127.0.0.1", server.port, "plain"), credentials, Deadlines()):
            pass
        assert server.commands[0] == "LOGIN fred {5+}\r\nwörd".encode()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"{tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n", AuthFailed),
        (b"{tag} NO Authentication failed.\r\n", AuthFailed),
        (b"{tag} NO [ALERT] Please log in via your web browser\r\n", AuthFailed),
        (b"{tag} NO [ALERT] Too many simultaneous connections. (Failure)\r\n", TemporarilyRefused),
        (b"{tag} NO [UNAVAILABLE] Temporary authentication failure.\r\n", TemporarilyRefused),
        (b"{tag} NO [INUSE] locked\r\n", TemporarilyRefused),
        (b"{tag} BAD User is authenticated but not connected.\r\n", TemporarilyRefused),
        (b"{tag} NO [LIMIT] Rate limit hit\r\n", TemporarilyRefused),
        ((b"* BYE Session expired\r\n", Action.DROP), ServerBye),
        (b"Server Unavailable.\r\n", ProtocolViolation),
        (b"X9 OK whose?\r\n", ProtocolViolation),
        (b"{tag} OK welcome\r\n* BYE changed my mind\r\n", ServerBye),
    ],
)
def test_what_a_refusal_means(script: Script, answer: bytes, error: type[UpstreamError]) -> None:
    with pytest.raises(error):
        script({"LOGIN": answer})


def test_a_connection_that_fails_late_is_closed_as_well(connect: Connect) -> None:
    with ScriptedImap({"CAPABILITY": [b"{tag} OK\r\n", b"{tag} NO not today\r\n"]}) as server:
        with pytest.raises(CommandNo):
            connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials("login", "a", "b"), Deadlines())
        assert server.over.wait(10)


def test_login_disabled_is_obeyed(connect: Connect) -> None:
    with ScriptedImap(greeting=b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n") as server:
        with pytest.raises(AuthFailed, match="LOGINDISABLED"):
            connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials("login", "a", "b"), Deadlines())
        assert server.commands == []


def test_preauth_needs_no_login(script: Script) -> None:
    server, _ = script(greeting=b"* PREAUTH welcome back\r\n")

    assert server.commands == [b"CAPABILITY"]


@pytest.mark.parametrize("greeting", [b"220 smtp.example.test ESMTP\r\n", b"* FLAGS ()\r\n", b"HTTP/1.1 400 Bad\r\n"])
def test_other_servers_are_told_apart(script: Script, greeting: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="no IMAP server"):
        script(greeting=greeting)


def test_noise_before_the_greeting_is_overlooked(script: Script) -> None:
    _, client = script(greeting=b"\r\n\x00\x00* OK hi\r\n")

    assert client.noop() == []


@pytest.mark.parametrize("method", ["login", "plain"])
def test_credentials_are_nowhere_to_be_read(connect: Connect, caplog: pytest.LogCaptureFixture, method: str) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials("plain" if method == "plain" else "login", "fred.user", "s3cret")
    sasl = base64.b64encode(b"\0fred.user\0s3cret").decode()
    answer = f"{{tag}} NO fred.user may not with s3cret or {sasl}\r\n".encode()
    with ScriptedImap({"LOGIN": answer, "AUTHENTICATE": answer}) as server, pytest.raises(AuthFailed) as caught:
        connect(Endpoint("127.0.0.1", server.port, "plain"), credentials, Deadlines())

    told = f"{caught.value}{caught.value!r}{caplog.text}{credentials!r}"
    assert not any(secret in told for secret in ("fred.user", "s3cret", sasl))


@pytest.mark.parametrize("limit", ["connect", "inactivity", "idle"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_no_deadline_is_for_ever(limit: str, value: float) -> None:
    with pytest.raises(ValueError, match=limit):
        Deadlines(**{limit: value})
