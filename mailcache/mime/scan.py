"""Finds the parts of a message and their byte offsets, without copying bodies (RFC 2045, 2046).

Boundaries are found with ``find``, so a body of base64 costs next to nothing. Missing and doubled boundaries, parts
without headers and nesting without end are read as Dovecot reads them, within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mailcache.mime.headers import MAX_HEADER_BYTES, Buffer, Field, first_values, header_end, parse_fields
from mailcache.mime.parameters import ContentType, Disposition, parse_content_type, parse_disposition

MAX_DEPTH = 20
MAX_PARTS = 1000
_COUNT_CHUNK = 1 << 20
_LONGEST_BOUNDARY_LINE = 1024


@dataclass(slots=True)
class Part:
    """One MIME part. Offsets are bytes from the beginning of the message; ``lines`` counts the body's line ends."""

    header_start: int
    body_start: int
    body_end: int = 0
    lines: int = 0
    fields: list[Field] = field(default_factory=list)
    values: dict[bytes, bytes] = field(default_factory=dict)
    """The first value of each field by lower-case name."""
    content_type: ContentType | None = None
    disposition: Disposition | None = None
    is_multipart: bool = False
    is_message: bool = False
    ignores_mime: bool = False
    """A message that is not MIME at all: its other Content-… fields mean nothing."""
    children: list[Part] = field(default_factory=list)

    @property
    def message(self) -> Part | None:
        """The encapsulated message of a message/rfc822 part."""
        return self.children[0] if self.is_message and self.children else None


@dataclass(frozen=True, slots=True)
class Scan:
    """The tree of parts, and what was wrong with the message."""

    root: Part
    defects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A boundary line: whose it is (index into the open boundaries), where it begins, and what follows it."""

    index: int
    body_end: int
    next: int
    closing: bool


def scan(data: Buffer) -> Scan:
    """Return the parts of a message. Never raises."""
    scanner = _Scanner(data)
    root, _ = scanner.message(0, [], 0)
    return Scan(root, tuple(dict.fromkeys(scanner.defects)))


def count_lines(data: Buffer, start: int, end: int) -> int:
    """Return the number of line ends in a range, without copying more than 1 MB at a time."""
    if isinstance(data, bytes):
        return data.count(b"\n", start, end)
    return sum(
        data[position : min(position + _COUNT_CHUNK, end)].count(b"\n") for position in range(start, end, _COUNT_CHUNK)
    )


class _Scanner:
    def __init__(self, data: Buffer) -> None:
        self.data = data
        self.end = len(data)
        self.parts = 0
        self.defects: list[str] = []

    def message(self, start: int, boundaries: list[bytes], depth: int) -> tuple[Part, _Hit | None]:
        """Read a message, at the top or within another."""
        part, hit = self.part(start, boundaries, depth, digest=False)
        part.ignores_mime = not (b"mime-version" in part.values or b"content-type" in part.values)
        return part, hit

    def part(self, start: int, boundaries: list[bytes], depth: int, *, digest: bool) -> tuple[Part, _Hit | None]:
        """Read the part whose header begins at ``start``; also returns the boundary that ended it."""
        self.parts += 1
        early = self._boundary_at(start, boundaries) if boundaries else None
        if early is not None:
            return Part(start, start, start), early
        body_start = header_end(self.data, start, self.end)
        # A boundary ends a header as well: a header without an empty line must not swallow the parts behind it.
        cut = self._find(start, boundaries, before=body_start)
        if cut is not None:
            body_start = max(cut.body_end, start)
        part = Part(start, body_start)
        part.fields = parse_fields(self.data[start : min(body_start, start + MAX_HEADER_BYTES)])
        part.values = first_values(part.fields)
        part.content_type = parse_content_type(part.values.get(b"content-type"))
        part.disposition = parse_disposition(part.values.get(b"content-disposition"))
        if body_start - start > MAX_HEADER_BYTES:
            self.defects.append("header too long")
        self._classify(part, digest=digest)
        if cut is not None and part.is_message:
            part.children.append(Part(body_start, body_start, body_start))
        hit = cut or self._body(part, boundaries, depth)
        part.body_end = max(hit.body_end if hit else self.end, body_start)
        if part.message is not None:
            part.body_end = max(part.body_end, part.message.body_end)
        part.lines = count_lines(self.data, body_start, part.body_end)
        return part, hit

    def _classify(self, part: Part, *, digest: bool) -> None:
        content_type = part.content_type
        if content_type is None:
            part.is_message = digest and b"content-type" not in part.values
        elif content_type.type.lower() == b"multipart":
            part.is_multipart = True
        elif content_type.full == b"message/rfc822":
            part.is_message = True

    def _body(self, part: Part, boundaries: list[bytes], depth: int) -> _Hit | None:
        if part.is_multipart and part.content_type is not None:
            boundary = part.content_type.boundary
            if boundary is None:
                self.defects.append("multipart without a boundary")
            elif depth >= MAX_DEPTH:
                self.defects.append("nested too deeply")
            else:
                return self._multipart(part, b"--" + boundary, boundaries, depth)
        elif part.is_message:
            if depth >= MAX_DEPTH or self.parts >= MAX_PARTS:
                self.defects.append("nested too deeply" if depth >= MAX_DEPTH else "too many parts")
                # A message/rfc822 part has to show an envelope; one that is not looked into is a file.
                part.is_message = False
                part.content_type = ContentType(b"application", b"octet-stream")
            else:
                child, hit = self.message(part.body_start, boundaries, depth + 1)
                part.children.append(child)
                return hit
        return self._find(part.body_start, boundaries)

    def _multipart(self, part: Part, boundary: bytes, boundaries: list[bytes], depth: int) -> _Hit | None:
        opened = [*boundaries, boundary]
        own = len(boundaries)
        digest = part.content_type is not None and part.content_type.subtype.lower() == b"digest"
        hit = self._find(part.body_start, opened)
        while hit is not None and hit.index == own and not hit.closing:
            if self.parts >= MAX_PARTS:
                self.defects.append("too many parts")
                return self._find(hit.next, boundaries)
            child, hit = self.part(hit.next, opened, depth + 1, digest=digest)
            if hit is not None and hit.body_end < child.body_start and not child.children:
                # The empty line of the header is the line end that belongs to the boundary.
                child.body_start = child.body_end = max(hit.body_end, child.header_start)
            part.children.append(child)
        if hit is not None and hit.index == own:
            return self._find(hit.next, boundaries)
        self.defects.append("multipart without an end")
        return hit

    def _find(self, start: int, boundaries: list[bytes], *, before: int | None = None) -> _Hit | None:
        """Return the next boundary line that begins at or after ``start`` (the beginning of a line), and ``before``."""
        end = self.end if before is None else before
        if not boundaries or start >= end:
            return None
        hit = self._boundary_at(start, boundaries)
        if hit is not None:
            return hit
        # With one boundary open it is looked for itself, else anything that could be one.
        needle = b"\n" + (boundaries[0] if len(boundaries) == 1 else b"--")
        position = self.data.find(needle, start)
        while 0 <= position < end - 1:
            hit = self._boundary_at(position + 1, boundaries)
            if hit is not None:
                return hit
            position = self.data.find(needle, position + 1)
        return None

    def _boundary_at(self, position: int, boundaries: list[bytes]) -> _Hit | None:
        line = self.data[position : position + _LONGEST_BOUNDARY_LINE]
        if not line.startswith(b"--"):
            return None
        best = -1
        for index, boundary in enumerate(boundaries):
            if line.startswith(boundary) and (best < 0 or len(boundary) >= len(boundaries[best])):
                best = index
        if best < 0:
            return None
        newline = self.data.find(b"\n", position)
        return _Hit(
            index=best,
            body_end=self._before_line(position),
            next=self.end if newline < 0 else newline + 1,
            closing=line.startswith(b"--", len(boundaries[best])),
        )

    def _before_line(self, position: int) -> int:
        """Return where the content before a boundary line ends: its line end belongs to the boundary."""
        if self.data[max(position - 2, 0) : position] == b"\r\n":
            return position - 2
        return position - 1 if position else 0
