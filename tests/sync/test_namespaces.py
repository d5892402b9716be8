"""Upstream namespaces and the names of mailboxes here (quirks 18, 35 and 36)."""

from __future__ import annotations

import pytest

from sync.namespaces import Place, places_of
from sync.upstream.values import ListedMailbox, Namespace, Namespaces

COURIER = Namespaces(
    personal=(Namespace(b"INBOX.", "INBOX.", "."),),
    other_users=(Namespace(b"user.", "user.", "."),),
    shared=(Namespace(b"shared.", "shared.", "."),),
)


def places(
    *names: str, namespaces: Namespaces = COURIER, delimiter: str = ".", taken: tuple[str, ...] = ()
) -> dict[str, Place]:
    listed = [ListedMailbox(name.encode(), name, delimiter, frozenset()) for name in names]
    return {raw.decode(): place for raw, place in places_of(listed, namespaces, taken=taken).items()}


@pytest.mark.parametrize(
    ("upstream", "ours", "personal"),
    [
        ("INBOX", "INBOX", True),
        ("INBOX.Sent", "Sent", True),
        ("Inbox.Sent.2023", "Sent/2023", True),
        ("INBOX.Accounts", "~41ccounts", True),
        ("INBOX.INBOX", "INBOX/INBOX", True),
        ("user.ann.Sent", "user/ann/Sent", False),
        ("user", "user", False),
        ("shared.team", "shared/team", False),
        ("Elsewhere", "Elsewhere", True),
        ("INBOX.Old ", "Old ", True),
    ],
)
def test_one_mailbox(upstream: str, ours: str, personal: bool) -> None:
    assert places(upstream) == {upstream: Place(ours, personal)}


def test_a_name_that_is_taken_keeps_its_prefix() -> None:
    assert {place.name for place in places("Sent", "INBOX.Sent").values()} == {"Sent", "INBOX/Sent"}
    assert places("INBOX.Sent", taken=("Sent",))["INBOX.Sent"].name == "INBOX/Sent"


def test_without_a_prefix_nothing_is_left_out() -> None:
    plain = Namespaces(personal=(Namespace(b"", "", "/"),))
    assert places("INBOX/Sent", namespaces=plain, delimiter="/")["INBOX/Sent"].name == "INBOX/Sent"
    assert places("INBOX.Sent", namespaces=Namespaces())["INBOX.Sent"].name == "INBOX/Sent"


def test_the_longest_prefix_counts() -> None:
    nested = Namespaces(
        personal=(Namespace(b"", "", "/"),), shared=(Namespace(b"Public/", "Public/", "/"), Namespace(b"", "", "/"))
    )
    found = places("Public/News", "Mine", namespaces=nested, delimiter="/")
    assert [place.personal for place in found.values()] == [False, True]


def test_a_personal_namespace_other_than_inbox() -> None:
    found = places("Mail/Sent", namespaces=Namespaces(personal=(Namespace(b"Mail/", "Mail/", "/"),)), delimiter="/")
    assert found["Mail/Sent"].name == "Sent"
