"""Encoded words, base subjects, dates, message ids, file names, text and previews."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mailcache.mime.base_subject import base_subject
from mailcache.mime.date import parse_date_field
from mailcache.mime.encoded_words import decode_words
from mailcache.mime.message_ids import MAX_REFERENCES, all_message_ids, first_message_id
from mailcache.mime.parsed import parse_message
from mailcache.mime.scan import scan
from mailcache.mime.text import extract_text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain", "plain"),
        (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?utf-8?B?4pyT?= and =?iso-8859-1?Q?=FC?=", "✓ and ü"),
        (b"=?utf-8?Q?a?= \r\n =?utf-8?Q?b?=", "ab"),
        (b"=?utf-8?B?4pw=?= =?utf-8?B?kw==?=", "✓"),
        (b"=?UTF-8*en?Q?lang?=", "lang"),
        (b"=?x-nowhere?Q?=C3=BC?=", "ü"),
        (b"=?utf-8?Q?broken", "=?utf-8?Q?broken"),
        (b"=?rot13?Q?no_codec?=", "no codec"),
        ("raw ü".encode(), "raw ü"),
        (b"latin \xfc", "latin ü"),
        (b"nul\0", "nul\ufffd"),
    ],
)
def test_encoded_words(raw: bytes, text: str) -> None:
    assert decode_words(raw) == text


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Re: Hello", "hello"),
        ("RE : [list] Fwd: Hello (fwd) ", "hello"),
        ("[list] Hello", "hello"),
        ("[only a blob]", "[only a blob]"),
        ("Re[2]: Hello", "hello"),
        ("[Fwd: Re: Hello]", "hello"),
        ("Re: ", ""),
        ("  spaces \t inside ", "spaces inside"),
        ("Regards", "regards"),
    ],
)
def test_base_subject(subject: str, base: str) -> None:
    assert base_subject(subject) == base


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (b"Mon, 1 Jan 2024 10:00:00 +0100 (CET)", datetime(2024, 1, 1, 9, tzinfo=UTC)),
        (b"17 Jul 96 02:44 PDT", datetime(1996, 7, 17, 9, 44, tzinfo=UTC)),
        (b"yesterday", None),
        (b"Fri, 31 Feb 2020 00:00:00 +0000", None),
        (b"1 Jan 99999 00:00:00 +0000", None),
        (None, None),
    ],
)
def test_dates(raw: bytes | None, moment: datetime | None) -> None:
    assert parse_date_field(raw) == moment


def test_message_ids() -> None:
    assert first_message_id(b" <a@b> (c) <d@e>") == "<a@b>"
    assert first_message_id(b"bare@id rest") == "bare@id"
    assert first_message_id(b"  ") is None
    assert all_message_ids(b"<a> junk <b>\r\n <a>") == ("<a>", "<b>")
    many = all_message_ids(b"".join(b"<%d>" % number for number in range(1000)))
    assert len(many) == MAX_REFERENCES
    assert (many[0], many[-1]) == ("<0>", "<999>")


def test_text_of_all_parts_and_a_preview() -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"<style>p{}</style><p>Gr=FC=DFe,</p><blockquote>and <b>more</b></blockquote><script>no()</script>\r\n"
        b"--b\r\nContent-Type: application/pdf\r\n"
        b"Content-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf\r\n\r\nx\r\n"
        b"--b--\r\n"
    )

    parsed = parse_message(message)

    assert parsed.preview == "Grüße, and more"
    text = extract_text(message, scan(message).root)
    assert "über.pdf" in text
    assert "no()" not in text
    assert parsed.has_attachment


def test_a_preview_leaves_out_what_is_quoted() -> None:
    assert parse_message(b"\r\n> old\r\n> words\r\nnew words\r\n").preview == "new words"


def test_the_utf8_rendering_quotes_utf8() -> None:
    parsed = parse_message("Subject: Grüße\r\n\r\n".encode())

    assert b'"' + "Grüße".encode() + b'"' in parsed.envelope_utf8
    assert b"{7}\r\n" in parsed.envelope
