"""XOAUTH2 and OAUTHBEARER (RFC 7628): what is sent, how a failure goes, and that nobody reads the token."""

from __future__ import annotations

import base64
import logging

import pytest

from sync.upstream.endpoint import AuthMethod, Credentials, Endpoint
from sync.upstream.errors import AuthFailed, TemporarilyRefused, UpstreamError
from sync.upstream.protocol.sasl import mechanism_of
from tests.fakes.scripted_imap import Answer, ScriptedImap
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Connect

TOKEN = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
ERROR = base64.b64encode(b'{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}')
METHODS: list[AuthMethod] = ["xoauth2", "oauthbearer"]


def message(server: ScriptedImap, method: AuthMethod, user: bytes = b"fred") -> bytes:
    """Return the message of a method as its specification spells it."""
    if method == "xoauth2":
        return base64.b64encode(b"user=%b\x01auth=Bearer s3cret\x01\x01" % user)
    return base64.b64encode(b"n,a=%b,\x01host=127.0.0.1\x01port=%d\x01auth=Bearer s3cret\x01\x01" % (user, server.port))


def offered(*more: bytes) -> bytes:
    return (
        b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER"
        + b"".join(b" " + name for name in more)
        + b"] hi\r\n"
    )


@pytest.mark.parametrize("method", METHODS)
def test_with_an_initial_response(script: Script, method: AuthMethod) -> None:
    server, _ = script(greeting=offered(b"SASL-IR"), method=method)

    assert server.commands[0] == b"AUTHENTICATE %b " % method.upper().encode() + message(server, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sasl_ir", [(), (b"SASL-IR",)])
def test_with_a_challenge(script: Script, method: AuthMethod, sasl_ir: tuple[bytes, ...]) -> None:
    # With SASL-IR the initial response was overlooked.
    answers: dict[str, Answer | list[Answer]] = {"AUTHENTICATE": b"+ \r\n", "RESPONSE": b"{tag} OK welcome\r\n"}
    server, _ = script(answers, greeting=offered(*sasl_ir), method=method)

    assert server.commands[1] == message(server, method)


@pytest.mark.parametrize(("method", "acknowledgement"), [("xoauth2", b""), ("oauthbearer", b"AQ==")])
@pytest.mark.parametrize("sasl_ir", [False, True])
def test_an_explained_failure_is_acknowledged(
    connect: Connect,
    method: AuthMethod,
    acknowledgement: bytes,
    sasl_ir: bool,
) -> None:
    failure = b"+ " + ERROR + b"\r\n"
    refusal = b"{tag} NO [AUTHENTICATIONFAILED] SASL authentication failed\r\n"
    answers: dict[str, Answer | list[Answer]] = {
        "AUTHENTICATE": failure if sasl_ir else b"+ \r\n",
        "RESPONSE": [refusal] if sasl_ir else [failure, refusal],
    }
    with ScriptedImap(answers, greeting=offered(b"SASL-IR") if sasl_ir else offered()) as server:
        with pytest.raises(AuthFailed, match=r"status 401") as caught:
            connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials(method, "fred", "s3cret"))
        assert server.commands[-1] == acknowledgement
    assert "google" not in str(caught.value)


@pytest.mark.parametrize("method", METHODS)
def test_challenges_without_end_are_cancelled(connect: Connect, method: AuthMethod) -> None:
    answers: dict[str, Answer | list[Answer]] = {
        "AUTHENTICATE": b"+ eyJ9\r\n",
        "RESPONSE": [b"+ again\r\n", b"{tag} NO enough\r\n"],
    }
    with ScriptedImap(answers, greeting=offered(b"SASL-IR")) as server:
        with pytest.raises(AuthFailed):
            connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials(method, "fred", "s3cret"))
        assert server.commands[-1] == b"*"


@pytest.mark.parametrize(
    "challenge", [b"!!!", base64.b64encode(b"[1]"), base64.b64encode(b'{"status": "a b\\nc"}'), b"", b"e30=", b"/w=="]
)
def test_a_failure_that_cannot_be_read_is_one_all_the_same(connect: Connect, challenge: bytes) -> None:
    answers: dict[str, Answer | list[Answer]] = {
        "AUTHENTICATE": b"+ " + challenge + b"\r\n",
        "RESPONSE": b"{tag} NO no\r\n",
    }
    with ScriptedImap(answers, greeting=offered(b"SASL-IR")) as server, pytest.raises(AuthFailed) as caught:
        connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials("xoauth2", "fred", "s3cret"))
    assert "status" not in str(caught.value)


def test_an_outage_is_no_bad_token(connect: Connect) -> None:
    answers: dict[str, Answer | list[Answer]] = {"AUTHENTICATE": b"{tag} NO [UNAVAILABLE] later\r\n"}
    with ScriptedImap(answers, greeting=offered(b"SASL-IR")) as server, pytest.raises(TemporarilyRefused):
        connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials("xoauth2", "fred", "s3cret"))


def test_names_are_escaped_as_sasl_wants_it() -> None:
    endpoint = Endpoint("imap.example.test", 993)

    made = mechanism_of(Credentials("oauthbearer", "a=b,c@example.test", "t"), endpoint).message
    assert made == b"n,a=a=3Db=2Cc@example.test,\x01host=imap.example.test\x01port=993\x01auth=Bearer t\x01\x01"


@pytest.mark.parametrize("method", METHODS)
def test_tokens_are_nowhere_to_be_read(connect: Connect, caplog: pytest.LogCaptureFixture, method: AuthMethod) -> None:
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(method, "fred.user", TOKEN)
    answers: dict[str, Answer | list[Answer]] = {}
    with ScriptedImap(answers, greeting=offered(b"SASL-IR")) as server:
        endpoint = Endpoint("127.0.0.1", server.port, "plain")
        mechanism = mechanism_of(credentials, endpoint)
        said = b"{tag} NO fred.user may not with " + TOKEN.encode() + b" or " + mechanism.initial + b"\r\n"
        server.answer("AUTHENTICATE", said)
        with pytest.raises(AuthFailed) as caught:
            connect(endpoint, credentials)

    told = f"{caught.value}{caught.value!r}{caplog.text}{credentials!r}"
    assert not any(secret in told for secret in ("fred.user", TOKEN, mechanism.initial.decode()))


@pytest.mark.parametrize(
    "answer",
    [
        b"{tag} NO %b is no good\r\n",
        b"* BYE %b is no good\r\n",
        b"Bearer %b\r\n",
        b"* NO %b\r\n{tag} NO no\r\n",
    ],
)
def test_a_long_token_that_is_quoted_in_part_is_not_read_either(connect: Connect, answer: bytes) -> None:
    token = "".join(f"{number:04x}" for number in range(500))
    with ScriptedImap(greeting=offered(b"SASL-IR")) as server:
        server.answer("AUTHENTICATE", answer.replace(b"%b", token.encode()))
        with pytest.raises(UpstreamError) as caught:
            connect(Endpoint("127.0.0.1", server.port, "plain"), Credentials("xoauth2", "fred", token))

    assert token[:12] not in str(caught.value)
