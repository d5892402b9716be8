"""FETCH responses, right and wrong."""

from __future__ import annotations

import re

from tests.fakes.quirky.box import Mail
from tests.fakes.quirky.quirks import Quirk

_SECTION = re.compile(rb"BODY\.PEEK\[([^\]]*)\](<\d+\.\d+>)?")
_FIELDS = re.compile(rb"HEADER\.FIELDS \(([^)]*)\)")
_ODD_DATES = (b" 7-May-2024 10:30:00 +0200", b"7-May-2024 10:30:00 +0200", b"17-May-0102 10:30:00 +0200")


class Rows:
    """Writes the rows of one FETCH."""

    def __init__(self, quirks: frozenset[Quirk], items: bytes, *, uidonly: bool, bodies: dict[int, Mail]) -> None:
        self._quirks = quirks
        self._items = items
        self._uidonly = uidonly
        self._bodies = bodies
        """Whose bytes are told for which UID."""

    def row(self, seq: int, uid: int, mail: Mail, *, lacks: bytes = b"") -> bytes:
        """Return one row, without what it ``lacks``."""
        if Quirk.SEQ_ABOVE_EXISTS_14 in self._quirks:
            seq += 4_000 - 2 * (seq % 3)
        found = [] if lacks == b"UID" or self._uidonly else [b"UID %d" % uid]
        if b"FLAGS" in self._items and lacks != b"FLAGS":
            found.append(b"FLAGS (%s)" % " ".join(sorted(mail.flags)).encode())
        if b"MODSEQ" in self._items or b"CHANGEDSINCE" in self._items:
            found.append(b"MODSEQ (%d)" % mail.modseq)
        if b"INTERNALDATE" in self._items:
            found.append(b'INTERNALDATE "%s"' % self._date(uid, mail))
        if b"RFC822.SIZE" in self._items:
            found.append(b"RFC822.SIZE %d" % self._size(mail))
        elif b"RFC822" in self._items:
            found.append(b"RFC822 NIL" if Quirk.RFC822_EMPTY_23 in self._quirks else _literal(b"RFC822", mail.data))
        if b"ENVELOPE" in self._items:
            found.append(b'ENVELOPE (NIL "a" NIL NIL NIL NIL NIL NIL NIL "<"a"@b>")')
        found += [self._section(uid, mail, match) for match in _SECTION.finditer(self._items)]
        head = b"* %d UIDFETCH" % uid if self._uidonly else b"* %d FETCH" % seq
        padding = b"\0\0" if Quirk.NUL_PADDING_43 in self._quirks else b""
        return padding + head + b" (" + b" ".join(found) + b")\r\n"

    def _date(self, uid: int, mail: Mail) -> bytes:
        return _ODD_DATES[uid % 3] if Quirk.ODD_DATES_44 in self._quirks else mail.date

    def _size(self, mail: Mail) -> int:
        if Quirk.SIZES_VARY_41 in self._quirks:
            mail.told += 1
        return len(mail.data) + (mail.told if Quirk.SIZES_VARY_41 in self._quirks else 0)

    def _section(self, uid: int, mail: Mail, match: re.Match[bytes]) -> bytes:
        section, partial = match[1], match[2] or b""
        data = self._bodies.get(uid, mail).data
        head, _, _ = data.partition(b"\r\n\r\n")
        fields = _FIELDS.match(section)
        if fields:
            names = tuple(name.lower() + b":" for name in fields[1].split())
            lines = [line for line in head.split(b"\r\n") if line.lower().startswith(names)]
            data = b"\r\n".join([*lines, b"", b""])
        elif section == b"HEADER":
            data = head + b"\r\n\r\n"
        elif Quirk.BODY_NIL_43 in self._quirks and not partial and uid == 3 and mail.told == 1:
            return b"BODY[] NIL"
        if partial:
            start, count = map(int, partial.strip(b"<>").split(b"."))
            start += 7 if Quirk.PARTIAL_20 in self._quirks else 0
            data, partial = data[start : start + count], b"<%d>" % start
        return _literal(b"BODY[%s]%s" % (section, partial), data)


def _literal(name: bytes, data: bytes) -> bytes:
    return b"%s {%d}\r\n%s" % (name, len(data), data)
