"""FETCH and SEARCH of the fake Gmail: which data items there are, and which messages match."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mailcache.wire import utf7
from mailcache.wire.dates import format_date_time, parse_date
from mailcache.wire.number_set import NumberSet, SequenceSet
from mailcache.wire.scanner import Scanner
from mailcache.wire.strings import render_astring, render_string
from tests.fakes.gmail.mail import Mail

_NAME = re.compile(rb"[A-Za-z0-9.\-]+")
_SECTION = re.compile(rb"\[([^\]]*)\](?:<(\d+)\.(\d+)>)?")
_FLAGS_TO_SEARCH = {
    b"SEEN": "\\Seen", b"ANSWERED": "\\Answered", b"FLAGGED": "\\Flagged", b"DELETED": "\\Deleted", b"DRAFT": "\\Draft",
}  # fmt: skip
_MACROS = {b"FAST": (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE")}


@dataclass(frozen=True)
class Item:
    """One data item that is asked for; ``section`` only for BODY."""

    name: bytes
    section: bytes | None = None
    partial: tuple[int, int] | None = None
    peek: bool = True


def parse_items(scan: Scanner) -> list[Item]:
    """Read the data items of a FETCH command."""
    items: list[Item] = []
    grouped = scan.skip(b"(")
    while True:
        name = scan.matching(_NAME, "a data item").upper()
        if name in {b"BODY", b"BODY.PEEK"} and scan.peek() == b"[":
            found = _SECTION.fullmatch(scan.matching(_SECTION, "a section"))
            assert found is not None
            partial = (int(found[2]), int(found[3])) if found[2] else None
            items.append(Item(b"BODY", found[1].upper(), partial, name == b"BODY.PEEK"))
        else:
            items += [Item(each) for each in _MACROS.get(name, (name,))]
        if not grouped or scan.skip(b")"):
            return items
        scan.space()


def render(mail: Mail, uid: int, items: list[Item], *, hidden_label: str | None) -> list[bytes]:
    """Return the data items of one message. The label of the open mailbox is not told, as Gmail does not."""
    told = mail.told
    values: dict[bytes, Callable[[], bytes]] = {
        b"UID": lambda: b"%d" % uid,
        b"FLAGS": lambda: b"(" + " ".join(sorted(told.flags)).encode() + b")",
        b"INTERNALDATE": lambda: format_date_time(mail.date),
        b"RFC822.SIZE": lambda: b"%d" % len(mail.data),
        b"X-GM-MSGID": lambda: b"%d" % mail.msgid,
        b"X-GM-THRID": lambda: b"%d" % mail.thrid,
        b"X-GM-LABELS": lambda: b"(" + b" ".join(map(render_label, sorted(told.labels - {hidden_label or ""}))) + b")",
        b"MODSEQ": lambda: b"(%d)" % told.modseq,
    }
    found = []
    for item in items:
        if item.section is not None:
            found.append(_body(mail, item))
        elif item.name in values:
            found.append(item.name + b" " + values[item.name]())
        else:
            raise ValueError(f"Could not parse command: {item.name.decode()}")
    return found


def render_label(label: str) -> bytes:
    """Return a label as X-GM-LABELS spells it."""
    return render_string(label.encode()) if label.startswith("\\") else render_astring(utf7.encode(label))


def parse_labels(scan: Scanner) -> set[str]:
    """Read the labels of STORE X-GM-LABELS, in parentheses or one alone."""
    if not scan.skip(b"("):
        return {utf7.decode(_label(scan))}
    labels = set()
    while not scan.skip(b")"):
        labels.add(utf7.decode(_label(scan)))
        scan.skip_spaces()
    return labels


def _label(scan: Scanner) -> bytes:
    return b"\\" + scan.atom() if scan.skip(b"\\") else scan.astring()


def _body(mail: Mail, item: Item) -> bytes:
    section = item.section or b""
    header, _, text = mail.data.partition(b"\r\n\r\n")
    if section == b"":
        data = mail.data
    elif section == b"HEADER":
        data = header + b"\r\n\r\n"
    elif section == b"TEXT":
        data = text
    elif section.startswith(b"HEADER.FIELDS ("):
        data = _header_fields(header, section.removeprefix(b"HEADER.FIELDS (").removesuffix(b")").split())
    else:
        raise ValueError("Could not parse command: section")
    origin = b""
    if item.partial is not None:
        data = data[item.partial[0] : item.partial[0] + item.partial[1]]
        origin = b"<%d>" % item.partial[0]
    return b"BODY[%b]%b {%d}\r\n%b" % (section, origin, len(data), data)


def _header_fields(header: bytes, names: list[bytes]) -> bytes:
    fields = re.split(rb"\r\n(?![ \t])", header)
    kept = [field for field in fields if field.partition(b":")[0].strip().upper() in names]
    return b"".join(field + b"\r\n" for field in kept) + b"\r\n"


@dataclass(frozen=True)
class Candidate:
    """A message as SEARCH looks at it."""

    seq: int
    uid: int
    mail: Mail


Test = Callable[[Candidate], bool]


class SearchParser:
    """Reads search keys; ``largest`` is what ``*`` stands for as a UID."""

    def __init__(self, scan: Scanner, *, count: int, largest: int) -> None:
        self._scan = scan
        self._count = count
        self._largest = largest
        self.bounded = False
        """A range of UIDs or numbers, or an X-GM-MSGID, keeps the work small."""

    def parse(self) -> Test:
        """Read keys to the end; all of them must match."""
        tests = [self._key()]
        while not self._scan.at_end:
            self._scan.space()
            tests.append(self._key())
        return lambda candidate: all(test(candidate) for test in tests)

    def _key(self) -> Test:
        scan = self._scan
        if scan.skip(b"("):
            tests = [self._key()]
            while not scan.skip(b")"):
                scan.space()
                tests.append(self._key())
            return lambda candidate: all(test(candidate) for test in tests)
        word = scan.atom_of(b"0123456789:,*")
        if word:
            return self._numbers(word, lambda candidate: candidate.seq, self._count)
        word = scan.atom().upper()
        if word == b"ALL":
            return lambda candidate: True
        if word == b"NOT":
            scan.space()
            inner = self._key()
            return lambda candidate: not inner(candidate)
        if word in _FLAGS_TO_SEARCH or word.removeprefix(b"UN") in _FLAGS_TO_SEARCH:
            flag = _FLAGS_TO_SEARCH[word.removeprefix(b"UN")]
            return lambda candidate: (flag in candidate.mail.told.flags) is not word.startswith(b"UN")
        scan.space()
        return self._with_argument(word)

    def _with_argument(self, word: bytes) -> Test:
        scan = self._scan
        if word == b"UID":
            return self._numbers(scan.atom_of(b"0123456789:,*"), lambda candidate: candidate.uid, self._largest)
        if word == b"X-GM-MSGID":
            msgid = scan.number(maximum=2**64 - 1)
            self.bounded = True
            return lambda candidate: candidate.mail.msgid == msgid
        if word == b"X-GM-LABELS":
            label = utf7.decode(_label(scan))
            return lambda candidate: label in candidate.mail.told.labels
        if word == b"MODSEQ":
            modseq = scan.number(maximum=2**63 - 1)
            return lambda candidate: candidate.mail.told.modseq >= modseq
        if word in {b"SINCE", b"BEFORE"}:
            day = parse_date(scan.astring())
            return lambda candidate: (candidate.mail.date.date() >= day) is (word == b"SINCE")
        if word == b"HEADER":
            name = scan.astring().lower()
            scan.space()
            needle = scan.astring().lower()
            return lambda candidate: _has_field(candidate.mail, name, needle)
        raise ValueError(f"Could not parse command: {word.decode()}")

    def _numbers(self, raw: bytes, number: Callable[[Candidate], int], largest: int) -> Test:
        wanted: NumberSet = SequenceSet.parse(raw).resolve(largest)
        self.bounded = self.bounded or raw not in {b"1:*", b"*:1"}
        return lambda candidate: number(candidate) in wanted


def _has_field(mail: Mail, name: bytes, needle: bytes) -> bool:
    field = _header_fields(mail.data.partition(b"\r\n\r\n")[0], [name.upper()])
    return needle in field.lower()
