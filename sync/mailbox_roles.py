"""Roles of mailboxes: from SPECIAL-USE where the upstream tells them, else from their names. Pure.

Names are those that Outlook, Gmail, Thunderbird, Apple Mail and the webmails of providers give their folders in the
languages below (quirk 10: Exchange tells no roles).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from mailcache.names import DELIMITER, INBOX

_ATTRIBUTES = {
    "\\all": "all",
    "\\archive": "archive",
    "\\drafts": "drafts",
    "\\flagged": "flagged",
    "\\junk": "junk",
    "\\sent": "sent",
    "\\trash": "trash",
    # XLIST, Gmail's predecessor of SPECIAL-USE.
    "\\allmail": "all",
    "\\spam": "junk",
    "\\starred": "flagged",
}

# The most usual name of a language comes first: of two mailboxes at one level it wins.
_NAMES = {
    "sent": """
        Sent | Sent Items | Sent Mail | Sent Messages
        Gesendet | Gesendete Elemente | Gesendete Objekte | Gesendete Nachrichten | Postausgang gesendet
        Envoyés | Éléments envoyés | Messages envoyés | Courrier envoyé | Objets envoyés
        Enviados | Elementos enviados | Mensajes enviados | Correo enviado
        Inviati | Posta inviata | Inviata | Elementi inviati | Messaggi inviati
        Itens enviados | E-mails enviados | Correio enviado | Mensagens enviadas | Enviadas
        Verzonden | Verzonden items | Verzonden berichten | Verstuurd
        Wysłane | Elementy wysłane | Wiadomości wysłane | Poczta wysłana
        Отправленные | Отправленное
        Skickat | Skickade objekt | Skickade meddelanden | Skickade
        Sendt | Sendt post | Sendte elementer | Sendte beskeder | Sendte meldinger
        Sendte e-mails | Sendt e-post | Sendte
        Lähetetyt | Lähetetyt viestit | Lähetetyt kohteet
        Odeslané | Odeslaná pošta | Odeslané zprávy
        Gönderilmiş Öğeler | Gönderilmiş Postalar | Gönderilenler | Gönderilmiş | Gönderilmiş Mesajlar
        送信済みアイテム | 送信済みメール | 送信済み | 送信済
        已发送邮件 | 已发送 | 已发邮件 | 已傳送郵件 | 寄件備份 | 已寄出郵件 | 已傳送的郵件 | 寄件匣備份
        보낸 편지함 | 보낸편지함 | 보낸 메일함 | 보낸메일함
        Elküldött | Elküldött elemek | Trimise | Απεσταλμένα | Надіслані
    """,
    "drafts": """
        Drafts | Draft | Draft Messages
        Entwürfe | Entwurf
        Brouillons | Brouillon
        Borradores | Borrador
        Bozze | Bozza
        Rascunhos | Rascunho
        Concepten | Klad
        Wersje robocze | Kopie robocze | Robocze | Szkice
        Черновики
        Utkast
        Kladder | Kladde
        Luonnokset
        Koncepty | Rozepsané
        Taslaklar | Taslak
        下書き
        草稿 | 草稿箱 | 草稿夾 | 草稿匣
        임시 보관함 | 임시보관함
        Piszkozatok | Ciorne | Πρόχειρα | Чернетки
    """,
    "trash": """
        Trash | Deleted Items | Deleted Messages | Deleted | Bin
        Papierkorb | Gelöschte Elemente | Gelöschte Objekte | Gelöscht | Gelöschte Nachrichten
        Corbeille | Éléments supprimés | Messages supprimés | Objets supprimés
        Papelera | Elementos eliminados | Mensajes eliminados | Papelera de reciclaje | Correo eliminado
        Cestino | Posta eliminata | Elementi eliminati | Eliminati | Messaggi eliminati
        Lixeira | Lixo | Itens excluídos | Itens eliminados | Mensagens excluídas | Eliminados
        Prullenbak | Verwijderde items | Verwijderde berichten | Verwijderd | Prullenmand
        Kosz | Elementy usunięte | Usunięte
        Корзина | Удаленные | Удалённые
        Papperskorgen | Papperskorg | Borttaget | Borttagna objekt | Borttagna meddelanden
        Papirkurv | Slettet post | Slettede elementer | Slettede beskeder | Slettede meldinger | Slettet
        Roskakori | Poistetut | Poistetut kohteet | Poistetut viestit
        Koš | Odstraněná pošta | Odstraněné | Smazané
        Çöp Kutusu | Silinmiş Öğeler | Çöp | Silinmiş Postalar | Silinenler
        ゴミ箱 | ごみ箱 | 削除済みアイテム | 削除済み
        已删除邮件 | 已删除 | 已刪除郵件 | 垃圾桶 | 已刪除的郵件 | 刪除的郵件
        지운 편지함 | 지운편지함 | 휴지통 | 삭제된 메일함
        Kuka | Törölt elemek | Coș de gunoi | Elemente șterse | Κάδος | Διαγραμμένα | Кошик | Видалені
    """,
    "junk": """
        Junk | Spam | Junk E-mail | Junk Email | Junk Mail | Bulk Mail | Bulk
        Spamverdacht | Unerwünscht | Unerwünschte Werbung
        Courrier indésirable | Indésirables | Pourriels
        Correo no deseado | Correo electrónico no deseado | No deseado
        Posta indesiderata | Indesiderata
        Lixo eletrônico | Lixo eletrónico | Correio eletrónico não solicitado | Lixo eletrônico (spam)
        Ongewenste e-mail | Ongewenst | Ongewenste reclame
        Wiadomości-śmieci | Niechciane | Śmieci
        Спам | Нежелательная почта
        Skräppost
        Uønsket e-mail | Uønsket mail | Uønsket post
        Søppelpost | Uønsket e-post
        Roskaposti
        Nevyžádaná pošta | Nevyžádané
        Gereksiz E-posta | Gereksiz | Önemsiz E-posta | İstenmeyen E-posta | Önemsiz
        迷惑メール
        垃圾邮件 | 垃圾郵件 | 垃圾信件
        스팸함 | 정크 메일 | 스팸메일함 | 스팸편지함 | 정크메일
        Levélszemét | Ανεπιθύμητα | Ανεπιθύμητη αλληλογραφία
    """,
    "archive": """
        Archive | Archives | Archived
        Archiv
        Archivo | Archivados
        Archivio
        Arquivo | Arquivo Morto | Arquivo de correio
        Archief
        Archiwum
        Архив
        Arkiv | Arkiverat
        Arkisto
        Archivovat
        Arşiv
        アーカイブ
        归档 | 存档 | 封存
        보관함 | 보관
        Archívum | Arhivă | Αρχειοθήκη | Архів
    """,
    "all": """
        All Mail
        Alle Nachrichten
        Tous les messages
        Todos
        Tutti i messaggi | Tutta la posta
        Todos os e-mails | Todo o correio | Todos os emails
        Alle e-mail | Alle e-mails
        Wszystkie
        Вся почта
        Alla mail | Alla e-postmeddelanden
        Alle mails | All e-post
        Kaikki viestit
        Všechny zprávy
        Tüm Postalar
        すべてのメール
        所有邮件 | 所有郵件
        전체보관함
    """,
    "flagged": """
        Starred | Flagged
        Markiert
        Suivis
        Destacados
        Speciali
        Com estrela
        Met ster
        Oznaczone gwiazdką
        Помеченные
        Stjärnmärkt
        Stjernemarkerede | Stjernemerket
        Tähdellä merkityt
        S hvězdičkou
        Yıldızlı
        スター付き
        已加星标 | 已加星號
        별표편지함
    """,
}  # fmt: skip

# Mailboxes of this depth get a role by their name: those at the root, and those below these.
_GMAIL_ROOTS = frozenset({"[Gmail]", "[Google Mail]"})
_ROOTS = _GMAIL_ROOTS | {"", INBOX}
# Elsewhere than there these names are people's own: a mailbox "Todos" is a list of things to do.
_GMAIL_ROLES = frozenset({"all", "flagged"})
_SEPARATORS = re.compile(r"[\s_-]+")


class Listed(NamedTuple):
    """A mailbox as far as its role goes: our name, the LIST attributes, whether it may have one at all."""

    name: str
    attributes: frozenset[str]
    may_have_role: bool = True


def assign_roles(listed: Sequence[Listed]) -> dict[str, str]:
    """Return the role of mailboxes by our name; those without one are left out.

    Roles are those of ``MailboxRole``. What the upstream says stands, also where it says so of two (RFC 6154 2 allows
    it). A role that it gives to none goes to the one mailbox whose name fits best: the shallowest, then the most usual
    name.
    """
    roles = {entry.name: "inbox" for entry in listed if entry.name == INBOX}
    candidates = [entry for entry in listed if entry.may_have_role and entry.name != INBOX]
    for entry in candidates:
        role = role_of_attributes(entry.attributes)
        if role is not None:
            roles[entry.name] = role
    given = set(roles.values())
    by_name: dict[str, list[tuple[int, int, str]]] = {}
    for entry in candidates:
        found = _by_name(entry.name)
        if entry.name not in roles and found is not None and found[0] not in given:
            by_name.setdefault(found[0], []).append((entry.name.count(DELIMITER), found[1], entry.name))
    for role, names in by_name.items():
        roles[min(names)[2]] = role
    return roles


def role_of_attributes(attributes: frozenset[str]) -> str | None:
    """Return the role that SPECIAL-USE or XLIST attributes give."""
    lowered = {attribute.lower() for attribute in attributes}
    return next((role for attribute, role in _ATTRIBUTES.items() if attribute in lowered), None)


def _by_name(name: str) -> tuple[str, int] | None:
    root, _, leaf = name.rpartition(DELIMITER)
    found = _RANKS.get(_normalised(leaf)) if root in _ROOTS else None
    return None if found is None or (found[0] in _GMAIL_ROLES and root not in _GMAIL_ROOTS) else found


def _normalised(name: str) -> str:
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFKC", name).casefold()).strip()


_RANKS: dict[str, tuple[str, int]] = {}
for _role, _text in _NAMES.items():
    for _rank, _name in enumerate(name for line in _text.split("\n") for name in line.split("|") if name.strip()):
        _RANKS.setdefault(_normalised(_name), (_role, _rank))
