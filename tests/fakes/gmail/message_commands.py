"""The fake Gmail's commands on messages; a handler returns the text that follows ``OK``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailcache.wire.dates import parse_date_time
from mailcache.wire.number_set import NumberSet
from mailcache.wire.scanner import Scanner
from tests.fakes.gmail.commands import Handler, folder_named, numbers
from tests.fakes.gmail.fetch import Candidate, Item, SearchParser, parse_items, parse_labels, render
from tests.fakes.gmail.mail import Folder, Mail, Refusal

if TYPE_CHECKING:
    from tests.fakes.gmail.session import Session

_SET = rb"0123456789:,*"
_CHANGED_SINCE = re.compile(rb" \(CHANGEDSINCE (\d+)\)", re.IGNORECASE)
_RETURN = re.compile(rb"RETURN \(([^)]*)\) ", re.IGNORECASE)
_STORE = re.compile(rb"([+-]?)(FLAGS|X-GM-LABELS)(\.SILENT)? ", re.IGNORECASE)

Found = list[tuple[int, int, Mail]]


def _uid(session: Session, scan: Scanner) -> bytes:
    name = scan.atom().decode().upper()
    handlers: dict[str, Callable[[Session, Scanner, bool], bytes]] = {
        "FETCH": _fetch, "STORE": _store, "SEARCH": _search, "COPY": _copy, "MOVE": _move, "EXPUNGE": _expunge,
    }  # fmt: skip
    if name not in handlers:
        raise Refusal("BAD Unknown command")
    scan.space()
    return handlers[name](session, scan, True)


def _named(session: Session, scan: Scanner, by_uid: bool) -> Found:
    """Read a sequence set and return the messages that it names."""
    raw = scan.atom_of(_SET)
    scan.skip_spaces()
    wanted = numbers(raw, max(session.view, default=0) if by_uid else len(session.view))
    return [found for found in session.messages() if wanted(found[1] if by_uid else found[0])]


def _fetch(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    with session.account.lock:
        named = _named(session, scan, by_uid)
        items = parse_items(scan)
        changed_since = _CHANGED_SINCE.fullmatch(scan.rest())
        if by_uid and Item(b"UID") not in items:
            items.insert(0, Item(b"UID"))
        if changed_since:
            session.condstore = True
            named = [found for found in named if found[2].told.modseq > int(changed_since[1])]
            if Item(b"MODSEQ") not in items:
                items.append(Item(b"MODSEQ"))
        if any(item.section == b"" for item in items):
            session.server.body_order.append([])
        answers = [_answer(session, *found, items) for found in named]
    for answer in answers:
        session.send(answer)
    return b"Success"


def _answer(session: Session, seq: int, uid: int, mail: Mail, items: list[Item]) -> bytes:
    sections = [item for item in items if item.section is not None]
    if any(item.section == b"" and item.partial is None for item in sections):
        session.server.bodies[mail.msgid] += 1
        session.server.body_order[-1].append(mail.msgid)
    if not session.read_only and any(not item.peek for item in sections):
        session.account.set_flags(mail, mail.flags | {"\\Seen"})
    hidden = session.folder.label if session.folder is not None else None
    return b"* %d FETCH (%b)" % (seq, b" ".join(render(mail, uid, items, hidden_label=hidden)))


def _store(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    folder = _writable(session)
    with session.account.changing():
        named = _named(session, scan, by_uid)
        found = _STORE.fullmatch(scan.matching(_STORE, "flags or labels"))
        assert found is not None
        sign, what, silent = found.groups()
        if what.upper() == b"FLAGS":
            names = {flag.decode() for flag in scan.rest().strip(b"()").split()}
            for _, _, mail in named:
                session.account.set_flags(mail, _combined(mail.flags, sign, names) - {"\\Recent"})
        else:
            labels = parse_labels(scan)
            for _, _, mail in named:
                _store_labels(session, folder, mail, sign, labels)
        item = Item(what.upper())
        if not silent:
            for seq, uid, mail in named:
                session.send(_answer(session, seq, uid, mail, [Item(b"UID"), item, Item(b"MODSEQ")]))
        if session.account.auto_expunge:
            _expunge_found(session, [each for each in named if "\\Deleted" in each[2].flags])
    return b"Success"


def _store_labels(session: Session, folder: Folder, mail: Mail, sign: bytes, labels: set[str]) -> None:
    # The label of the open mailbox is neither told nor taken off by naming the others.
    own = {folder.label} if folder.label is not None and not sign else set()
    wanted = _combined(mail.labels, sign, labels) | (own & mail.labels)
    session.account.label(mail.msgid, *(wanted - mail.labels))
    session.account.unlabel(mail.msgid, *(mail.labels - wanted))


def _combined(before: set[str], sign: bytes, names: set[str]) -> set[str]:
    return before | names if sign == b"+" else before - names if sign == b"-" else names


def _search(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    returns = None
    if scan.peek().upper() == b"R":
        returns = scan.matching(_RETURN, "RETURN").partition(b"(")[2].rstrip(b") ").upper().split()
    with session.account.lock:
        parser = SearchParser(scan, count=len(session.view), largest=max(session.view, default=0))
        test = parser.parse()
        limit = session.server.search_limit
        if limit is not None and len(session.view) > limit and not parser.bounded:
            session.hang_up()
        matches = [(seq, uid) for seq, uid, mail in session.messages() if test(Candidate(seq, uid, mail))]
    hits = [uid if by_uid else seq for seq, uid in matches]
    if returns is None:
        session.send(b" ".join([b"* SEARCH", *(b"%d" % hit for hit in hits)]))
        return b"SEARCH completed (Success)"
    told = [b"* ESEARCH", *([b"UID"] if by_uid else [])]
    values = {b"ALL": bytes(NumberSet.from_numbers(hits))} if hits else {}
    if hits:
        values |= {b"MIN": b"%d" % hits[0], b"MAX": b"%d" % hits[-1]}
    values[b"COUNT"] = b"%d" % len(hits)
    told += [word + b" " + values[word] for word in (returns or [b"ALL"]) if word in values]
    session.send(b" ".join(told))
    return b"SEARCH completed (Success)"


def _copy(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    with session.account.changing():
        named = _named(session, scan, by_uid)
        target = folder_named(session, scan.astring(), code="TRYCREATE")
        return _copy_found(session, named, target) + b"(Success)"


def _copy_found(session: Session, named: Found, target: Folder) -> bytes:
    if not named:
        return b""
    pairs = [(uid, session.account.add_to(target, mail)) for _, uid, mail in named]
    there = b",".join(b"%d" % uid for _, uid in pairs)
    return b"[COPYUID %d %b %b] " % (target.uidvalidity, bytes(NumberSet.from_numbers(uid for uid, _ in pairs)), there)


def _move(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    source = _writable(session)
    with session.account.changing():
        named = _named(session, scan, by_uid)
        target = folder_named(session, scan.astring(), code="TRYCREATE")
        code = _copy_found(session, named, target)
        if source.label is not None and target is not source:
            for _, _, mail in named:
                session.account.unlabel(mail.msgid, source.label)
        session.send(b"* OK " + code + b"moved")
    session.tell_changes()
    return b"(Success)"


def _expunge(session: Session, scan: Scanner, by_uid: bool) -> bytes:
    _writable(session)
    with session.account.changing():
        named = _named(session, scan, by_uid) if by_uid else session.messages()
        _expunge_found(session, [found for found in named if "\\Deleted" in found[2].flags])
    session.tell_changes()
    return b"(Success)"


def _expunge_all(session: Session, scan: Scanner) -> bytes:
    return _expunge(session, scan, False)


def _close(session: Session, scan: Scanner) -> bytes:
    if not session.read_only:
        with session.account.changing():
            _expunge_found(session, [found for found in session.messages() if "\\Deleted" in found[2].flags])
    session.open(None)
    return b"Returned to authenticated state. (Success)"


def _expunge_found(session: Session, found: Found) -> None:
    folder = _writable(session)
    for _, _, mail in found:
        session.account.expunge(folder, mail.msgid)


def _append(session: Session, scan: Scanner) -> bytes:
    folder = folder_named(session, scan.astring(), code="TRYCREATE")
    scan.space()
    flags: set[str] = set()
    if scan.peek() == b"(":
        flags = {flag.decode() for flag in scan.raw_value().strip(b"()").split()}
        scan.space()
    date = None
    if scan.peek() == b'"':
        date = parse_date_time(scan.quoted())
        scan.space()
    uid = session.account.append(folder, scan.literal().data or b"", flags - {"\\Recent"}, date)
    return b"[APPENDUID %d %d] (Success)" % (folder.uidvalidity, uid)


def _writable(session: Session) -> Folder:
    if session.folder is None or session.read_only:
        raise Refusal("NO [READ-ONLY] Folder is read-only (Failure)")
    return session.folder


MESSAGE_HANDLERS: dict[str, Handler] = {
    "UID": _uid,
    "FETCH": lambda session, scan: _fetch(session, scan, False),
    "STORE": lambda session, scan: _store(session, scan, False),
    "SEARCH": lambda session, scan: _search(session, scan, False),
    "COPY": lambda session, scan: _copy(session, scan, False),
    "MOVE": lambda session, scan: _move(session, scan, False),
    "EXPUNGE": _expunge_all,
    "CLOSE": _close,
    "APPEND": _append,
}
