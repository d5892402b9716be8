"""BODY[section]: which byte range of a message it is (RFC 3501 6.4.5), from offsets packed at ingest."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mailcache.mime.headers import filter_header
from mailcache.mime.scan import Part

__all__ = ["Section", "SectionKind", "SectionTable", "filter_header"]


class SectionKind(Enum):
    """The text after the part numbers of a section."""

    FULL = ""
    HEADER = "HEADER"
    TEXT = "TEXT"
    MIME = "MIME"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"


_HEADER_KINDS = (SectionKind.HEADER, SectionKind.HEADER_FIELDS, SectionKind.HEADER_FIELDS_NOT)


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a message: part numbers from 1, kind, and the lower-case names of HEADER.FIELDS."""

    path: tuple[int, ...] = ()
    kind: SectionKind = SectionKind.FULL
    fields: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class _Node:
    header_start: int
    body_start: int
    body_end: int
    children: tuple[_Node, ...]
    message: _Node | None
    is_multipart: bool


# Offsets, number of parts below, and what they are.
_ENCAPSULATED, _MULTIPART = 1, 2
_NODE = struct.Struct("<QQQHB")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class SectionTable:
    """Part offsets of one message."""

    root: _Node

    @classmethod
    def of(cls, root: Part) -> SectionTable:
        """Take the offsets of scanned parts."""
        return cls(_node(root))

    def pack(self) -> bytes:
        """Return the table as bytes, for ``Content.sections``."""
        return bytes([_VERSION]) + b"".join(_packed(self.root))

    @classmethod
    def unpack(cls, packed: bytes) -> SectionTable:
        """Read what ``pack`` wrote; raises ``ValueError``."""
        if not packed or packed[0] != _VERSION:
            raise ValueError("part offsets in an unknown format")
        node, end = _unpacked(packed, 1)
        if end != len(packed):
            raise ValueError("part offsets with something behind them")
        return cls(node)

    def locate(self, section: Section) -> tuple[int, int] | None:
        """Return the byte range (start, end) of a section, or None when the message has no such part.

        For HEADER.FIELDS it is the header that is still to be filtered.
        """
        if not section.path:
            return _range(self.root, section.kind)
        node = self._find(section.path)
        if node is None:
            return None
        if section.kind is SectionKind.FULL:
            return node.body_start, node.body_end
        if section.kind is SectionKind.MIME:
            return node.header_start, node.body_start
        return _range(node.message, section.kind) if node.message is not None else None

    def _find(self, path: tuple[int, ...]) -> _Node | None:
        # A message that is no multipart has exactly one part, number 1: its own text.
        holder: _Node | None = self.root
        node: _Node | None = None
        for number in path:
            if holder is None:
                return None
            if holder.is_multipart:
                node = holder.children[number - 1] if 1 <= number <= len(holder.children) else None
            else:
                node = holder if number == 1 and holder is not node else None
            if node is None:
                return None
            holder = node.message if node.message is not None else (node if node.is_multipart else None)
        return node


def _range(node: _Node, kind: SectionKind) -> tuple[int, int] | None:
    if kind in _HEADER_KINDS:
        return node.header_start, node.body_start
    if kind is SectionKind.TEXT:
        return node.body_start, node.body_end
    return (node.header_start, node.body_end) if kind is SectionKind.FULL else None


def _node(part: Part) -> _Node:
    children = () if part.is_message else tuple(_node(child) for child in part.children)
    message = _node(part.message) if part.message is not None else None
    return _Node(part.header_start, part.body_start, part.body_end, children, message, part.is_multipart)


def _packed(node: _Node) -> Iterator[bytes]:
    below = (node.message,) if node.message is not None else node.children
    kind = _ENCAPSULATED if node.message is not None else _MULTIPART if node.is_multipart else 0
    yield _NODE.pack(node.header_start, node.body_start, node.body_end, len(below), kind)
    for child in below:
        yield from _packed(child)


def _unpacked(packed: bytes, position: int) -> tuple[_Node, int]:
    try:
        header_start, body_start, body_end, count, kind = _NODE.unpack_from(packed, position)
    except struct.error as error:
        raise ValueError(f"part offsets cut short: {error}") from None
    position += _NODE.size
    below: list[_Node] = []
    for _ in range(count):
        child, position = _unpacked(packed, position)
        below.append(child)
    encapsulated = kind == _ENCAPSULATED
    message = below[0] if encapsulated else None
    children = () if encapsulated else tuple(below)
    return _Node(header_start, body_start, body_end, children, message, kind == _MULTIPART), position
