"""Header blocks: where they end, and their fields (RFC 5322 2.2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol, overload

# A block beyond this is read no further: nobody's header, but somebody's attack.
MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_FIELDS = 20_000


class Buffer(Protocol):
    """What ``bytes`` and ``mmap`` have in common."""

    def find(self, sub: bytes, start: int = ..., end: int = ..., /) -> int:
        """Return where ``sub`` begins, or -1."""

    @overload
    def __getitem__(self, index: int, /) -> int: ...
    @overload
    def __getitem__(self, index: slice, /) -> bytes: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its lower-case name, its raw value (folded, without the final line end), and its raw lines."""

    name: bytes
    value: bytes
    raw: bytes


def header_end(data: Buffer, start: int, end: int) -> int:
    """Return where the header block that begins at ``start`` ends: after its empty line, or at ``end``."""
    if data[start : start + 2] == b"\r\n":
        return start + 2
    if data[start : start + 1] == b"\n":
        return start + 1
    crlf = data.find(b"\n\r\n", start, end)
    # A bare empty line counts as well; looking for it stops where the other was found.
    bare = data.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if bare >= 0:
        return bare + 2
    return crlf + 3 if crlf >= 0 else end


def parse_fields(block: bytes) -> list[Field]:
    """Return the fields of a header block in order. Lines that are no field have no name."""
    fields: list[Field] = []
    position, length = 0, min(len(block), MAX_HEADER_BYTES)
    while position < length and len(fields) < MAX_FIELDS:
        end = _field_end(block, position, length)
        raw = block[position:end]
        if raw in (b"\r\n", b"\n"):
            break
        fields.append(_field(raw))
        position = end
    return fields


def _field(raw: bytes) -> Field:
    colon = raw.find(b":")
    line_end = raw.find(b"\n")
    if colon <= 0 or 0 <= line_end < colon or raw[0] in b" \t":
        return Field(b"", b"", raw)
    value = _strip_line_end(raw[colon + 1 :]).lstrip(b" \t")
    return Field(raw[:colon].rstrip(b" \t").lower(), value, raw)


def _field_end(block: bytes, position: int, length: int) -> int:
    while True:
        newline = block.find(b"\n", position, length)
        if newline < 0:
            return length
        position = newline + 1
        if block[position : position + 1] not in (b" ", b"\t"):
            return position


def _strip_line_end(value: bytes) -> bytes:
    if value.endswith(b"\r\n"):
        return value[:-2]
    return value[:-1] if value.endswith(b"\n") else value


def unfold(value: bytes) -> bytes:
    """Return a value on one line: line ends go, the white space after them stays (RFC 5322 2.2.3)."""
    if b"\n" not in value and b"\r" not in value:
        return value
    return value.replace(b"\r\n", b"").replace(b"\n", b"").replace(b"\r", b"")


def first_values(fields: Collection[Field]) -> dict[bytes, bytes]:
    """Return the first value of each field by lower-case name."""
    values: dict[bytes, bytes] = {}
    for field in fields:
        values.setdefault(field.name, field.value)
    return values


def filter_header(header: bytes, names: Collection[bytes], *, exclude: bool) -> bytes:
    """Return the fields of ``header`` with these lower-case names (or without them), and its empty line.

    This is what ``HEADER.FIELDS`` and ``HEADER.FIELDS.NOT`` send (RFC 3501 6.4.5). The first ends with an empty line in
    any case, the second as the header does; clients were seen to rely on it.
    """
    wanted = frozenset(names)
    kept = [field.raw for field in parse_fields(header) if (field.name in wanted) is not exclude]
    if exclude:
        kept.append(_empty_line(header))
    else:
        if kept and not kept[-1].endswith(b"\n"):
            kept.append(b"\r\n")
        kept.append(b"\r\n")
    return b"".join(kept)


def _empty_line(header: bytes) -> bytes:
    if header == b"\r\n" or header.endswith(b"\n\r\n"):
        return b"\r\n"
    return b"\n" if header == b"\n" or header.endswith(b"\n\n") else b""
