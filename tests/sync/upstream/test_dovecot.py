"""The upstream client reads from a real Dovecot what imaplib and IMAPClient read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import imapclient
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcache.wire.utf7 import encode
from sync.upstream.errors import CommandNo, Severity
from sync.upstream.values import IdleKind
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.drivers import Client, fetched

MESSAGES = [
    b"From: a@example.test\r\nSubject: one\r\n\r\nhello\r\n",
    b"Subject: =?utf-8?q?=C3=BC?=\r\n\r\n",
    b"\r\n",
    "Subject: roh ü\r\n\r\nkörper\r\n".encode("latin-1"),
    b"X: y\r\n\r\n" + b"* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nA0001 OK\r\n" * 50,
    b"Subject: long\r\n\r\n" + b"x" * 200_000 + b"\r\n",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
]
FLAGS = [(), ("\\Seen",), ("\\Flagged", "$Forwarded"), ("\\Answered", "\\Draft"), ("NonJunk",), ("\\Deleted",), ()]
DATES = [
    datetime(2001 + index, 3, index + 1, 4, 5, 6, tzinfo=timezone(timedelta(hours=index - 3))) for index in range(7)
]


@pytest.fixture
def mail(dovecot: Dovecot, upstream_user: str) -> None:
    """Messages of all sorts in INBOX."""
    for message, flags, moment in zip(MESSAGES, FLAGS, DATES, strict=True):
        dovecot.deliver(upstream_user, message, flags=flags, internal_date=moment)


def oracle(dovecot: Dovecot, user: str) -> imapclient.IMAPClient:
    """Return a logged-in IMAPClient."""
    client = imapclient.IMAPClient(dovecot.host, dovecot.plain_port, ssl=False)
    client.normalise_times = False
    client.login(user, dovecot.password)
    return client


@pytest.mark.usefixtures("mail")
def test_messages_are_those_of_the_oracles(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    items = b"(UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])"
    mailbox = client.examine(b"INBOX")
    uids = client.uid_search()
    ours = {message.uid: message for message in fetched(client, uids, items)}

    with oracle(dovecot, upstream_user) as theirs:
        theirs.select_folder("INBOX", readonly=True)
        wanted = theirs.fetch(theirs.search("ALL"), ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "BODY.PEEK[]"])
    assert uids == sorted(wanted)
    assert mailbox.exists == len(wanted) == len(ours)
    for uid, data in wanted.items():
        message = ours[uid]
        assert message.seq == data[b"SEQ"]
        assert set(message.flags or ()) == {flag.decode() for flag in data[b"FLAGS"]}
        assert message.internal_date == data[b"INTERNALDATE"]
        assert message.size == data[b"RFC822.SIZE"]
        assert message.sections == {b"": data[b"BODY[]"]}

    with dovecot.login(upstream_user) as plain:
        plain.select("INBOX", readonly=True)
        for uid in uids:
            _, answer = plain.uid("FETCH", str(uid), "(BODY.PEEK[])")
            assert ours[uid].sections[b""] == answer[0][1]


@pytest.mark.usefixtures("mail")
def test_what_was_delivered_comes_back(client: Client) -> None:
    client.examine(b"INBOX")
    messages = fetched(client, client.uid_search(), b"(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")

    assert [message.sections[b""] for message in messages] == MESSAGES
    assert [message.internal_date for message in messages] == DATES
    assert [set(message.flags or ()) - {"\\Recent"} for message in messages] == [set(flags) for flags in FLAGS]


@pytest.mark.usefixtures("mail")
def test_the_short_way_and_the_long_way_agree(client: Client) -> None:
    client.examine(b"INBOX")
    uids = client.uid_search()

    plain = fetched(client, uids, b"(UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)")
    # Dovecot tells the items in the order in which they were asked for; ENVELOPE takes every row off the short way.
    long = fetched(client, uids, b"(ENVELOPE UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ)")

    assert [message._replace(envelope_raw=None) for message in long] == plain
    assert all(message.modseq for message in plain)
    assert all(message.envelope_raw for message in long)


@pytest.mark.usefixtures("mail")
def test_sections_by_name(client: Client) -> None:
    client.examine(b"INBOX")
    message = fetched(
        client, [1], b"(BODY.PEEK[HEADER.FIELDS (Subject X-None)] BODY.PEEK[TEXT]<1.3> BODY.PEEK[9] BODYSTRUCTURE)"
    )[0]

    assert message.sections == {
        b"HEADER.FIELDS (SUBJECT X-NONE)": b"Subject: one\r\n\r\n",
        b"TEXT<1>": b"ell",
        b"9": b"",
    }
    assert message.bodystructure_raw is not None
    assert message.bodystructure_raw.startswith(b'("text" "plain"')


def test_reading_changes_nothing(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, MESSAGES[0])
    client.examine(b"INBOX")
    fetched(client, [1], b"(BODY.PEEK[] ENVELOPE)")

    with oracle(dovecot, upstream_user) as theirs:
        theirs.select_folder("INBOX", readonly=True)
        assert theirs.fetch([1], ["FLAGS"])[1][b"FLAGS"] == (b"\\Recent",)


NAMES = ["Entwürfe", "with space", 'quote"d', "back\\slash", "Tom & Jerry", "日本語/台北", "NIL", "a(b)", "100%[x]"]


def test_mailbox_names_come_back(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    with oracle(dovecot, upstream_user) as theirs:
        for name in NAMES:
            theirs.create_folder(name)
        folders = theirs.list_folders()

    ours = client.list_mailboxes()

    assert {(box.name, (box.delimiter or "").encode()) for box in ours} == {(name, mark) for _, mark, name in folders}
    assert {box.name for box in ours} >= set(NAMES)
    assert all(encode(box.name) == box.name_raw for box in ours)
    for box in ours:
        if "\\Noselect" not in box.attributes:
            assert client.examine(box.name_raw).uidvalidity


def test_special_uses_are_told(client: Client) -> None:
    uses = {box.name: box.attributes for box in client.list_mailboxes()}

    assert "\\Sent" in uses["Sent"]
    assert "\\Trash" in uses["Trash"]
    assert uses["INBOX"].isdisjoint({"\\Sent", "\\Trash", "\\Drafts", "\\Junk"})


def test_namespaces(client: Client) -> None:
    namespaces = client.namespaces()

    assert [(space.prefix, space.delimiter) for space in namespaces.personal] == [("", "/")]
    assert namespaces.shared == ()


def test_opening_a_mailbox(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, MESSAGES[0], flags=("$Forwarded",))
    examined = client.examine(b"INBOX")
    selected = client.select(b"INBOX")

    assert (examined.exists, examined.uidnext, examined.read_only) == (1, 2, True)
    assert (selected.read_only, selected.uidvalidity) == (False, examined.uidvalidity)
    assert "$Forwarded" in examined.flags
    assert "\\*" in (selected.permanentflags or ())
    assert examined.highestmodseq
    assert client.selected == selected


def test_a_missing_mailbox_concerns_that_mailbox(client: Client) -> None:
    with pytest.raises(CommandNo) as caught:
        client.examine(b"missing")

    assert caught.value.severity is Severity.MAILBOX
    assert not client.poisoned
    assert client.examine(b"INBOX").exists == 0


def test_an_empty_mailbox(client: Client) -> None:
    client.examine(b"INBOX")

    assert client.uid_search() == []
    assert fetched(client, [], b"(FLAGS)") == []
    assert fetched(client, [5, 6], b"(FLAGS)") == []


def test_searching(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    for _ in range(5):
        dovecot.deliver(upstream_user, MESSAGES[0])
    with oracle(dovecot, upstream_user) as theirs:
        theirs.select_folder("INBOX")
        theirs.delete_messages([2, 4])
        theirs.expunge()
    client.examine(b"INBOX")

    assert client.uid_search() == [1, 3, 5]
    assert client.uid_search(b"UID 2:4") == [3]
    assert client.uid_search(b"SEEN") == []


def test_idle_tells_of_a_delivery(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    client.examine(b"INBOX")
    assert list(client.idle(seconds=0.05)) == []
    dovecot.deliver(upstream_user, MESSAGES[0])

    event = next(client.idle(seconds=60))

    assert (event.kind, event.number) == (IdleKind.EXISTS, 1)
    assert client.uid_search() == [1]


def test_noop_tells_of_a_delivery(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    client.examine(b"INBOX")
    assert client.noop() == []
    dovecot.deliver(upstream_user, MESSAGES[0])

    assert (IdleKind.EXISTS, 1) in [(event.kind, event.number) for event in client.noop()]
    assert client.noop() == []


def test_commands_are_bounded_in_length_and_number(client: Client, dovecot: Dovecot, upstream_user: str) -> None:
    dovecot.deliver(upstream_user, MESSAGES[0])
    client.examine(b"INBOX")
    before = client.statistics.commands

    fetched(client, range(1, 5_001), b"(FLAGS)")
    assert client.statistics.commands == before + 10
    assert [message.uid for message in fetched(client, range(1, 10_001, 2), b"(FLAGS)")] == [1]
    assert client.statistics.commands == before + 20
    client.uid_fetch_set(b"1:*", b"(FLAGS)", on_message=print)
    assert client.statistics.commands == before + 21


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20))
def test_any_name_is_found_again(client: Client, dovecot: Dovecot, upstream_user: str, name: str) -> None:
    with dovecot.login(upstream_user) as plain:
        quoted = encode(name).replace(b"\\", b"\\\\").replace(b'"', b'\\"').decode("ascii")
        status, _ = plain.create(f'"{quoted}"')
    if status == "OK":
        box = next(box for box in client.list_mailboxes() if box.name == name)
        assert client.examine(box.name_raw).exists == 0
