"""Upstream names become ours, reversibly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailcache.names import escape_level, our_name, unescape_level


@pytest.mark.parametrize(
    ("upstream", "delimiter", "ours"),
    [
        ("INBOX", "/", "INBOX"),
        ("inbox", ".", "INBOX"),
        ("ınbox", ".", "ınbox"),
        ("Inbox.Work", ".", "INBOX/Work"),
        ("a.b.c", ".", "a/b/c"),
        ("a/b", ".", "a~2Fb"),
        ("a.b", "/", "a.b"),
        ("Entwürfe", "/", "Entwürfe"),
        ("Accounts/x", "/", "~41ccounts/x"),
        ("recovered", "/", "~72ecovered"),
        ("Work/Accounts", "/", "Work/Accounts"),
        ("tab\there", "/", "tab~09here"),
        ("a..b", ".", "a/~/b"),
        ("flat/name", "", "flat~2Fname"),
    ],
)
def test_our_name(upstream: str, delimiter: str, ours: str) -> None:
    assert our_name(upstream, delimiter) == ours


@given(st.text(alphabet=st.sampled_from("~/\x00\x1fAF09aü.\x85"), max_size=12))
def test_a_level_comes_back_as_it_was(level: str) -> None:
    escaped = escape_level(level)

    assert unescape_level(escaped) == level
    assert escaped
    assert "/" not in escaped


@given(st.sets(st.text(alphabet=st.sampled_from("~/2F\x01a"), max_size=5), max_size=20))
def test_different_levels_stay_different(levels: set[str]) -> None:
    assert len({escape_level(level) for level in levels}) == len(levels)
