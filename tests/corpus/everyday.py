"""What lies in a mailbox after years: replies, newsletters, notices with pictures, attachments; 30 KB on average."""

from __future__ import annotations

import base64
import random
from functools import lru_cache

_WORDS = (
    b"the of and to in is for on that with as this are be at by we you your from have or not it will can please our "
    b"meeting invoice report order project update thanks regards attached tomorrow question customer delivery account "
    b"schedule budget review version release server contract summary payment discussion deadline proposal feedback"
).split()
_LINE_WORDS = 11
_POOL_LINES = 4_000
_ROW = (
    b'<tr><td style=3D"padding:0 12px;font-family:Arial,sans-serif;color:#333333"><a href=3D"https://=\r\n'
    b'news.example.test/c/%d/%d?utm_source=3Dnewsletter&amp;id=3D%08x">%b</a><br>\r\n%b</td></tr>\r\n'
)


def everyday_message(number: int) -> bytes:
    """Return message ``number``, always the same."""
    rng = random.Random(number)
    kind = rng.random()
    if kind < 0.35:
        return _header(rng, number) + _plain(rng, rng.randrange(6, 60))
    if kind < 0.8:
        return _header(rng, number, is_list=True) + _alternative(rng, number, rng.randrange(20, 120))
    if kind < 0.92:
        return _header(rng, number) + _with_files(rng, number, rng.randrange(15_000, 45_000), b"image/png", b"logo.png")
    size = int(rng.triangular(20_000, 250_000, 70_000))
    return _header(rng, number) + _with_files(rng, number, size, b"application/pdf", b"report %d.pdf" % number)


@lru_cache(maxsize=1)
def _text_lines() -> list[bytes]:
    rng = random.Random(1)
    return [b" ".join(rng.choices(_WORDS, k=_LINE_WORDS)) + b"\r\n" for _ in range(_POOL_LINES)]


@lru_cache(maxsize=1)
def _base64_lines() -> list[bytes]:
    data = base64.encodebytes(random.Random(2).randbytes(57 * 2 * _POOL_LINES))
    return data.replace(b"\n", b"\r\n").splitlines(keepends=True)


def _text(rng: random.Random, lines: int) -> bytes:
    return b"".join(rng.choices(_text_lines(), k=lines))


def _header(rng: random.Random, number: int, *, is_list: bool = False) -> bytes:
    """Return the header fields that a message has collected on its way, without Content-Type."""
    sender = b"person%d@sender%d.example.test" % (number % 400, number % 60)
    hops = b"".join(
        b"Received: from mx%d.example.test (mx%d.example.test [192.0.2.%d])\r\n\tby mail%d.example.test (Postfix) with "
        b"ESMTPS id %012X\r\n\tfor <me@example.test>; Fri, 17 May 2024 08:%02d:%02d +0000 (UTC)\r\n"
        % (hop, hop, hop + 1, hop, rng.getrandbits(48), rng.randrange(60), rng.randrange(60))
        for hop in range(3)
    )
    signature = b"\r\n\t ".join(line.rstrip() for line in rng.choices(_base64_lines(), k=5))
    listed = (
        b"List-Id: News <news%d.example.test>\r\nList-Unsubscribe: <https://news.example.test/u/%d>,\r\n "
        b"<mailto:leave-%d@news.example.test>\r\nPrecedence: bulk\r\n" % (number % 40, number, number)
    )
    return b"".join(
        (
            b"Return-Path: <%b>\r\nDelivered-To: me@example.test\r\n" % sender, hops,
            b"Authentication-Results: mail0.example.test;\r\n\tdkim=pass (2048-bit key) header.d=example.test;\r\n\t"
            b"spf=pass smtp.mailfrom=%b; dmarc=pass\r\n" % sender,
            b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.test; s=mail;\r\n\tbh=%b;\r\n\tb=%b\r\n"
            % (rng.choice(_base64_lines())[:43], signature),
            b"From: =?utf-8?Q?Zo=C3=AB?= Person %d <%b>\r\nTo: Me Myself <me@example.test>" % (number % 400, sender),
            b", \"Other, A.\" <other@example.test>\r\nCc: team@example.test\r\n" if rng.random() < 0.3 else b"\r\n",
            b"Subject: %b%b %d\r\n" % (rng.choice((b"", b"Re: ", b"Fwd: ")), _text(rng, 1).strip()[:50], number),
            b"Date: Fri, 17 May 2024 08:%02d:00 +0200\r\nMessage-ID: <everyday-%d@example.test>\r\n"
            % (rng.randrange(60), number),
            b"In-Reply-To: <everyday-%d@example.test>\r\nReferences: <everyday-%d@example.test>\r\n "
            b"<everyday-%d@example.test>\r\n" % (number - 1, number - 2, number - 1) if rng.random() < 0.4 else b"",
            listed if is_list else b"X-Mailer: Example Mail 16.0\r\n", b"MIME-Version: 1.0\r\n",
        )
    )  # fmt: skip


def _plain(rng: random.Random, lines: int) -> bytes:
    quoted = b"".join(b"> " + line for line in rng.choices(_text_lines(), k=lines // 2))
    return (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + "Grüße,\r\n\r\n".encode()
        + _text(rng, lines - lines // 2)
        + quoted
    )


def _alternative(rng: random.Random, number: int, rows: int) -> bytes:
    boundary = b"=_alt_%016x" % rng.getrandbits(64)
    html = b"".join(
        _ROW % (number, row, rng.getrandbits(32), rng.choice(_text_lines())[:40], rng.choice(_text_lines()))
        for row in range(rows)
    )
    return b"".join(
        (
            b'Content-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n' % boundary,
            b"--%b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            % boundary, _text(rng, rows // 2),
            b"\r\n--%b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            % boundary, b"<html><head><style>td{padding:0}</style></head><body><table>\r\n", html,
            b"</table></body></html>\r\n--%b--\r\n" % boundary,
        )
    )  # fmt: skip


def _with_files(rng: random.Random, number: int, size: int, kind: bytes, name: bytes) -> bytes:
    boundary = b"=_mix_%016x" % rng.getrandbits(64)
    lines = size * 4 // 3 // 78
    return b"".join(
        (
            b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n' % (boundary, boundary),
            _alternative(rng, number, 4),
            b'\r\n--%b\r\nContent-Type: %b; name="%b"\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: '
            b'attachment;\r\n filename="%b"\r\n\r\n' % (boundary, kind, name, name),
            *rng.choices(_base64_lines(), k=lines), b"\r\n--%b--\r\n" % boundary,
        )
    )  # fmt: skip
