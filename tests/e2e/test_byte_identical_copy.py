"""What clients copy through imapped is what they copy straight from Dovecot: bytes, flags, dates and names."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.figures import Report
from tests.e2e.maildirs import MaildirMessage, copy_with_mbsync, mailbox_names
from tests.e2e.mirror import (
    differences,
    imaplib_login,
    list_with_imaplib,
    read_with_imapclient,
    read_with_imaplib,
)
from tests.e2e.mirrored import MirroredAccount
from tests.e2e.system import PASSWORD

pytestmark = pytest.mark.dovecot

_SPECIAL_USE = {b"\\sent", b"\\drafts", b"\\trash", b"\\junk", b"\\archive"}


def test_imaplib_reads_the_same_from_both(mirrored: MirroredAccount, report_figure: Report) -> None:
    with imaplib_login(mirrored.dovecot.plain_port, mirrored.upstream_user, mirrored.dovecot.password) as client:
        theirs = read_with_imaplib(client)
    with imaplib_login(mirrored.system.imap_port, mirrored.address, PASSWORD) as client:
        ours = read_with_imaplib(client)
    assert sum(map(len, ours.values())) == mirrored.messages == 2000
    assert len(ours) == 12
    assert not differences(ours, theirs)
    rate = mirrored.messages / mirrored.sync_seconds
    report_figure(f"first sync of {mirrored.messages} messages: {mirrored.sync_seconds:.1f} s, {rate:.0f} messages/s")
    memory = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in mirrored.system.memory().items())
    report_figure(f"memory after reading it all (each with its children): {memory}")


def test_imapclient_reads_the_same_from_both(mirrored: MirroredAccount) -> None:
    theirs = read_with_imapclient(mirrored.dovecot.plain_port, mirrored.upstream_user, mirrored.dovecot.password)
    ours = read_with_imapclient(mirrored.system.imap_port, mirrored.address, PASSWORD)
    assert sum(map(len, ours.values())) == mirrored.messages
    assert not differences(ours, theirs)


def test_list_names_the_same_mailboxes(mirrored: MirroredAccount) -> None:
    """Names that hold no messages but have children are told apart too, and so are special uses."""
    relevant = _SPECIAL_USE | {b"\\noselect"}
    with imaplib_login(mirrored.dovecot.plain_port, mirrored.upstream_user, mirrored.dovecot.password) as client:
        theirs = {name: flags & relevant for name, (_, flags) in list_with_imaplib(client).items()}
    with imaplib_login(mirrored.system.imap_port, mirrored.address, PASSWORD) as client:
        ours = {name: flags & relevant for name, (_, flags) in list_with_imaplib(client).items()}
    assert ours == theirs


def test_mbsync_makes_the_same_copy_of_both(mirrored: MirroredAccount) -> None:
    with tempfile.TemporaryDirectory(prefix="imapped-mbsync-") as directory:
        theirs, ours = Path(directory) / "theirs", Path(directory) / "ours"
        from_dovecot = copy_with_mbsync(
            theirs, port=mirrored.dovecot.plain_port, user=mirrored.upstream_user, password=mirrored.dovecot.password
        )
        from_imapped = copy_with_mbsync(ours, port=mirrored.system.imap_port, user=mirrored.address, password=PASSWORD)
        assert mailbox_names(ours) == mailbox_names(theirs)
    # mbsync skips messages whose header is not ended by an empty line, whoever serves them.
    assert mirrored.messages * 0.99 < from_dovecot.total() <= mirrored.messages
    assert _briefly(from_imapped - from_dovecot) == _briefly(from_dovecot - from_imapped) == []


def _briefly(messages: Counter[MaildirMessage]) -> list[tuple[str, bytes, str, int]]:
    return sorted((mailbox, data[:200], flags, date) for mailbox, data, flags, date in messages)[:5]
