"""Messages whose headers are the hard part."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator

Maker = Callable[[random.Random, int], bytes]

_NAMES = ("Ann Example", "Jörg Müller", "山田太郎", "O'Brien, Pat", "Zoë «Q» Ünal", "Dr. No", "")
_WORDS = ("Re: report", "Grüße aus Köln", "会議の件", "[list] Fwd: [x] news", "   spaced    out  ", "Ω and ∞", "")


def plain(rng: random.Random, number: int) -> bytes:
    """A simple message with a random number of lines."""
    body = "".join(f"Line {line} of message {number}.\r\n" for line in range(rng.randrange(40)))
    return _message(number, [b"Subject: Message %d" % number], body.encode())


def encoded_words(rng: random.Random, number: int) -> bytes:
    """Encoded words, B and Q, in subject and names."""
    subject, name = rng.choice(_WORDS), rng.choice(_NAMES)
    charset = rng.choice(["utf-8", "UTF-8"])
    fields = [
        b"Subject: " + _word(subject, charset, rng.choice("BQ")),
        b"From: " + _word(name, charset, rng.choice("BQ")) + b" <a%d@example.test>" % number,
    ]
    return _message(number, fields, b"encoded words\r\n", sender=False)


def broken_encoded_words(rng: random.Random, number: int) -> bytes:
    """Encoded words that are cut, of unknown charsets, or not encoded as they say."""
    subject = rng.choice(
        [
            b"=?utf-8?B?4pyT4p", b"=?x-nowhere?Q?a=FFb?=", b"=?utf-8?X?abc?=", b"=?utf-8?Q?a b?=", b"=?=?=",
            b"=?utf-8?B?!!!!?= tail", b"=?iso-2022-jp?B?GyRCMnE=?= =?iso-2022-jp?B?NUQbKEI=?=",
        ]
    )  # fmt: skip
    return _message(number, [b"Subject: " + subject], b"broken\r\n")


def eight_bit(rng: random.Random, number: int) -> bytes:
    """Raw 8-bit bytes in headers, UTF-8 and Latin-1."""
    encoding = rng.choice(["utf-8", "latin-1"])
    subject, name = "Grüße, Jörg", "Jörg Müller"
    fields = [
        b"Subject: " + subject.encode(encoding),
        b"From: " + name.encode(encoding) + b" <j%d@example.test>" % number,
        b'To: "' + name.encode(encoding) + b'" <k@example.test>',
    ]
    return _message(number, fields, "Größe\r\n".encode(encoding), sender=False)


def folded(rng: random.Random, number: int) -> bytes:
    """Fields folded with spaces, tabs and empty-looking lines."""
    fields = [
        b"Subject: folded\r\n over several\r\n\t lines%s" % rng.choice([b"", b"\r\n  \r\n and blanks"]),
        b"References: " + b"\r\n ".join(b"<ref-%d-%d@example.test>" % (number, i) for i in range(rng.randrange(1, 40))),
        b"In-Reply-To: <ref-%d-0@example.test>\r\n (your message)" % number,
    ]
    return _message(number, fields, b"folded\r\n")


_ADDRESSES = (
    b"plain@example.test",
    b"<angle@example.test>",
    b"Name <a@example.test>",
    b'"Quoted, Name" <a@example.test>, b@example.test',
    b'"Esc \\"aped\\" \\\\ name" <a@example.test>',
    b"old@example.test (Old Style)",
    b"(comment) a@example.test (Real (nested) Name)",
    b"Group: a@example.test, B <b@example.test>;",
    b"undisclosed-recipients:;",
    b"Empty:;, after@example.test",
    b"Group: unfinished@example.test",
    b"<@route.example,@other.example:target@example.test>",
    b"no-domain",
    b"<no-domain>",
    b"Name <>",
    b"<>",
    b"",
    b",,,a@example.test,,",
    b"a@[192.0.2.1]",
    b'"local part"@example.test',
    b"dotted.local.part@sub.example.test",
    b"a @ example . test",
    b"First Middle Last <first@example.test>",
    b"F. M. Last <first@example.test>",
    b"=?utf-8?Q?J=C3=B6rg?= =?utf-8?Q?_M?= <j@example.test>",
    b"broken <a@example.test",
    b"a@b@c.example",
    b"Name with @ sign <a@example.test>",
    b"semi@example.test; colon@example.test",
    b"tab\t<t@example.test>",
    b"Very long name " * 30 + b"<long@example.test>",
    b"two words@example.test",
    b"a@example.test b@example.test",
    b"[bracket] <x@example.test>",
    b"mailto:a@example.test",
    b"'single' <s@example.test>",
    b"a@example.test,\r\n\tb@example.test,\r\n c@example.test",
    b"Last\\, First <lf@example.test>",
    b"<a@example.test> trailing words, next@example.test",
)


def addresses(rng: random.Random, number: int) -> bytes:
    """Address fields of every shape seen."""
    fields = [
        b"Subject: addresses %d" % number,
        b"From: " + rng.choice(_ADDRESSES),
        b"To: " + rng.choice(_ADDRESSES) + b", " + rng.choice(_ADDRESSES),
        b"Cc: " + rng.choice(_ADDRESSES),
    ]
    if rng.random() < 0.5:
        fields += [b"Sender: " + rng.choice(_ADDRESSES), b"Reply-To: " + rng.choice(_ADDRESSES)]
    if rng.random() < 0.3:
        fields += [b"Bcc: " + rng.choice(_ADDRESSES), b"To: " + rng.choice(_ADDRESSES)]
    return _message(number, fields, b"addresses\r\n", sender=False)


def every_address(number: int) -> Iterator[bytes]:
    """One message for each shape of address."""
    for index, address in enumerate(_ADDRESSES):
        yield _message(number + index, [b"From: " + address, b"Subject: %d" % index], b"x\r\n", sender=False)


def odd_dates(rng: random.Random, number: int) -> bytes:
    """No Date, a bad one, or one in an old form."""
    date = rng.choice(
        [
            None, b"", b"yesterday", b"Fri, 31 Feb 2020 25:61:61 +9999", b"17 Jul 96 02:44 PDT",
            b"Thu Jan  1 00:00:00 1970",
            b"Mon, 1 Jan 2024 10:00:00 +0100 (CET)", b"Sat, 30 Dec 1899 00:00:00 GMT",
        ]
    )  # fmt: skip
    fields = [b"Subject: date %d" % number, b"From: a@example.test", b"Message-ID: <d%d@example.test>" % number]
    if date is not None:
        fields.append(b"Date: " + date)
    return b"\r\n".join(fields) + b"\r\n\r\ndate\r\n"


def odd_shapes(rng: random.Random, number: int) -> bytes:
    """Messages that are hardly messages."""
    return rng.choice(
        [
            b"Subject: no body %d\r\n\r\n" % number,
            b"Subject: header only %d\r\n" % number,
            b"\r\nno header %d\r\n" % number,
            b"no colon here\r\nSubject: after junk %d\r\n\r\nbody\r\n" % number,
            b"Subject: no newline at the end %d\r\n\r\nlast line" % number,
            b"Subject : space before colon %d\r\nFrom:a@example.test\r\n\r\nbody\r\n" % number,
            b"From nobody Mon Jan  1 00:00:00 2024\r\nSubject: mbox line %d\r\n\r\nbody\r\n" % number,
            b"Subject: first %d\r\nSubject: second\r\nDate: a\r\nDate: b\r\nMessage-ID: <1>\r\n\r\nx\r\n" % number,
            b"Subject: long " + b"x" * rng.randrange(900, 12000) + b"\r\n\r\nlong\r\n",
            b"X-%d: " % number + b"y" * 70000 + b"\r\nSubject: after a huge field\r\n\r\nhuge\r\n",
            b"Subject: lone CR \r in %d\r\n\r\nbody with \r lone CR\r\n" % number,
            b"Subject:\r\n\r\nempty subject %d\r\n" % number,
            b'Subject: "quoted \\ back" %d\r\nMessage-ID: no brackets\r\n\r\nx\r\n' % number,
        ]
    )


def bare_line_feeds(rng: random.Random, number: int) -> bytes:
    """Lines that end in LF alone, all of them or some; servers make CRLF of them, or do not."""
    message = _message(number, [b"Subject: line feeds %d" % number], b"one\r\ntwo\r\n\r\nthree\r\n")
    return message.replace(b"\r\n", b"\n", rng.choice([-1, 3]))


def _message(number: int, fields: list[bytes], body: bytes, *, sender: bool = True) -> bytes:
    head = [b"Message-ID: <m%d@example.test>" % number, b"Date: Mon, 1 Jan 2024 10:%02d:00 +0100" % (number % 60)]
    if sender:
        head += [b"From: Ann Example <ann@example.test>", b"To: bob@example.test"]
    return b"\r\n".join((*head, *fields)) + b"\r\n\r\n" + body


def _word(text: str, charset: str, encoding: str) -> bytes:
    raw = text.encode(charset)
    if encoding == "B":
        encoded = base64.b64encode(raw).decode()
    else:
        encoded = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isalnum() else f"={byte:02X}" for byte in raw)
    return f"=?{charset}?{encoding}?{encoded}?=".encode()
