"""Replay to mailboxes in which the account may not do everything (RFC 4314), behind a prefix, and of large messages."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailcache.models import Mutation
from mailcache.names import RECOVERED
from mailcache.services.mutation_control import drop_mutations
from mailcache.wire.number_set import NumberSet
from sync.lanes import Lane
from sync.mailbox_requests import sync_mailbox
from sync.replay.run import ReplayEnd, run_replay
from sync.services.upstream_notes import note_slow
from tests.builders import message_bytes
from tests.servers.dovecot import Dovecot, running_dovecot
from tests.sync.replay.hands import Hands

pytestmark = pytest.mark.dovecot

_ACL = """
mail_plugins = acl
protocol imap {{
  mail_plugins = acl imap_acl
}}
plugin {{
  acl = vfile:{file}
}}
namespace inbox {{
  prefix = INBOX/
}}
"""


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A Dovecot with a personal namespace of ``INBOX/`` and an ACL file that tests write; at first all is allowed."""
    directory = Path(tempfile.mkdtemp(prefix="imapped-dovecot-"))
    with running_dovecot(directory, extra=_ACL.format(file=directory / "acls")) as server:
        yield server


@pytest.fixture
def rights(dovecot: Dovecot) -> Iterator[Path]:
    """The file with the rights."""
    file = dovecot.ca_file.parent / "acls"
    file.write_text("")
    file.chmod(0o644)
    yield file
    file.unlink()


def _lock(hands: Hands, rights: Path, allowed: str) -> None:
    """Fill ``Archive``, then leave its owner the rights ``allowed`` there."""
    for number in range(3):
        hands.dovecot.deliver(hands.user, message_bytes(f"number {number}"), "INBOX/Archive")
    rights.write_text(f"INBOX/Archive owner {allowed}\n")
    hands.sync()


def test_what_may_only_be_read_is_not_changed(hands: Hands, rights: Path) -> None:
    _lock(hands, rights, "lr")
    hands.store("\\Flagged", mailbox="Archive", uids=NumberSet.from_numbers([1]))
    hands.append(message_bytes("new"), mailbox="Archive")
    hands.delete(mailbox="Archive", uids=NumberSet.from_numbers([2]))
    hands.append(message_bytes("elsewhere"), mailbox="Drafts")
    assert hands.replay() is ReplayEnd.DONE
    rows = Mutation.objects.unsettled(hands.account.pk).values_list("kind", "state", "parked_cause")
    assert sorted(rows) == [
        ("append", "parked", "refused"), ("expunge", "parked", "read_only"), ("store", "parked", "read_only"),
    ]  # fmt: skip
    # What was to be appended is where people see it; the rest is as the client left it until an operator decides.
    assert len(hands.uids(RECOVERED)) == 1
    assert hands.uids("Archive") == [1, 3]
    assert len(hands.there("INBOX/Drafts")) == 1
    hands.sync()
    assert hands.uids("Archive") == [1, 3]


def test_flags_that_may_not_be_set_stay_here(hands: Hands, rights: Path) -> None:
    _lock(hands, rights, "lrs")
    hands.store("\\Seen", "\\Flagged", mailbox="Archive")
    assert hands.replay() is ReplayEnd.DONE
    assert hands.unsettled() == []
    assert {flags for _, flags in hands.there("INBOX/Archive")} == {frozenset({"\\Seen"})}


def test_what_may_not_be_marked_as_deleted_is_parked(hands: Hands, rights: Path) -> None:
    _lock(hands, rights, "lrswi")
    hands.delete(mailbox="Archive", uids=NumberSet.from_numbers([2]))
    assert hands.replay() is ReplayEnd.DONE
    ((kind, state, reason),) = hands.unsettled()
    assert (kind, state) == ("expunge", "parked")
    assert "does not let messages be deleted" in reason
    assert len(hands.there("INBOX/Archive")) == 3
    # The operator gives it up: the message is shown again.
    drop_mutations(account_id=hands.account.pk, ids=Mutation.objects.values_list("pk", flat=True))
    sync_mailbox(mailbox=hands.mailbox("Archive"), everything=True)
    hands.sync()
    assert len(hands.uids("Archive")) == 3


def test_what_is_still_there_after_its_expunge_is_shown_again(hands: Hands, rights: Path) -> None:
    """Dovecot says OK to EXPUNGE where only marking is allowed, and expunges nothing."""
    _lock(hands, rights, "lrswit")
    hands.delete(mailbox="Archive", uids=NumberSet.from_numbers([2]))
    assert hands.replay() is ReplayEnd.DONE
    assert hands.unsettled() == []
    assert len(hands.there("INBOX/Archive")) == 3
    hands.sync()
    sync_mailbox(mailbox=hands.mailbox("Archive"), everything=True)
    hands.sync()
    assert len(hands.uids("Archive")) == 3


def test_names_behind_a_prefix(hands: Hands, rights: Path) -> None:
    hands.sync()
    hands.create("Old")
    hands.create("Projects")
    hands.create("Projects/One")
    hands.append(message_bytes("new"), mailbox="Projects/One")
    assert hands.replay() is ReplayEnd.DONE
    assert "INBOX/Projects/One" in hands.names_there()
    hands.rename("Projects", "Done")
    hands.remove("Old")
    assert hands.replay() is ReplayEnd.DONE
    names = hands.names_there()
    assert {"INBOX/Done", "INBOX/Done/One"} <= names
    assert not names & {"INBOX/Projects", "INBOX/Projects/One", "INBOX/Old"}
    assert len(hands.there("INBOX/Done/One")) == 1
    hands.sync()
    assert hands.uids("Done/One") == [1]
    assert hands.unsettled() == []


def test_large_messages_go_in_several_commands(hands: Hands, rights: Path) -> None:
    hands.sync()
    large = [message_bytes(f"number {number}") + b"x" * 76 * 50_000 + b"\r\n" for number in range(5)]
    hands.append(*large)
    assert hands.replay() is ReplayEnd.DONE
    assert [data for data, _ in hands.there()] == large
    # Eight megabytes at most in one.
    assert hands.proxy.counts()["APPEND"] == 3


def test_a_slow_upstream_is_replayed_by_the_slow_lane(hands: Hands, rights: Path) -> None:
    hands.deliver(message_bytes("one"))
    hands.store("\\Seen")
    note_slow(account_id=hands.account.pk, host=hands.account.host)
    assert run_replay(hands.account.pk, lane=Lane.FAST) is ReplayEnd.SLOW
    assert run_replay(hands.account.pk, lane=Lane.SLOW) is ReplayEnd.DONE
    assert hands.there()[0][1] == {"\\Seen"}
