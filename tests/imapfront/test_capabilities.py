"""What is announced when."""

from __future__ import annotations

import pytest

from imapfront.capabilities import capabilities


@pytest.mark.parametrize(
    ("can_start_tls", "may_login", "there", "absent"),
    [
        (True, False, {"STARTTLS", "LOGINDISABLED"}, {"AUTH=PLAIN"}),
        (True, True, {"STARTTLS", "AUTH=PLAIN"}, {"LOGINDISABLED"}),
        (False, True, {"AUTH=PLAIN"}, {"STARTTLS", "LOGINDISABLED"}),
        (False, False, {"LOGINDISABLED"}, {"STARTTLS", "AUTH=PLAIN"}),
    ],
)
def test_before_the_login(can_start_tls: bool, may_login: bool, there: set[str], absent: set[str]) -> None:
    names = set(capabilities(authenticated=False, can_start_tls=can_start_tls, may_login=may_login))

    assert there | {"IMAP4rev1", "LITERAL+", "SASL-IR", "ID"} <= names
    assert not names & absent


def test_after_the_login_nothing_is_said_of_logging_in() -> None:
    names = capabilities(authenticated=True, can_start_tls=True, may_login=True)

    assert not {"STARTTLS", "AUTH=PLAIN", "LOGINDISABLED"} & set(names)
    assert {"UIDPLUS", "MOVE", "MULTIAPPEND", "CONDSTORE", "CREATE-SPECIAL-USE"} <= set(names)
    assert {"IDLE", "NAMESPACE", "UNSELECT", "SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS", "ENABLE"} <= set(names)


@pytest.mark.parametrize("authenticated", [True, False])
def test_imap4rev1_stands_first_and_nothing_twice(authenticated: bool) -> None:
    names = capabilities(authenticated=authenticated, can_start_tls=True, may_login=True)

    assert names[0] == "IMAP4rev1"
    assert len(set(names)) == len(names)


def test_what_later_issues_bring_is_not_announced() -> None:
    names = capabilities(authenticated=True, can_start_tls=False, may_login=True)

    assert not {"QRESYNC", "ESEARCH", "SORT", "THREAD", "UTF8=ACCEPT"} & set(names)


def test_the_largest_message_is_told() -> None:
    names = capabilities(authenticated=True, can_start_tls=False, may_login=True, append_limit=1000)

    assert "APPENDLIMIT=1000" in names
