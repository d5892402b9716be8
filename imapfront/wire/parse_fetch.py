"""FETCH (RFC 3501 6.4.5)."""

from __future__ import annotations

import re

from imapfront.wire.commands import BodySection, Fetch, FetchAttribute
from imapfront.wire.parse_search import parse_sequence_set
from mailcache.mime.sections import Section, SectionKind
from mailcache.wire.scanner import Scanner, WireError
from mailcache.wire.strings import render_astring

# A message of a hundred attachments, each with its MIME header, may be asked for in one command.
MAX_ITEMS = 250
MAX_FIELDS = 500
MAX_PATH = 100

_FAST = FetchAttribute.FLAGS | FetchAttribute.INTERNALDATE | FetchAttribute.RFC822_SIZE
_MACROS = {
    b"FAST": _FAST,
    b"ALL": _FAST | FetchAttribute.ENVELOPE,
    b"FULL": _FAST | FetchAttribute.ENVELOPE | FetchAttribute.BODY,
}
_ATTRIBUTES = {
    b"UID": FetchAttribute.UID,
    b"FLAGS": FetchAttribute.FLAGS,
    b"INTERNALDATE": FetchAttribute.INTERNALDATE,
    b"RFC822.SIZE": FetchAttribute.RFC822_SIZE,
    b"ENVELOPE": FetchAttribute.ENVELOPE,
    b"BODYSTRUCTURE": FetchAttribute.BODYSTRUCTURE,
    b"MODSEQ": FetchAttribute.MODSEQ,
}
_RFC822 = {
    b"RFC822": BodySection(Section(), b"RFC822", peek=False),
    b"RFC822.HEADER": BodySection(Section((), SectionKind.HEADER), b"RFC822.HEADER", peek=True),
    b"RFC822.TEXT": BodySection(Section((), SectionKind.TEXT), b"RFC822.TEXT", peek=False),
}
# RFC 5322 3.6.8.
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
# "[" and what follows it belong to the section, not to the item's name.
_NAME = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-"


def parse_fetch(scanner: Scanner, *, uid: bool) -> Fetch:
    """Read the arguments of FETCH after the space behind its name."""
    numbers = parse_sequence_set(scanner)
    scanner.space()
    items = _Items()
    if scanner.skip(b"("):
        items.read(scanner)
        while scanner.skip(b" "):
            items.read(scanner)
        scanner.expect(b")")
    else:
        items.read(scanner, macros=True)
    changed_since = _changed_since(scanner)
    # UID FETCH tells the UID whether asked or not, CHANGEDSINCE the modseq (RFC 7162 3.1.4.1).
    attributes = items.attributes | (FetchAttribute.UID if uid else FetchAttribute(0))
    if changed_since is not None:
        attributes |= FetchAttribute.MODSEQ
    return Fetch(numbers, attributes, tuple(items.sections), uid=uid, changed_since=changed_since)


def _changed_since(scanner: Scanner) -> int | None:
    if not scanner.skip(b" "):
        return None
    scanner.expect(b"(")
    if not scanner.skip_word(b"CHANGEDSINCE"):
        scanner.fail("CHANGEDSINCE")
    scanner.space()
    modseq = scanner.number(maximum=2**63 - 1)
    scanner.expect(b")")
    return modseq


class _Items:
    def __init__(self) -> None:
        self.attributes = FetchAttribute(0)
        # In the order asked for, each once.
        self.sections: dict[BodySection, None] = {}
        self.count = 0

    def read(self, scanner: Scanner, *, macros: bool = False) -> None:
        self.count += 1
        if self.count > MAX_ITEMS:
            raise WireError("too many items in FETCH")
        name = scanner.atom_of(_NAME).upper()
        if name in _ATTRIBUTES:
            self.attributes |= _ATTRIBUTES[name]
        elif macros and name in _MACROS:
            self.attributes |= _MACROS[name]
        elif name in _RFC822:
            self.sections[_RFC822[name]] = None
        elif name in (b"BODY", b"BODY.PEEK") and scanner.skip(b"["):
            self.sections[_body_section(scanner, peek=name == b"BODY.PEEK")] = None
        elif name == b"BODY":
            self.attributes |= FetchAttribute.BODY
        else:
            shown = name[:40].decode("ascii")
            raise WireError(f"unknown FETCH item {shown}" if name else "expected a FETCH item")


def _body_section(scanner: Scanner, *, peek: bool) -> BodySection:
    path = _path(scanner)
    kind = SectionKind.FULL
    fields: tuple[bytes, ...] = ()
    fields_label = b""
    if scanner.peek() != b"]":
        kind, fields, fields_label = _kind(scanner, path)
    scanner.expect(b"]")
    partial = _partial(scanner)
    spelled = ".".join([*map(str, path), *([kind.value] if kind.value else [])]).encode("ascii")
    label = b"BODY[" + spelled + fields_label + b"]"
    if partial is not None:
        label += b"<%d>" % partial[0]
    return BodySection(Section(path, kind, fields), label, peek, partial)


def _path(scanner: Scanner) -> tuple[int, ...]:
    numbers: list[int] = []
    while scanner.peek().isdigit():
        numbers.append(scanner.number())
        if numbers[-1] == 0 or len(numbers) > MAX_PATH:
            raise WireError("no such part number")
        if not scanner.skip(b"."):
            if scanner.peek() != b"]":
                scanner.fail("']'")
            break
        if scanner.peek() == b"]":
            scanner.fail("a part number or HEADER, TEXT, MIME")
    return tuple(numbers)


def _kind(scanner: Scanner, path: tuple[int, ...]) -> tuple[SectionKind, tuple[bytes, ...], bytes]:
    name = scanner.atom_of(_NAME).upper()
    try:
        kind = SectionKind(name.decode("ascii"))
    except ValueError:
        raise WireError(f"unknown section {name[:40].decode('ascii')}") from None
    if kind is SectionKind.FULL or (kind is SectionKind.MIME and not path):
        raise WireError("MIME needs a part number" if kind is SectionKind.MIME else "expected a section")
    if kind not in (SectionKind.HEADER_FIELDS, SectionKind.HEADER_FIELDS_NOT):
        return kind, (), b""
    scanner.space()
    scanner.expect(b"(")
    names = [scanner.astring()]
    while scanner.skip(b" "):
        names.append(scanner.astring())
        if len(names) > MAX_FIELDS:
            raise WireError("too many header fields")
    scanner.expect(b")")
    return kind, tuple(dict.fromkeys(name.lower() for name in names)), b" (" + b" ".join(map(_field, names)) + b")"


def _field(name: bytes) -> bytes:
    """Return a field name as it is repeated in the answer; raises for what is none."""
    if not _FIELD_NAME.fullmatch(name):
        raise WireError("not a header field name")
    return render_astring(name)


def _partial(scanner: Scanner) -> tuple[int, int] | None:
    if not scanner.skip(b"<"):
        return None
    offset = scanner.number()
    scanner.expect(b".")
    length = scanner.number()
    scanner.expect(b">")
    if not length:
        raise WireError("a partial fetch of nothing")
    return offset, length
