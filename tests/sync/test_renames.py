"""Which mailboxes were renamed, as far as LIST tells."""

from __future__ import annotations

from sync.renames import Here, There, by_object_id, exchanged, suspects, unexplained


def here(number: int, name: str, object_id: str = "", uidvalidity: int | None = None) -> Here:
    return Here(number, name, name.encode(), object_id, uidvalidity)


def there(name: str, object_id: str = "", uidvalidity: int | None = None) -> There:
    return There(name.encode(), object_id, uidvalidity)


def test_an_id_under_another_name() -> None:
    assert by_object_id([here(1, "A", "x"), here(2, "B", "y")], [there("C", "x"), there("B", "y")]) == {1: b"C"}


def test_a_swap() -> None:
    assert by_object_id([here(1, "A", "x"), here(2, "B", "y")], [there("A", "y"), there("B", "x")]) == {
        1: b"B",
        2: b"A",
    }


def test_an_id_that_two_have_tells_nothing() -> None:
    assert by_object_id([here(1, "A", "x")], [there("B", "x"), there("C", "x")]) == {}
    assert by_object_id([here(1, "A", "x"), here(2, "D", "x")], [there("B", "x")]) == {}
    assert by_object_id([here(1, "A")], [there("B")]) == {}


def test_inbox_is_never_renamed() -> None:
    """RENAME of INBOX moves its messages and leaves it there (RFC 3501 6.3.5)."""
    assert by_object_id([here(1, "INBOX", "x")], [there("B", "x")]) == {}
    assert unexplained([here(1, "INBOX")], [there("B")], {})[0] == []


def test_what_is_missing_and_what_is_new() -> None:
    mailboxes = [here(1, "A"), here(2, "B"), here(3, "C")]

    missing, new = unexplained(mailboxes, [there("B"), there("Z"), there("C2")], {3: b"C2"})

    assert [mailbox.name for mailbox in missing] == ["A"]
    assert [mailbox.upstream_name for mailbox in new] == [b"Z"]


def test_suspects_have_a_uidvalidity_of_their_own() -> None:
    missing = [here(1, "A", uidvalidity=5), here(2, "B", uidvalidity=6), here(3, "C", uidvalidity=6), here(4, "D")]
    new = [there("X", uidvalidity=5), there("Y", uidvalidity=6), there("Z")]

    assert [(gone.name, found.upstream_name) for gone, found in suspects(missing, new)] == [("A", b"X")]


def test_names_that_were_exchanged() -> None:
    mailboxes = [here(1, "A", uidvalidity=5), here(2, "B", uidvalidity=6), here(3, "C", uidvalidity=7)]
    swapped = [there("A", uidvalidity=6), there("B", uidvalidity=5), there("C", uidvalidity=7)]
    found = [(gone.name, found.upstream_name) for gone, found in exchanged(mailboxes, swapped, {})]
    assert found == [("A", b"B"), ("B", b"A")]
    assert exchanged(mailboxes, swapped, {1: b"B", 2: b"A"}) == []
    assert exchanged(mailboxes, [there("A"), there("B", uidvalidity=9), there("C", uidvalidity=7)], {}) == []
    # Numbers that several have tell nothing.
    assert exchanged(mailboxes, [there("A", uidvalidity=6), there("B", uidvalidity=6)], {}) == []


def test_names_that_went_round() -> None:
    mailboxes = [here(1, "A", uidvalidity=5), here(2, "B", uidvalidity=6)]
    pairs = exchanged(mailboxes, [there("B", uidvalidity=5), there("C", uidvalidity=6)], {})
    assert [(gone.name, found.upstream_name) for gone, found in pairs] == [("A", b"B"), ("B", b"C")]


def test_what_was_put_in_the_place_of_a_mailbox_that_is_gone() -> None:
    mailboxes = [here(1, "A", uidvalidity=5), here(2, "B", uidvalidity=6), here(3, "INBOX", uidvalidity=7)]
    assert exchanged(mailboxes, [there("B", uidvalidity=5)], {}) == []
    assert exchanged(mailboxes, [there("A", uidvalidity=7), there("INBOX", uidvalidity=5)], {}) == []
