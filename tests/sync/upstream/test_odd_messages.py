"""What servers have been seen to tell of messages, and what the client makes of it (field notes, section 2)."""

from __future__ import annotations

import pytest

from sync.upstream.errors import CommandBad, CommandNo, Severity
from tests.sync.upstream.answers import rows
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import fetched


def test_sequence_numbers_mean_nothing(script: Script) -> None:
    # Quirks 14 and 26: above EXISTS, repeated, out of order; all that counts is the UID.
    _, client = script(
        rows(
            b"* 900 FETCH (UID 9 FLAGS (a))",
            b"* 2 FETCH (UID 5 FLAGS (b))",
            b"* 2 FETCH (UID 7 FLAGS (c))",
            b"* 0 FETCH (UID 6 FLAGS (d))",
        )
    )
    assert client.examine(b"INBOX").exists == 3

    found = [(message.uid, message.flags) for message in fetched(client, [5, 6, 7, 9], b"(FLAGS)")]
    assert found == [(9, ("a",)), (5, ("b",)), (7, ("c",)), (6, ("d",))]


def test_another_message_than_the_one_asked_for_is_never_taken_for_it(script: Script) -> None:
    # Quirk 26.
    _, client = script(rows(b"* 1 FETCH (UID 6 BODY[] {3}\r\nabc)", b"* 2 FETCH (BODY[] {3}\r\nxyz)"))

    assert fetched(client, [5], b"(BODY.PEEK[])") == []


def test_rows_without_flags_or_uid(script: Script) -> None:
    # Quirk 43: whoever asked sees what is missing, and can ask again.
    _, client = script(rows(b"* 1 FETCH (UID 5 RFC822.SIZE 7)", b"* 2 FETCH (FLAGS (a))", b"* 3 FETCH ()"))

    (message,) = fetched(client, [5, 6], b"(FLAGS RFC822.SIZE)")
    assert (message.uid, message.flags, message.size) == (5, None, 7)


@pytest.mark.parametrize(
    "envelope",
    [
        # Quirk 23: iCloud.
        b'("d" "s" NIL NIL NIL NIL NIL NIL NIL "<"odd"@host>")',
        b'("d" "s" NIL NIL NIL NIL NIL NIL NIL "<odd" @host>")',
        # Quirk 31: Lark.
        b'("d" "s" "<x@y>")',
        b"NIL",
        b"()",
    ],
)
def test_envelopes_that_are_none_cost_no_more_than_themselves(script: Script, envelope: bytes) -> None:
    _, client = script(rows(b"* 1 FETCH (UID 4 ENVELOPE " + envelope + b" FLAGS (a))", b"* 2 FETCH (UID 5 FLAGS (b))"))

    messages = fetched(client, [4, 5], b"(ENVELOPE FLAGS)")
    assert messages[-1].uid == 5
    assert len(messages) + client.statistics.malformed == 2
    assert client.noop() == []


@pytest.mark.parametrize("text", [b"mailbox selected READ-ONLY", b"[READ-ONLY] mailbox selected READ-ONLY"])
def test_a_mailbox_that_cannot_be_opened_now_can_be_tried_again(script: Script, text: bytes) -> None:
    # Quirk 37: Zimbra.
    _, client = script({"EXAMINE": [b"{tag} NO " + text + b"\r\n", b"* 3 EXISTS\r\n{tag} OK\r\n"]})

    with pytest.raises(CommandNo) as caught:
        client.examine(b"INBOX")
    assert caught.value.severity is Severity.MAILBOX
    assert client.examine(b"INBOX").exists == 3


@pytest.mark.parametrize("number", [b"11", b"12"])
def test_command_argument_errors_concern_what_was_asked(script: Script, number: bytes) -> None:
    # Quirk 17: Exchange says so of single messages.
    _, client = script({"UID FETCH": [b"{tag} BAD Command Argument Error. " + number + b"\r\n", b"{tag} OK\r\n"]})

    with pytest.raises(CommandBad) as caught:
        fetched(client, [5], b"(BODY.PEEK[])")
    assert caught.value.severity is Severity.MESSAGE
    assert fetched(client, [6], b"(BODY.PEEK[])") == []
