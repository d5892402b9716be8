"""LIST and LSUB patterns, parents and attributes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapfront.mailbox_tree import Pattern, Selection, list_names, lsub_names


@dataclass(frozen=True)
class _Box:
    name: str
    subscribed: bool = True
    selectable: bool = True
    role: str = ""


_BOXES = [
    _Box("INBOX"),
    _Box("Archive/2023", subscribed=False),
    _Box("Sent", role="sent"),
    _Box("Work"),
    _Box("Work/Deep/Er"),
    _Box("Group", selectable=False, subscribed=False),
]


def _names(pattern: str, reference: str = "", wanted: Selection | None = None) -> list[str]:
    return [one.name for one in list_names(_BOXES, reference, [pattern], wanted or Selection())]


@pytest.mark.parametrize(
    ("reference", "pattern", "names"),
    [
        ("", "%", ["INBOX", "Archive", "Group", "Sent", "Work"]),
        ("", "inbox", ["INBOX"]),
        ("", "Work/%", ["Work/Deep"]),
        ("Work/", "*", ["Work/Deep", "Work/Deep/Er"]),
        ("", "*e*r", ["Work/Deep/Er"]),
        ("", "nothing", []),
        ("", "Arch%", ["Archive"]),
    ],
)
def test_patterns(reference: str, pattern: str, names: list[str]) -> None:
    assert _names(pattern, reference) == names


def test_attributes() -> None:
    shown = {one.name: one.attributes for one in list_names(_BOXES, "", ["*"], Selection(return_subscribed=True))}

    assert shown["Archive"] == ("\\NonExistent", "\\Noselect", "\\HasChildren")
    assert shown["Group"] == ("\\Noselect", "\\HasNoChildren")
    assert shown["Sent"] == ("\\HasNoChildren", "\\Subscribed", "\\Sent")
    assert shown["Work"] == ("\\HasChildren", "\\Subscribed")


def test_selections() -> None:
    assert _names("*", wanted=Selection(special_use_only=True)) == ["Sent"]
    assert _names("%", wanted=Selection(subscribed_only=True)) == ["INBOX", "Sent", "Work"]
    recursive = list_names(_BOXES, "", ["Work/%"], Selection(subscribed_only=True, recursive_match=True))
    assert [(one.name, one.subscribed_below) for one in recursive] == [("Work/Deep", True)]


def test_lsub_shows_parents_of_subscribed_names() -> None:
    shown = {one.name: one.attributes for one in lsub_names(_BOXES, "", "Work/%")}

    assert shown == {"Work/Deep": ("\\Noselect",)}
    assert [one.name for one in lsub_names(_BOXES, "", "*")] == ["INBOX", "Sent", "Work", "Work/Deep/Er"]


@given(st.text("ab/*%", max_size=8), st.text("ab/", max_size=8))
def test_patterns_match_as_a_regular_expression_would(pattern: str, name: str) -> None:
    expression = "".join({"*": ".*", "%": "[^/]*"}.get(character, re.escape(character)) for character in pattern)

    assert Pattern(pattern).matches(name) == (re.fullmatch(expression, name) is not None)


def test_many_wildcards_take_no_time() -> None:
    assert not Pattern("%a" * 200 + "b").matches("a" * 900)
