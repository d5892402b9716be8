"""Modified UTF-7 mailbox names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imapclient import imap_utf7

from mailcache.wire.utf7 import decode, decode_lenient, encode

NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("INBOX", b"INBOX"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("Tom & Jerry", b"Tom &- Jerry"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("😀", b"&2D3eAA-"),
        ("", b""),
    ],
)
def test_known_spellings(name: str, raw: bytes) -> None:
    assert encode(name) == raw
    assert decode(raw) == name


@given(NAMES)
def test_round_trip(name: str) -> None:
    assert decode(encode(name)) == name
    assert encode(name).isascii()


@given(NAMES)
def test_imapclient_reads_what_we_write(name: str) -> None:
    assert imap_utf7.decode(encode(name)) == name


@given(st.binary(max_size=40))
def test_lenient_never_raises(raw: bytes) -> None:
    assert isinstance(decode_lenient(raw), str)


@pytest.mark.parametrize("raw", [b"&", b"&AB", b"a&b", b"&A-", b"&AB/-", b"&AB==-", b"&2D0-", "ü".encode()])
def test_broken_spellings_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - codecs raise subclasses with texts of their own
        decode(raw)


def test_lenient_reads_raw_utf8_and_a_lone_shift() -> None:
    assert decode_lenient("Entwürfe".encode()) == "Entwürfe"
    assert decode_lenient(b"R&D") == "R&D"
