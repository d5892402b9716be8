"""What is decided about label mailboxes without looking at any: labels of names, ranges of a search, limits."""

from __future__ import annotations

import pytest

from sync.gmail import (
    LabelMailbox,
    canonical_labels,
    is_capped,
    labels_of_mailboxes,
    mailboxes_to_fetch_first,
    may_be_renamed,
    searches,
    without_hidden,
)
from sync.upstream.values import ListedMailbox


def listed(name: str, *attributes: str) -> ListedMailbox:
    return ListedMailbox(name.encode(), name, "/", frozenset(attributes))


GMAIL = [
    listed("INBOX"),
    listed("[G]", "\\Noselect"),
    listed("[G]/Alles", "\\All"),
    listed("[G]/Entwürfe", "\\Drafts"),
    listed("[G]/Wichtig", "\\Important"),
    listed("[G]/Gesendet", "\\Sent"),
    listed("[G]/Spam", "\\Junk"),
    listed("[G]/Markiert", "\\Flagged"),
    listed("[G]/Papierkorb", "\\Trash"),
    listed("Arbeit/Projekte", "\\HasNoChildren"),
]


def test_special_uses_tell_the_labels_whatever_the_names_are() -> None:
    assert labels_of_mailboxes(GMAIL) == {
        b"INBOX": "\\Inbox",
        "[G]/Entwürfe".encode(): "\\Draft",
        b"[G]/Wichtig": "\\Important",
        b"[G]/Gesendet": "\\Sent",
        b"[G]/Markiert": "\\Starred",
        b"Arbeit/Projekte": "Arbeit/Projekte",
    }


def test_without_all_mail_there_are_no_label_mailboxes() -> None:
    hidden = [entry for entry in GMAIL if "\\All" not in entry.attributes]
    assert labels_of_mailboxes(hidden) is None
    assert labels_of_mailboxes([*hidden, listed("[G]/Alles", "\\All", "\\NonExistent")]) is None


def test_labels_have_one_spelling() -> None:
    told = ("\\INBOX", "\\inbox", "Inbox", "\\Drafts", "\\Muted", "two\nlines", "nul\x00")
    assert canonical_labels(told) == ("\\Inbox", "Inbox", "\\Draft", "\\Muted", "two lines", "nul")


def test_inbox_sent_and_drafts_come_first() -> None:
    rows = [
        LabelMailbox(1, "", "Work"),
        LabelMailbox(2, "drafts", "\\Draft"),
        LabelMailbox(3, "all", ""),
        LabelMailbox(4, "inbox", "\\Inbox"),
        LabelMailbox(5, "sent", "\\Sent"),
    ]
    assert mailboxes_to_fetch_first(rows) == [4, 5, 2]


@pytest.mark.parametrize(
    ("exists", "uidnext", "criteria"),
    [
        (500_000, 9_000_000, [b"ALL"]),
        (500_001, None, [b"ALL"]),
        (500_001, 1_000_002, [b"UID 1:500000", b"UID 500001:1000000", b"UID 1000001:1000001"]),
    ],
)
def test_a_large_mailbox_is_searched_in_ranges(exists: int, uidnext: int | None, criteria: list[bytes]) -> None:
    """Row 8."""
    assert list(searches(exists, uidnext)) == criteria


def test_what_fell_out_of_a_limited_mailbox_is_not_gone() -> None:
    """Row 7."""
    assert is_capped(1_000)
    assert not is_capped(1_001)
    assert without_hidden([1, 2, 50], range(3, 1_004), 1_000) == [50]
    assert without_hidden([1, 2, 50], range(3, 900), 800) == [1, 2, 50]


def test_a_rename_needs_most_of_a_sample_and_a_like_size() -> None:
    assert may_be_renamed(here=100, there=90, sampled=20, shared=16)
    assert not may_be_renamed(here=100, there=90, sampled=20, shared=15)
    assert not may_be_renamed(here=100, there=40, sampled=20, shared=20)
    assert not may_be_renamed(here=1, there=0, sampled=0, shared=0)
