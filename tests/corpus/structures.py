"""Messages whose MIME structure is the hard part."""

from __future__ import annotations

import base64
import random


def _head(number: int, *fields: bytes) -> bytes:
    common = [
        b"Message-ID: <s%d@example.test>" % number,
        b"From: Ann Example <ann@example.test>",
        b"Subject: structure %d" % number,
        b"MIME-Version: 1.0",
    ]
    return b"\r\n".join((*common, *fields)) + b"\r\n"


def _text(subtype: bytes = b"plain", body: bytes = b"Hello,\r\n\r\nworld.\r\n", charset: bytes = b"utf-8") -> bytes:
    return b"Content-Type: text/%s; charset=%s\r\n\r\n%s" % (subtype, charset, body)


def _attachment(rng: random.Random, name: bytes, size: int) -> bytes:
    data = base64.encodebytes(rng.randbytes(size)).replace(b"\n", b"\r\n")
    return (
        b"Content-Type: application/octet-stream; name=%s\r\nContent-Transfer-Encoding: base64\r\n"
        b"Content-Disposition: attachment; filename=%s; size=%d\r\nContent-Description: a file\r\n"
        b"Content-ID: <part@example.test>\r\nContent-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\n\r\n" % (name, name, size)
    ) + data


def multipart(subtype: bytes, boundary: bytes, parts: list[bytes], *, end: bool = True, preamble: bytes = b"") -> bytes:
    """Return the Content-Type field and body of a multipart."""
    body = preamble + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts)
    if end:
        body += b"--%s--\r\n" % boundary
    return b'Content-Type: multipart/%s; boundary="%s"\r\n\r\n%s' % (subtype, boundary, body)


def alternative(rng: random.Random, number: int) -> bytes:
    """Text and HTML."""
    html = b"<html><head><style>p{}</style></head><body><p>Hello <b>world</b> %d</p></body></html>\r\n" % number
    return _head(number) + multipart(b"alternative", b"alt-%d" % number, [_text(), _text(b"html", html)])


def with_attachments(rng: random.Random, number: int) -> bytes:
    """Text and attachments with names of every kind."""
    names = [
        b'"report.pdf"',
        b"plain.txt",
        b'"=?utf-8?Q?Gr=C3=BC=C3=9Fe.pdf?="',
        '"Größe.pdf"'.encode(),
        b'"a\\"b.txt"',
    ]
    parts = [_text(), *(_attachment(rng, rng.choice(names), rng.randrange(3000)) for _ in range(rng.randrange(1, 4)))]
    return _head(number) + multipart(b"mixed", b"=_mix_%d" % number, parts, preamble=b"This is MIME.\r\n")


def rfc2231(rng: random.Random, number: int) -> bytes:
    """Parameters continued and encoded."""
    part = rng.choice(
        [
            b"Content-Type: application/pdf; name*=utf-8''Gr%C3%B6%C3%9Fe.pdf",
            b'Content-Type: application/pdf;\r\n name*0="very long ";\r\n name*1="name.pdf"',
            b"Content-Type: application/pdf;\r\n name*0*=utf-8'en'Gr%C3%B6;\r\n name*1*=%C3%9Fe;\r\n name*2=.pdf",
            b"Content-Type: application/pdf; name*1=b; name*0=a; other=x",
            b"Content-Type: application/pdf; name*1=only-second",
            b'Content-Type: application/pdf; =novalue; a; b=; c="d"; ;; e=f g=h',
            b"Content-Type: application/pdf (comment); name=(c)x.pdf (trailing)",
            b"Content-Type: APPLICATION/PDF; NAME=X.pdf; name=y.pdf",
        ]
    )
    disposition = rng.choice(
        [
            b"", b"Content-Disposition: inline\r\n", b"Content-Disposition: ATTACHMENT; filename=a b c.txt\r\n",
            b"Content-Disposition: attachment; filename*=iso-8859-1'de'Gr%FC%DFe\r\n", b"Content-Disposition:\r\n",
            b"Content-Disposition: attachment; filename=\"unended\r\n",
        ]
    )  # fmt: skip
    extra = rng.choice([b"", b"Content-Language: en, de\r\n", b"Content-Location: http://x.example/y\r\n"])
    body = part + b"\r\n" + disposition + extra + b"\r\nPDF\r\n"
    return _head(number) + multipart(b"mixed", b"b%d" % number, [_text(), body])


def nested(rng: random.Random, number: int) -> bytes:
    """Multiparts in multiparts."""
    inner = multipart(b"related", b"rel-%d" % number, [_text(b"html"), _attachment(rng, b"i.png", 500)])
    middle = multipart(b"alternative", b"alt-%d" % number, [_text(), inner])
    parts = [middle, _attachment(rng, b"z.zip", 900)]
    return _head(number) + multipart(b"mixed", b"mix-%d" % number, parts) + b"epilogue\r\n"


def deep(rng: random.Random, number: int) -> bytes:
    """A chain of multiparts, within the depth that is read."""
    body = _text()
    for level in range(rng.randrange(5, 15)):
        body = multipart(b"mixed", b"level%d-%d" % (level, number), [body])
    return _head(number) + body


def encapsulated(rng: random.Random, number: int) -> bytes:
    """message/rfc822 in various shapes."""
    inner = _head(number + 100000, b"To: c@example.test", b"Cc: Group: g@example.test;") + rng.choice(
        [
            _text(),
            multipart(b"alternative", b"in-%d" % number, [_text(), _text(b"html")]),
            b"Content-Type: message/rfc822\r\n\r\nSubject: innermost\r\n\r\ndeep\r\n",
            b"\r\n",
        ]
    )
    wrapped = b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n\r\n" + inner
    if rng.random() < 0.3:
        return _head(number) + wrapped
    return _head(number) + multipart(b"mixed", b"out-%d" % number, [_text(), wrapped, _text()])


def digest(rng: random.Random, number: int) -> bytes:
    """multipart/digest, whose parts are messages by default."""
    parts = [
        b"\r\nSubject: one\r\nFrom: a@example.test\r\n\r\nfirst\r\n",
        b"Content-Type: text/plain\r\n\r\nnot a message\r\n",
        b"\r\nSubject: two\r\n\r\nsecond\r\n",
    ]
    rng.shuffle(parts)
    return _head(number) + multipart(b"digest", b"dig-%d" % number, parts)


def broken_multiparts(rng: random.Random, number: int) -> bytes:
    """Boundaries that are missing, doubled, wrong, nested in each other, or never end."""
    boundary = b"brk-%d" % number
    shapes = [
        multipart(b"mixed", boundary, [_text(), _text()], end=False),
        multipart(b"mixed", boundary, []),
        multipart(b"mixed", boundary, [b"", b"\r\n", _text()]),
        b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nno boundary given\r\n--x--\r\n",
        b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nempty boundary\r\n----\r\n',
        b"Content-Type: multipart/mixed; boundary=never\r\n\r\nthe boundary never comes\r\n",
        multipart(b"mixed", boundary, [multipart(b"mixed", boundary, [_text()]), _text()]),
        multipart(b"mixed", boundary, [multipart(b"alternative", boundary + b"x", [_text()], end=False), _text()]),
        multipart(b"mixed", boundary, [_text()]) + b"--%s\r\n%s\r\n" % (boundary, _text()),
        multipart(b"mixed", boundary, [_text()]).replace(b"\r\n--", b"\r\n--  "),
        b"Content-Type: multipart/mixed; boundary=%b\r\n\r\n--%b  \r\n\r\npad\r\n--%b-- x\r\nend" % ((boundary,) * 3),
        b"Content-Type: text\r\n\r\nno subtype\r\n",
        b"Content-Type: ; charset=x\r\n\r\nno type\r\n",
        b"Content-Type: text/plain; charset=\"utf-8\"; format=flowed; delsp=yes\r\n\r\nflowed \r\ntext\r\n",
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: BASE64\r\n\r\niVBORw0KGgo=\r\n",
        b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable (really)\r\n\r\n<p>=C3=BC</p>\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding:\r\n\r\nempty encoding\r\n",
        b"Content-Type: text/plain; charset=utf-8;;\r\n\r\ntwo semicolons\r\n",
        multipart(b"report; report-type=delivery-status", boundary, [
            _text(), b"Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nAction: failed\r\n",
            b"Content-Type: text/rfc822-headers\r\n\r\nSubject: original\r\n",
        ]),
    ]  # fmt: skip
    return _head(number) + rng.choice(shapes)


def with_nul(rng: random.Random, number: int) -> bytes:
    """NUL bytes in the body, as some senders produce them (the wire cannot carry them in strings)."""
    return _head(number, b"Content-Type: text/plain") + b"\r\nbefore\x80\x00after %d\r\n" % number


def large(rng: random.Random, number: int, size: int) -> bytes:
    """One attachment of ``size`` bytes before encoding."""
    return _head(number) + multipart(b"mixed", b"big-%d" % number, [_text(), _attachment(rng, b"big.bin", size)])
