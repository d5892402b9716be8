"""What clients change is seen at once, also while the upstream is away, and is replayed when it is back."""

from __future__ import annotations

import imaplib

import pytest

from tests.builders import message_bytes
from tests.e2e.mirror import Mirror, differences, imaplib_login, read_with_imaplib
from tests.e2e.system import EVERYTHING, PASSWORD, System
from tests.servers.dovecot import Dovecot
from tests.waiting import wait_until

pytestmark = pytest.mark.dovecot

_REPLAY_SECONDS = 60
_UNSETTLED = "SELECT count(*) FROM mailcache_mutation WHERE state <> 'settled'"


def _must(answer: tuple[str, object]) -> None:
    status, told = answer
    assert status == "OK", told


def _change(client: imaplib.IMAP4) -> None:
    """Do what a mail client does in a day."""
    _must(client.select("INBOX"))
    _must(client.store("1:3", "+FLAGS", "(\\Seen \\Flagged)"))
    _must(client.uid("COPY", "2", "Archive"))
    _must(client.uid("MOVE", "3", "Trash"))
    _must(client.append("Drafts", "(\\Draft)", '"17-May-2024 08:30:00 +0000"', message_bytes("draft")))
    _must(client.append("Sent", "(\\Seen)", '"17-May-2024 08:31:00 +0000"', message_bytes("sent")))
    _must(client.uid("STORE", "1", "+FLAGS", "(\\Deleted)"))
    _must(client.expunge())
    _must(client.create("Projects"))
    _must(client.uid("COPY", "2", "Projects"))
    _must(client.rename("Projects", "Done"))
    _must(client.create("Useless"))
    _must(client.delete("Useless"))


def _read(port: int, user: str, password: str) -> Mirror:
    with imaplib_login(port, user, password) as client:
        return read_with_imaplib(client)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_away", [False, True], ids=["upstream there", "upstream away"])
def test_what_a_client_changes_reaches_the_upstream(own_dovecot: Dovecot, upstream_user: str, is_away: bool) -> None:
    for number in range(1, 6):
        own_dovecot.deliver(upstream_user, message_bytes(f"number {number}"))
    with System() as system:
        system.start(*EVERYTHING)
        address = system.add_account(upstream_user, port=own_dovecot.plain_port)
        system.wait_in_step(address)
        if is_away:
            own_dovecot.stop()
        with imaplib_login(system.imap_port, address, PASSWORD) as client:
            _change(client)
        changed = _read(system.imap_port, address, PASSWORD)
        assert {name: len(messages) for name, messages in changed.items() if messages} == {
            "INBOX": 3, "Archive": 1, "Trash": 1, "Drafts": 1, "Sent": 1, "Done": 1,
        }  # fmt: skip
        if is_away:
            assert system.query(_UNSETTLED)[0][0] > 0
            own_dovecot.start()
        wait_until(lambda: system.query(_UNSETTLED) == [(0,)], _REPLAY_SECONDS)
        assert not differences(changed, _read(own_dovecot.plain_port, upstream_user, own_dovecot.password))
        system.sync(address)
        assert not differences(_read(system.imap_port, address, PASSWORD), changed)
