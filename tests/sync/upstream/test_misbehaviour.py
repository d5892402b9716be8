"""What servers have been seen to do, and what the client makes of it (field notes, sections 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from sync.upstream.errors import (
    CommandBad,
    CommandNo,
    ConnectionLost,
    ConnectionPoisoned,
    ProtocolViolation,
    ServerBye,
    Severity,
    TemporarilyRefused,
    UpstreamError,
)
from sync.upstream.values import IdleKind
from tests.fakes.scripted_imap import Action, Answer
from tests.sync.upstream.answers import MOMENT, offering, rows
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, fetched

DATE = b'INTERNALDATE "02-Jan-2020 03:04:05 +0000"'


@pytest.mark.parametrize(
    ("line", "uid", "flags", "size", "date"),
    [
        (b"* 1 FETCH (UID 5 FLAGS () " + DATE + b" RFC822.SIZE 9)", 5, (), 9, MOMENT),
        (b"* 1 FETCH (RFC822.SIZE 9 " + DATE + b" FLAGS (\\Seen) UID 5)", 5, ("\\Seen",), 9, MOMENT),
        (b"*  1  FETCH  ( UID  5  FLAGS (\\\\Seen  a) )", 5, ("\\\\Seen", "a"), None, None),
        (b"* 1 fetch (uid 5 flags(\\Seen)rfc822.size 9)", 5, ("\\Seen",), 9, None),
        (b"\x00\x00* 1 FETCH (UID 5 FLAGS (a))", 5, ("a",), None, None),
        (b"* 4294967299 FETCH (UID 5 FLAGS ())", 5, (), None, None),
        (b"* 1 FETCH (UID 5 INTERNALDATE NIL FLAGS NIL)", 5, None, None, None),
        (b'* 1 FETCH (UID 5 INTERNALDATE " 2-Jan-0120 3:04:05 +0000")', 5, None, None, MOMENT),
        (b'* 1 FETCH (UID 5 INTERNALDATE "nonsense" FLAGS ())', 5, (), None, None),
        (b"* 1 FETCH (UID 5 RFC822.SIZE 99999999999999999999 FLAGS ())", 5, (), None, None),
        (b"* 1 FETCH (UID 5 RFC822.SIZE 5000000000)", 5, None, 5_000_000_000, None),
        (b"* 1 FETCH (UID 5 RFC822.SIZE -1 FLAGS ())", 5, (), None, None),
        (b'* 1 FETCH (UID 5 X-NEW (a "b)" (c {3}\r\n)( )) FLAGS ())', 5, (), None, None),
        (b"* 1 FETCH (UID 5 FLAGS (\xfc $x))", 5, ("ü", "$x"), None, None),
    ],
)
def test_rows_are_read_tolerantly(
    script: Script, line: bytes, uid: int, flags: tuple[str, ...] | None, size: int | None, date: datetime | None
) -> None:
    _, client = script(rows(line))

    (message,) = fetched(client, [5], b"(FLAGS)")
    assert (message.uid, message.flags, message.size, message.internal_date) == (uid, flags, size, date)
    assert client.statistics.malformed == 0


@pytest.mark.parametrize(
    "bad",
    [
        b"* 1 FETCH (UID 4 FLAGS (",
        b"* 1 FETCH UID 4",
        b'* 1 FETCH (UID 4 ENVELOPE ("a "quoted b"))',
        b"* 1 FETCH (UID 4 BODY[HEADER {3}\r\nabc])",
        b"* 1 FETCH (UID 4 X " + b"(" * 200 + b")" * 200 + b")",
    ],
)
def test_one_bad_row_costs_itself_only(script: Script, bad: bytes) -> None:
    _, client = script(rows(bad, b"* 2 FETCH (UID 5 FLAGS (a))"))

    assert [message.uid for message in fetched(client, [4, 5], b"(FLAGS)")] == [5]
    assert client.statistics.malformed == 1
    assert not client.poisoned


def test_what_nobody_asked_for_is_kept_apart(script: Script) -> None:
    _, client = script(
        rows(
            b"* 7 EXISTS",
            b"* 1 FETCH (FLAGS (\\Seen))",
            b"* 2 FETCH (UID 9 FLAGS (a) BODY[] {4}\r\nspam)",
            b"* 3 FETCH (UID 0 FLAGS (a))",
            b"* OK [X-UNHEARD-OF ((] whatever",
            b"* NO careful",
            b"* BAD hm",
            b"* XSOMETHING {3}\r\nabc def",
            b"+ still here",
            b"",
            b"* 4 FETCH (UID 5 FLAGS (b))",
            b"* 2 EXPUNGE",
        )
    )

    assert [message.uid for message in fetched(client, [5], b"(FLAGS)")] == [5]
    assert [(event.kind, event.number) for event in client.noop()] == [
        (IdleKind.EXISTS, 7),
        (IdleKind.FETCH, 1),
        (IdleKind.FETCH, 2),
        (IdleKind.FETCH, 3),
        (IdleKind.EXPUNGE, 2),
    ]


def test_bodies_of_every_shape(script: Script) -> None:
    _, client = script(
        rows(
            b"* 1 FETCH (UID 5 BODY[] {3}\r\nabc)",
            b"* 1 FETCH (UID 6 BODY[] NIL)",
            b'* 1 FETCH (UID 7 BODY[] "quo\\"ted")',
            b"* 1 FETCH (BODY[]{2}\r\n\r\n UID 8)",
            b"* 1 FETCH (UID 9 BODY[] {0}\r\n)",
        )
    )

    assert {message.uid: message.sections[b""] for message in fetched(client, range(5, 10), b"(BODY.PEEK[])")} == {
        5: b"abc", 6: None, 7: b'quo"ted', 8: b"\r\n", 9: b"",
    }  # fmt: skip


def test_a_literal_announced_in_a_status_text_is_none(script: Script) -> None:
    _, client = script({"NOOP": b"* OK disk is full {3}\r\n* NO really {100}\r\n{tag} OK done {5}\r\n"})

    assert client.noop() == []
    assert client.examine(b"INBOX").exists == 3


@pytest.mark.parametrize(
    ("examine", "wanted"),
    [
        (b"* FLAGS (\\\\Seen \\Seen)\r\n* 3 EXISTS\r\n* 5 EXISTS\r\n", (5, None, None, None)),
        (b"* OK [UIDVALIDITY 0] x\r\n* OK [UIDNEXT 4294967299] x\r\n", (0, 0, 4294967299, None)),
        (b"*   3   EXISTS\r\n* OK [HIGHESTMODSEQ 77]\r\n", (3, None, None, 77)),
        (b"* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 77] x\r\n* OK [NOMODSEQ] no\r\n", (3, None, None, None)),
        (b"* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 0] x\r\n", (3, None, None, None)),
        (b"* FLAGS (a b(c\r\n* OK [PERMANENTFLAGS (a ( ] x\r\n* OK [UIDNEXT] y\r\n", (0, None, None, None)),
        (b"* OK [UIDVALIDITY 99999999999999999999] x\r\n", (0, None, None, None)),
    ],
)
def test_mailboxes_open_whatever_is_said(
    script: Script, examine: bytes, wanted: tuple[int, int | None, int | None, int | None]
) -> None:
    _, client = script({"EXAMINE": examine + b"{tag} OK [READ-ONLY] done\r\n"})
    mailbox = client.examine(b"INBOX")

    assert (mailbox.exists, mailbox.uidvalidity, mailbox.uidnext, mailbox.highestmodseq) == wanted


def test_condstore_may_be_advertised_and_refused(script: Script) -> None:
    answers = offering(b"CONDSTORE") | {"EXAMINE": [b"{tag} BAD no\r\n", b"* 4 EXISTS\r\n{tag} OK\r\n"]}
    server, client = script(answers)

    assert client.examine(b"INBOX").exists == 4
    assert client.examine(b"INBOX").exists == 4
    assert server.commands[-3:] == [b"EXAMINE INBOX (CONDSTORE)", b"EXAMINE INBOX", b"EXAMINE INBOX"]


def test_list_tolerates_what_it_must(script: Script) -> None:
    listed = (
        b'* LIST (\\NOSELECT \\haschildren) "/" INBOX\r\n* LIST () NIL "quo\\"ted"\r\n* LIST () "\\\\" {5}\r\na b)c\r\n'
        b'* LIST (\\Sent)  "/"  Sent Items\r\n* LIST (\\X) "." foo ("CHILDINFO" ("SUBSCRIBED"))\r\n'
        b'* LIST () "/" "Entw\xc3\xbcrfe"\r\n* LIST (\\Trash) "/" INBOX\r\n* LIST broken\r\n'
        b'* LIST (\\NonExistent) "/" ne\r\n'
    )
    _, client = script({"LIST": listed + b"{tag} OK done\r\n"})

    assert [(box.name, box.delimiter, set(box.attributes)) for box in client.list_mailboxes()] == [
        ("INBOX", "/", {"\\Noselect", "\\HasChildren", "\\Trash"}),
        ('quo"ted', None, set()),
        ("a b)c", "\\", set()),
        ("Sent Items", "/", {"\\Sent"}),
        ("foo", ".", {"\\X"}),
        ("Entwürfe", "/", set()),
        ("ne", "/", {"\\NonExistent", "\\Noselect"}),
    ]
    assert client.statistics.malformed == 1


def test_raw_names_are_sent_back_as_they_came(script: Script) -> None:
    server, client = script(
        {"LIST": b'* LIST () "/" "Entw\xc3\xbcrfe"\r\n* LIST () "/" "a\\"b c"\r\n{tag} OK done\r\n'}
    )
    for box in client.list_mailboxes():
        client.examine(box.name_raw)

    assert server.commands[-2:] == [b"EXAMINE {9}\r\nEntw\xc3\xbcrfe", b'EXAMINE "a\\"b c"']


def test_list_return_may_be_advertised_and_refused(script: Script) -> None:
    answers = offering(b"SPECIAL-USE", b"LIST-EXTENDED") | {
        "LIST": [b"{tag} BAD no\r\n", b'* LIST (\\Sent) "/" x\r\n{tag} OK done\r\n']
    }
    server, client = script(answers)

    assert [box.name for box in client.list_mailboxes()] == ["x"]
    client.list_mailboxes()
    assert server.commands[-3:] == [b'LIST "" * RETURN (SPECIAL-USE SUBSCRIBED CHILDREN)', b'LIST "" *', b'LIST "" *']


def test_namespaces_are_optional(script: Script) -> None:
    _, client = script()
    assert client.namespaces().personal == ()
    _, client = script(offering(b"NAMESPACE") | {"NAMESPACE": b"* NAMESPACE nonsense\r\n{tag} OK\r\n"})
    assert client.namespaces().personal == ()
    _, client = script(
        offering(b"NAMESPACE")
        | {"NAMESPACE": b'* NAMESPACE (("INBOX." ".")("#mh/" "/" "X" ("y"))) NIL (("" NIL))\r\n{tag} OK\r\n'}
    )
    assert [(space.prefix, space.delimiter) for space in client.namespaces().personal] == [
        ("INBOX.", "."),
        ("#mh/", "/"),
    ]
    assert client.namespaces().shared[0].delimiter is None


@pytest.mark.parametrize(
    ("answer", "uids"),
    [
        (b"* SEARCH\r\n", []),
        (b"", []),
        (b"* SEARCH 3 1  2 \r\n* SEARCH 2 9\r\n", [1, 2, 3, 9]),
        (b"* SEARCH 5 0 4294967295 4294967296 (MODSEQ 12)\r\n", [5, 4294967295]),
    ],
)
def test_search(script: Script, answer: bytes, uids: list[int]) -> None:
    _, client = script({"UID SEARCH": answer + b"{tag} OK done\r\n"})

    assert client.uid_search() == uids


@pytest.mark.parametrize(
    ("answer", "uids"),
    [
        (b'* ESEARCH (TAG "{tag}") UID\r\n', []),
        (b'* ESEARCH (TAG "{tag}") UID ALL 7,1:3 MODSEQ 5\r\n', [1, 2, 3, 7]),
        (b"* ESEARCH UID COUNT 2 ALL 2,4\r\n", [2, 4]),
    ],
)
def test_esearch(script: Script, answer: bytes, uids: list[int]) -> None:
    server, client = script(offering(b"ESEARCH") | {"UID SEARCH": answer + b"{tag} OK done\r\n"})

    assert client.uid_search() == uids
    assert server.commands[-1] == b"UID SEARCH RETURN (ALL) ALL"


def test_esearch_may_be_advertised_and_refused(script: Script) -> None:
    answers = offering(b"ESEARCH") | {"UID SEARCH": [b"{tag} BAD no\r\n", b"* SEARCH 1\r\n{tag} OK\r\n"]}
    server, client = script(answers)

    assert client.uid_search() == [1]
    assert client.uid_search() == [1]
    assert server.commands[-1] == b"UID SEARCH ALL"


def test_search_all_may_be_refused(script: Script) -> None:
    answers = {"UID SEARCH": b"{tag} BAD what\r\n"} | rows(b"* 1 FETCH (UID 4)", b"* 2 FETCH (UID 2 FLAGS ())")
    _, client = script(answers)

    assert client.uid_search() == [2, 4]
    with pytest.raises(CommandBad):
        client.uid_search(b"SEEN")


def test_a_search_that_is_unavailable_is_no_empty_mailbox(script: Script) -> None:
    _, client = script({"UID SEARCH": b"{tag} NO [UNAVAILABLE] later\r\n"} | rows())

    with pytest.raises(CommandNo) as caught:
        client.uid_search()
    assert caught.value.severity is Severity.TRANSIENT


@pytest.mark.parametrize(
    "answer",
    [b"* SEARCH 1 two 3\r\n", b"* SEARCH 1,2\r\n", b"* ESEARCH UID ALL 1:4294967295\r\n", b"* ESEARCH UID ALL 0:9\r\n"],
)
def test_a_search_that_cannot_be_read_is_a_fault(script: Script, answer: bytes) -> None:
    capability = offering(b"ESEARCH") if b"ESEARCH" in answer else {}
    _, client = script(capability | {"UID SEARCH": answer + b"{tag} OK done\r\n"})

    with pytest.raises(ProtocolViolation):
        client.uid_search()
    assert client.poisoned


@pytest.mark.parametrize(
    ("answer", "error", "severity", "poisoned"),
    [
        (b"{tag} NO [SERVERBUG] oops\r\n", CommandNo, Severity.MESSAGE, False),
        (b"{tag} NO [LIMIT] too much\r\n", CommandNo, Severity.TRANSIENT, False),
        (b"{tag} NO UID FETCH Server error\r\n", CommandNo, Severity.MESSAGE, False),
        (b"{tag} NO [AUTHENTICATIONFAILED] revoked\r\n", CommandNo, Severity.ACCOUNT, False),
        (b"{tag} BAD Command Argument Error. 11\r\n", CommandBad, Severity.MESSAGE, False),
        (b"{tag} BAD User is authenticated but not connected.\r\n", TemporarilyRefused, Severity.TRANSIENT, True),
        (b"* BYE Session expired\r\n", ServerBye, Severity.TRANSIENT, True),
        (b"Server Unavailable.\r\n", ProtocolViolation, Severity.TRANSIENT, True),
        (b"A9999 OK done\r\n", ProtocolViolation, Severity.TRANSIENT, True),
        (Action.DROP, ConnectionLost, Severity.TRANSIENT, True),
        (Action.RESET, ConnectionLost, Severity.TRANSIENT, True),
        ((b"* 1 FETCH (UID 1 BODY[] {99}\r\nhalf", Action.DROP), ConnectionLost, Severity.TRANSIENT, True),
        (b"* 1 FETCH (UID 1 BODY[] {3}\r\nmore than three)\r\n{tag} OK\r\n", None, None, False),
    ],
)
def test_faults_and_how_far_they_reach(
    script: Script, answer: Answer, error: type[UpstreamError] | None, severity: Severity | None, poisoned: bool
) -> None:
    _, client = script({"UID FETCH": answer})

    if error is None:
        assert fetched(client, [1], b"(BODY.PEEK[])") == []
        assert client.statistics.malformed == 1
    else:
        with pytest.raises(error) as caught:
            fetched(client, [1], b"(BODY.PEEK[])")
        assert caught.value.severity is severity
    assert client.poisoned is poisoned


def test_a_suggested_backoff_is_read(script: Script) -> None:
    answer = b"{tag} NO Request is throttled. Suggested Backoff Time: 12345 milliseconds\r\n"
    _, client = script({"UID FETCH": answer})

    with pytest.raises(CommandNo) as caught:
        fetched(client, [1], b"(FLAGS)")
    assert caught.value.retry_after == 12.345
    assert caught.value.severity is Severity.TRANSIENT


COMMANDS: list[Callable[[Client], object]] = [
    lambda client: client.noop(),
    lambda client: client.examine(b"INBOX"),
    lambda client: client.uid_search(),
    lambda client: client.list_mailboxes(),
    lambda client: fetched(client, [1], b"(FLAGS)"),
    lambda client: next(client.idle()),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_poisoned_connection_is_never_used_again(script: Script, command: Callable[[Client], object]) -> None:
    server, client = script({"UID FETCH": b"* BYE enough\r\n"})
    with pytest.raises(ServerBye):
        fetched(client, [1], b"(FLAGS)")
    commands = len(server.commands)

    with pytest.raises(ConnectionPoisoned) as caught:
        command(client)
    assert isinstance(caught.value.__cause__, ServerBye)
    assert server.over.wait(10)
    assert len(server.commands) == commands


def test_a_fault_of_the_caller_poisons_too(script: Script) -> None:
    _, client = script(rows(b"* 1 FETCH (UID 5 FLAGS ())"))

    def broken(_message: object) -> None:
        raise KeyError("caller")

    with pytest.raises(KeyError):
        client.uid_fetch([5], b"(FLAGS)", on_message=broken)
    assert client.poisoned


def test_a_refused_mailbox_leaves_none_selected(script: Script) -> None:
    _, client = script({"EXAMINE": [b"* 3 EXISTS\r\n{tag} OK\r\n", b"{tag} NO [NONEXISTENT] gone\r\n"]})
    client.examine(b"one")
    with pytest.raises(CommandNo):
        client.examine(b"two")
    assert client.selected is None
