"""Which extensions are used: offered on this connection, not masked, not refused before (quirks 13, 42, 45)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync.profiles import BY_NAME, GENERIC, Profile
from sync.upstream.errors import NotOffered, TemporarilyRefused
from tests.fakes.scripted_imap import Answer
from tests.servers.dovecot import Dovecot
from tests.sync.upstream.answers import offering
from tests.sync.upstream.conftest import Script
from tests.sync.upstream.drivers import Client, fetched

EVERYTHING = offering(
    b"ID", b"IDLE", b"ENABLE", b"CONDSTORE", b"QRESYNC", b"ESEARCH", b"NAMESPACE", b"SPECIAL-USE", b"LIST-EXTENDED",
    b"LIST-STATUS", b"OBJECTID", b"COMPRESS=DEFLATE", b"NOTIFY", b"UIDONLY", b"IMAP4rev2",
)  # fmt: skip
CAPABILITIES = ("ID", "ENABLE", "CONDSTORE", "QRESYNC", "ESEARCH", "LIST-EXTENDED", "COMPRESS=DEFLATE", "NOTIFY")
LISTED = b'* LIST () "/" INBOX\r\n{tag} OK done\r\n'
STATUS = b"* STATUS INBOX (MESSAGES 3)\r\n{tag} OK done\r\n"
FOUND = b"* SEARCH 4\r\n{tag} OK done\r\n"
PLAIN: dict[str, Answer | list[Answer]] = {
    "LIST": LISTED,
    "STATUS": STATUS,
    "UID SEARCH": FOUND,
    "NAMESPACE": b"{tag} OK done\r\n",
}


def use_everything(client: Client) -> None:
    """Run every command that has an extended form."""
    client.list_mailboxes(status=True)
    client.status(b"INBOX")
    client.examine(b"INBOX")
    client.uid_search()
    client.notify()


def test_what_is_masked_or_was_refused_is_never_tried(script: Script) -> None:
    profile = replace(GENERIC, masked=frozenset({"QRESYNC", "CONDSTORE", "ESEARCH", "NOTIFY"}))
    refused = ["ID", "LIST-EXTENDED", "COMPRESS=DEFLATE", "OBJECTID", "LIST-STATUS"]
    server, client = script(EVERYTHING | PLAIN, profile=profile, refused=refused)
    use_everything(client)

    assert server.commands == [
        b"CAPABILITY", b"LOGIN fred s3cret", b"CAPABILITY", b'LIST "" *',
        b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)", b"EXAMINE INBOX", b"UID SEARCH ALL",
    ]  # fmt: skip
    assert client.refused == frozenset()
    assert not client.may("QRESYNC")
    assert not client.may("ID")
    assert client.may("NAMESPACE")


def test_everything_may_be_advertised_and_rejected(script: Script) -> None:
    server, client = script(
        EVERYTHING
        | PLAIN
        | {
            "ID": b"{tag} BAD no\r\n",
            "COMPRESS": b"{tag} NO [COMPRESSIONACTIVE] no\r\n",
            "ENABLE": b"{tag} BAD no\r\n",
            "NOTIFY": b"{tag} NO [BADEVENT (MessageNew)] no\r\n",
            "LIST": [b"{tag} BAD no\r\n"] * 3 + [LISTED],
            "STATUS": [b"{tag} BAD no\r\n"] * 2 + [STATUS],
            "UID SEARCH": [b"{tag} BAD no\r\n", FOUND],
        }
    )
    use_everything(client)
    once = len(server.commands)
    use_everything(client)

    assert client.refused == {
        "ID", "COMPRESS=DEFLATE", "ENABLE", "NOTIFY", "LIST-EXTENDED", "CONDSTORE", "ESEARCH",
    }  # fmt: skip
    assert server.commands[once:] == [
        b'LIST "" *', b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY MAILBOXID)", b"EXAMINE INBOX", b"UID SEARCH ALL",
    ]  # fmt: skip


@pytest.mark.parametrize("capability", ["ID", "COMPRESS", "ENABLE", "NOTIFY"])
def test_a_passing_refusal_is_not_remembered(script: Script, capability: str) -> None:
    _, client = script(EVERYTHING | PLAIN | LATER | {capability: b"{tag} NO [UNAVAILABLE] try again later\r\n"})

    client.notify()
    assert client.refused == frozenset()


LATER: dict[str, Answer | list[Answer]] = {
    "COMPRESS": b"{tag} NO [LIMIT] not now\r\n",
    "ENABLE": b"* ENABLED QRESYNC CONDSTORE\r\n{tag} OK done\r\n",
    "NOTIFY": b"{tag} OK done\r\n",
}


def test_throttling_is_no_proof_against_an_extension(script: Script) -> None:
    answers: dict[str, Answer | list[Answer]] = {"UID SEARCH": b"{tag} BAD Request is throttled.\r\n"}
    _, client = script(offering(b"ESEARCH") | answers)

    with pytest.raises(Exception, match="throttled"):
        client.uid_search()
    assert client.refused == frozenset()


def test_capabilities_are_those_after_login(script: Script) -> None:
    # Quirk 21: a proxy rewrites what is told before.
    greeting = b"* OK [CAPABILITY IMAP4rev1 QRESYNC ESEARCH] hi\r\n"
    _, client = script({"LOGIN": b"{tag} OK [CAPABILITY IMAP4rev1 X] in\r\n"} | offering(b"IDLE"), greeting=greeting)

    assert client.capabilities == {"IMAP4REV1", "IDLE"}


def test_qresync_means_condstore(script: Script) -> None:
    server, client = script(offering(b"QRESYNC"))
    client.examine(b"INBOX")

    assert server.commands[-1] == b"EXAMINE INBOX (CONDSTORE)"


@pytest.mark.parametrize("allowed", [False, True])
def test_rev2_is_used_only_where_it_is_allowed(script: Script, allowed: bool) -> None:
    # Quirk 13. With IMAP4rev2 the extensions that it took in need not be listed.
    answer = b'* ESEARCH (TAG "x") UID ALL 4:5\r\n{tag} OK done\r\n'
    server, client = script(offering(b"IMAP4rev2") | {"UID SEARCH": answer}, profile=replace(GENERIC, rev2=allowed))

    assert client.uid_search() == [4, 5]
    assert server.commands[-1] == (b"UID SEARCH RETURN (ALL) ALL" if allowed else b"UID SEARCH ALL")
    assert client.may("LIST-STATUS") is allowed
    assert not any(command.startswith(b"ENABLE") for command in server.commands)


def test_office365_gets_no_rev2_and_id_nil(script: Script) -> None:
    office = BY_NAME["office365"]
    server, client = script(offering(b"ID", b"IMAP4rev2"), profile=replace(office, rev2=True))

    # Quirk 17: Exchange rejects an empty list.
    assert server.commands[-1] == b"ID NIL"
    assert not client.may("ESEARCH")
    # Quirk 11: and is asked something right after login.
    assert server.commands[1:3] == [b"LOGIN fred s3cret", b"NAMESPACE"]


def test_a_login_that_only_says_ok(script: Script) -> None:
    answers: dict[str, Answer | list[Answer]] = {"NAMESPACE": b"{tag} BAD User is authenticated but not connected.\r\n"}

    with pytest.raises(TemporarilyRefused):
        script(answers, profile=replace(GENERIC, probe_login=True))


def test_id_before_the_first_select_where_it_is_not_offered(script: Script) -> None:
    # Quirk 28.
    server, _ = script(profile=BY_NAME["coremail"])
    assert server.commands[-1] == b'ID ("name" "imapped")'

    _, client = script({"ID": b"{tag} BAD what\r\n"}, profile=BY_NAME["coremail"])
    assert client.refused == frozenset()


def test_what_a_server_says_of_itself_is_kept(script: Script) -> None:
    answer = b'* ID ("name" "GImap" "vendor" "Google, Inc." "remote-host" "fred at 10.0.0.1")\r\n{tag} OK done\r\n'
    _, client = script(offering(b"ID") | {"ID": answer}, greeting=b"* OK Gimap ready for requests\r\n")

    assert "Gimap ready" in client.said
    assert "Google" in client.said
    assert "fred" not in client.said


def test_dovecot_is_told_by_what_it_says(client: Client) -> None:
    assert "Dovecot" in client.said
    assert client.refused == frozenset()


def test_idle_can_be_masked(script: Script) -> None:
    _, client = script(offering(b"IDLE"), profile=BY_NAME["naver"])

    with pytest.raises(NotOffered):
        next(client.idle())


def test_idle_lasts_as_long_as_the_profile_says(script: Script) -> None:
    answers: dict[str, Answer | list[Answer]] = {"IDLE": b"+ idling\r\n", "DONE": b"* 9 EXISTS\r\n{tag} OK done\r\n"}
    server, client = script(offering(b"IDLE") | answers, profile=replace(GENERIC, idle_seconds=0.1))

    assert next(client.idle(seconds=30)).number == 9
    assert server.commands[-2:] == [b"IDLE", b"DONE"]


def test_courier_is_selected(script: Script) -> None:
    # Quirk 38: its EXAMINE tells another UIDVALIDITY.
    answers: dict[str, Answer | list[Answer]] = {"SELECT": b"* 3 EXISTS\r\n{tag} OK [READ-WRITE] done\r\n"}
    server, client = script(answers, profile=BY_NAME["courier"])

    assert client.examine(b"INBOX").exists == 3
    assert server.commands[-1] == b"SELECT INBOX"


@pytest.mark.parametrize("name", ["hmail", "mail2world", "groupwise", "domino", "smartermail"])
def test_where_search_all_is_rejected_uids_are_fetched(script: Script, name: str) -> None:
    # Quirk 40.
    rows = b"* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 2)\r\n{tag} OK done\r\n"
    server, client = script({"UID FETCH": rows}, profile=BY_NAME[name])

    assert client.uid_search() == [2, 4]
    assert server.commands[-1] == b"UID FETCH 1:* (UID)"


def test_a_rejected_search_all_is_remembered(script: Script) -> None:
    rows = b"* 1 FETCH (UID 4)\r\n{tag} OK done\r\n"
    server, client = script({"UID SEARCH": b"{tag} BAD what\r\n", "UID FETCH": rows})

    assert [client.uid_search(), client.uid_search()] == [[4], [4]]
    assert server.commands[-3:] == [b"UID SEARCH ALL", b"UID FETCH 1:* (UID)", b"UID FETCH 1:* (UID)"]
    assert client.refused == {"SEARCH ALL"}


@pytest.mark.parametrize(("profile", "commands"), [(GENERIC, 2), (BY_NAME["davmail"], 6)])
def test_one_fetch_asks_for_so_many_messages(script: Script, profile: Profile, commands: int) -> None:
    server, client = script({"UID FETCH": b"{tag} OK done\r\n"}, profile=profile)

    fetched(client, range(1, 601), b"(FLAGS)")
    assert sum(command.startswith(b"UID FETCH") for command in server.commands) == commands
    assert b"UID FETCH 1:%d (FLAGS)" % profile.largest_fetch in server.commands


def test_dovecot_refuses_nothing(client: Client, dovecot: Dovecot) -> None:
    use_everything(client)

    assert client.refused == frozenset()
    assert client.enabled == {"QRESYNC", "CONDSTORE"}
