"""Messages put together from pieces that each are plausible and together are not."""

from __future__ import annotations

from random import Random

PIECES = (
    b"Content-Type: multipart/mixed; boundary=a\r\n",
    b'Content-Type: multipart/digest; boundary="b c"\r\n',
    b"Content-Type: message/rfc822\r\n",
    b"Content-Type: text/html; charset=x-unknown\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''%ff; filename*2=x\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"MIME-Version: 1.0\r\n",
    b"Subject: =?utf-8?B?/w==?=\r\n",
    b"From: <a@b>, (\r\n",
    b"References: <a> <b>\r\n",
    b"Date: x\r\n",
    *(b"\r\n", b"\n", b"--a\r\n", b"--a--\r\n", b"--b c\r\n", b"--b c--\r\n", b"--", b"text", b" folded\r\n"),
    *(b"\0", b"\xff\xfe", b":\r\n", b"=3D=\r\n", b'"', b";"),
)


def hostile_messages(seed: int, count: int) -> list[bytes]:
    """Return messages, the same for the same seed; without NUL, which servers that store mail refuse or replace."""
    rng = Random(seed)
    pieces = [piece for piece in PIECES if piece != b"\0"]
    return [b"".join(rng.choices(pieces, k=rng.randint(3, 40))) for _ in range(count)]
