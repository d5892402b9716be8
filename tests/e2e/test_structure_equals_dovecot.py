"""ENVELOPE, BODY and BODYSTRUCTURE as served by imapped, item by item against Dovecot's.

There is no table of allowed differences: none was found.
"""

from __future__ import annotations

import pytest

from tests.e2e.mirror import imaplib_login, list_with_imaplib
from tests.e2e.mirrored import MirroredAccount
from tests.e2e.raw_imap import RawClient, Value
from tests.e2e.system import PASSWORD

pytestmark = pytest.mark.dovecot


@pytest.mark.parametrize("item", [b"ENVELOPE", b"BODY", b"BODYSTRUCTURE"])
def test_every_message_has_the_same(mirrored: MirroredAccount, item: bytes) -> None:
    with imaplib_login(mirrored.system.imap_port, mirrored.address, PASSWORD) as client:
        mailboxes = list_with_imaplib(client)
    theirs = RawClient(mirrored.dovecot.plain_port, mirrored.upstream_user, mirrored.dovecot.password)
    ours = RawClient(mirrored.system.imap_port, mirrored.address, PASSWORD)
    compared = 0
    with theirs, ours:
        for name, (spelled, attributes) in mailboxes.items():
            if b"\\noselect" not in attributes:
                expected, served = _fetch_all(theirs, spelled, item), _fetch_all(ours, spelled, item)
                assert len(served) == len(expected), name
                for number, (one, other) in enumerate(zip(served, expected, strict=True), start=1):
                    assert one == other, f"{name} {number}: {_first_difference(one, other)}"
                compared += len(served)
    assert compared == mirrored.messages


def _fetch_all(client: RawClient, mailbox: bytes, item: bytes) -> list[Value]:
    exists = next(line for line in client.run(b"EXAMINE " + mailbox) if line.endswith(b" EXISTS"))
    return client.fetch("1:*", item) if exists != b"* 0 EXISTS" else []


def _first_difference(ours: Value, theirs: Value, path: str = "") -> str:
    """Return the place of the first item that differs, and both values there."""
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if mine != other:
                return _first_difference(mine, other, f"{path}.{number}")
    return f"item {path}: {ours!r} instead of {theirs!r}"
