"""Roles of mailboxes from SPECIAL-USE and from names in many languages (quirks 7 and 10)."""

from __future__ import annotations

import unicodedata

import pytest

from mailcache.models import MailboxRole
from sync.mailbox_roles import _NAMES, Listed, assign_roles


def roles(*names: str, **attributes: str) -> dict[str, str]:
    """Return roles of mailboxes by name; with ``attributes`` of some of them."""
    return assign_roles([Listed(name, frozenset(attributes.get(name, "").split())) for name in names])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("INBOX", "inbox"), ("Sent Items", "sent"), ("Gesendete Elemente", "sent"), ("Éléments envoyés", "sent"),
        ("Elementos enviados", "sent"), ("Posta inviata", "sent"), ("Itens enviados", "sent"),
        ("Verzonden items", "sent"), ("Elementy wysłane", "sent"), ("Отправленные", "sent"),
        ("Skickade objekt", "sent"), ("Sendt post", "sent"), ("Lähetetyt", "sent"), ("Odeslaná pošta", "sent"),
        ("Gönderilmiş Öğeler", "sent"), ("送信済みアイテム", "sent"), ("已发送邮件", "sent"), ("보낸 편지함", "sent"),
        ("Entwürfe", "drafts"), ("Brouillons", "drafts"), ("Черновики", "drafts"),
        ("下書き", "drafts"), ("草稿箱", "drafts"),
        ("Papierkorb", "trash"), ("Corbeille", "trash"), ("Deleted Items", "trash"), ("Корзина", "trash"),
        ("ゴミ箱", "trash"), ("已删除邮件", "trash"), ("지운 편지함", "trash"),
        ("Spamverdacht", "junk"), ("Junk E-mail", "junk"), ("junk-e-mail", "junk"), ("Courrier indésirable", "junk"),
        ("迷惑メール", "junk"), ("垃圾邮件", "junk"), ("スパム", None), ("Skräppost", "junk"),
        ("Archiv", "archive"), ("Archivio", "archive"), ("存档", "archive"),
        ("[Gmail]/Alle Nachrichten", "all"), ("[Google Mail]/Suivis", "flagged"), ("[Gmail]/Corbeille", "trash"),
        ("INBOX/Sent", "sent"), ("SENT_ITEMS", "sent"), ("Sent ", "sent"),
        ("Todos", None), ("Projects/Sent", None), ("Sent/2023", None), ("Presents", None),
    ],
)  # fmt: skip
def test_by_name(name: str, role: str | None) -> None:
    assert roles(name).get(name) == role


def test_a_decomposed_name_is_the_same_name() -> None:
    name = unicodedata.normalize("NFD", "Entwürfe")
    assert roles(name) == {name: "drafts"}


def test_what_the_upstream_says_wins() -> None:
    found = roles("Sent", "Out", "Archive", Out="\\Sent \\HasNoChildren")

    assert found == {"Out": "sent", "Archive": "archive"}


def test_a_mailbox_with_a_role_gets_no_other_by_its_name() -> None:
    assert roles("Trash", Trash="\\Junk") == {"Trash": "junk"}


def test_two_that_the_upstream_gives_one_role_keep_it() -> None:
    assert roles("a", "b", a="\\Sent", b="\\Sent") == {"a": "sent", "b": "sent"}


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (("Sent Items", "Sent"), "Sent"),
        (("Gesendet", "Sent Messages"), "Sent Messages"),
        (("INBOX/Sent", "Gesendet"), "Gesendet"),
        (("INBOX/Sent", "[Gmail]/Sent Mail"), "INBOX/Sent"),
    ],
)
def test_by_name_each_role_once(names: tuple[str, ...], best: str) -> None:
    assert roles(*names) == {best: "sent"}


def test_others_mailboxes_have_no_role() -> None:
    assert assign_roles([Listed("Sent", frozenset({"\\Sent"}), may_have_role=False)]) == {}


@pytest.mark.parametrize(
    ("attribute", "role"), [("\\Spam", "junk"), ("\\AllMail", "all"), ("\\Starred", "flagged"), ("\\Important", None)]
)
def test_xlist(attribute: str, role: str | None) -> None:
    assert roles("x", x=attribute).get("x") == role


def test_every_role_is_one_that_mailboxes_have() -> None:
    assert {MailboxRole(role) for role in _NAMES} == set(MailboxRole) - {MailboxRole.NONE, MailboxRole.INBOX}


def test_no_name_means_two_things() -> None:
    seen: dict[str, str] = {}
    for role, text in _NAMES.items():
        for name in text.replace("\n", "|").split("|"):
            assert seen.setdefault(name.strip().casefold(), role) == role or not name.strip()
