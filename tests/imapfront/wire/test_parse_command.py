"""Command lines, good and bad."""

from __future__ import annotations

import pytest

from imapfront.wire import commands as c
from imapfront.wire.commands import BodySection, FetchAttribute
from imapfront.wire.parse_command import BadCommand, parse_command
from mailcache.flags import SystemFlag
from mailcache.mime.sections import Section, SectionKind
from mailcache.wire.framing import Frame, Literal
from mailcache.wire.number_set import SequenceSet
from search.query import All, And, HasFlag, HasKeyword, Not, Or, Recent, Uids

_A = FetchAttribute


def _parse(line: bytes) -> c.Command:
    return parse_command(Frame((b"t " + line,))).command


def _fetch(items: FetchAttribute, *sections: BodySection, numbers: str = "1", uid: bool = False) -> c.Fetch:
    return c.Fetch(SequenceSet.parse(numbers), items, sections, uid=uid)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"capability", c.Capability()),
        (b"LOGIN joe secret", c.Login("joe", "secret")),
        (b'login "j\\"oe" ""', c.Login('j"oe', "")),
        (b"AUTHENTICATE plain AGEAYg==", c.Authenticate("PLAIN", b"AGEAYg==")),
        (b"AUTHENTICATE PLAIN =", c.Authenticate("PLAIN", b"=")),
        (b'ID ("name" "x" "version" NIL)', c.Id({"name": "x", "version": None})),
        (b"ID NIL", c.Id({})),
        (b"ENABLE CONDSTORE x", c.Enable(("CONDSTORE", "X"))),
        (b"SELECT inbox", c.Select("INBOX")),
        (b'EXAMINE "Entw&APw-rfe"', c.Examine("Entwürfe")),
        (b'LIST "" *', c.List("", ("*",))),
        (b'LIST "" "%"', c.List("", ("%",))),
        (
            b'LIST (SUBSCRIBED RECURSIVEMATCH) "" (INBOX a/%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))',
            c.List(
                "",
                ("INBOX", "a/%"),
                subscribed_only=True,
                recursive_match=True,
                return_subscribed=True,
                return_children=True,
                return_status=(c.StatusItem.MESSAGES, c.StatusItem.UNSEEN),
            ),
        ),
        (b'LSUB "a/" *', c.Lsub("a/", "*")),
        (b"STATUS INBOX (UIDNEXT messages)", c.Status("INBOX", (c.StatusItem.UIDNEXT, c.StatusItem.MESSAGES))),
        (b"FETCH 1 FAST", _fetch(_A.FLAGS | _A.INTERNALDATE | _A.RFC822_SIZE)),
        (b"FETCH 1 (UID BODY)", _fetch(_A.UID | _A.BODY)),
        (b"UID FETCH 1:*,7 ENVELOPE", _fetch(_A.ENVELOPE | _A.UID, numbers="1:*,7", uid=True)),
        (b"FETCH 1 RFC822.TEXT", _fetch(_A(0), BodySection(Section((), SectionKind.TEXT), b"RFC822.TEXT", peek=False))),
        (
            b"FETCH 1 (BODY.PEEK[1.2.MIME] body[]<0.10>)",
            _fetch(
                _A(0),
                BodySection(Section((1, 2), SectionKind.MIME), b"BODY[1.2.MIME]", peek=True),
                BodySection(Section(), b"BODY[]<0>", peek=False, partial=(0, 10)),
            ),
        ),
        (
            b'FETCH 1 BODY[2.HEADER.FIELDS.NOT ("From" to)]',
            _fetch(
                _A(0),
                BodySection(
                    Section((2,), SectionKind.HEADER_FIELDS_NOT, (b"from", b"to")),
                    b"BODY[2.HEADER.FIELDS.NOT (From to)]",
                    peek=False,
                ),
            ),
        ),
        (b"SEARCH ALL", c.Search(All())),
        (b"SEARCH CHARSET utf-8 SEEN", c.Search(HasFlag(SystemFlag.SEEN))),
        (
            b"UID SEARCH OR (NEW) NOT KEYWORD x UID 3:*",
            c.Search(
                And(
                    (
                        Or(And((Recent(), Not(HasFlag(SystemFlag.SEEN)))), Not(HasKeyword("x"))),
                        Uids(SequenceSet.parse("3:*")),
                    )
                ),
                uid=True,
            ),
        ),
    ],
)
def test_commands(line: bytes, command: c.Command) -> None:
    assert _parse(line) == command


@pytest.mark.parametrize(
    "line",
    [
        b"FETCH 0 FLAGS", b"FETCH 1 ()", b"FETCH 1", b"FETCH 1 BODY[MIME]", b"FETCH 1 BODY[1.]", b"FETCH 1 BODY[0]",
        b"FETCH 1 BODY[]<5>", b"FETCH 1 BODY[]<0.0>", b"FETCH 1 (FAST)", b"FETCH 4294967296 FLAGS", b"FETCH 1 BODY[X]",
        b"FETCH 1 BODY[HEADER.FIELDS ()]", b'FETCH 1 BODY[HEADER.FIELDS ("a:b")]', b"FETCH 1,,2 FLAGS", b"UID NOOP",
        b"SEARCH", b"SEARCH SUBJECT x", b"SEARCH NOT", b"SEARCH (ALL", b"LIST", b'LIST "" * RETURN (NOPE)',
        b"STATUS x ()",
        b'LIST (RECURSIVEMATCH) "" *', b"SELECT", b'SELECT "unended', b"SELECT &&", b"LOGIN x", b"ID (x", b"ENABLE",
        b"SEARCH " + b"(" * 50 + b"ALL" + b")" * 50, b"SEARCH " + b"NOT " * 50 + b"ALL",
    ],
)  # fmt: skip
def test_bad_lines_are_told_with_their_tag(line: bytes) -> None:
    with pytest.raises(BadCommand) as caught:
        _parse(line)

    assert caught.value.tag == b"t"


def test_a_password_is_in_no_repr() -> None:
    assert "secret" not in repr(_parse(b"LOGIN joe secret"))
    assert "AGEAYg" not in repr(_parse(b"AUTHENTICATE PLAIN AGEAYg=="))


def test_literals_stand_where_strings_do() -> None:
    frame = Frame((b"t LOGIN ", Literal(3, b"joe"), b" ", Literal(2, b"pw"), b""))

    assert parse_command(frame).command == c.Login("joe", "pw")
