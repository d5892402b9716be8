"""BODY and BODYSTRUCTURE (RFC 3501 7.4.2), rendered from scanned parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mailcache.mime.envelope import Render, render_envelope, without_nul
from mailcache.mime.headers import unfold
from mailcache.mime.parameters import Parameters, parse_languages
from mailcache.mime.scan import Part
from mailcache.wire.strings import render_nstring, render_nstring_utf8

# A multipart without parts is not allowed by the grammar: one empty text part is shown.
_EMPTY_PART = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0)'
_EMPTY_PART_EXTENDED = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)'


@dataclass(frozen=True, slots=True)
class _Style:
    extended: bool
    render: Render

    def string(self, value: bytes | None) -> bytes:
        return self.render(None if value is None else without_nul(value))


def render_body(root: Part, *, utf8: bool = False) -> bytes:
    """Return ``BODY``: the structure without extension data."""
    return _part(root, _Style(extended=False, render=render_nstring_utf8 if utf8 else render_nstring))


def render_bodystructure(root: Part, *, utf8: bool = False) -> bytes:
    """Return ``BODYSTRUCTURE``."""
    return _part(root, _Style(extended=True, render=render_nstring_utf8 if utf8 else render_nstring))


def _part(part: Part, style: _Style) -> bytes:
    return b"(" + (_multipart if part.is_multipart else _single)(part, style) + b")"


def _multipart(part: Part, style: _Style) -> bytes:
    empty = _EMPTY_PART_EXTENDED if style.extended else _EMPTY_PART
    children = b"".join(_part(child, style) for child in part.children) or empty
    subtype = part.content_type.subtype if part.content_type else b"mixed"
    rendered = children + b" " + style.string(subtype)
    if style.extended:
        parameters = part.content_type.parameters if part.content_type else ()
        rendered += b" " + _parameters(parameters, style) + b" " + _extension(part, style)
    return rendered


def _single(part: Part, style: _Style) -> bytes:
    values = _values(part)
    content_type = part.content_type
    is_text = content_type is None or content_type.type.lower() == b"text"
    if part.is_message:
        names = b'"message" "rfc822"'
        is_text = False
    elif content_type is None:
        names = b'"text" "plain"'
    else:
        names = style.string(content_type.type) + b" " + style.string(content_type.subtype)
    parameters = content_type.parameters if content_type else ()
    if is_text and not any(name.lower() == b"charset" for name, _ in parameters):
        parameters = (*parameters, (b"charset", b"us-ascii"))
    pieces = [
        names,
        _parameters(parameters, style),
        _unfolded(values.get(b"content-id"), style),
        _unfolded(values.get(b"content-description"), style),
        style.string(_encoding(values.get(b"content-transfer-encoding"))),
        b"%d" % (part.body_end - part.body_start),
    ]
    if part.message is not None:
        pieces += [render_envelope(part.message.fields, style.render), _part(part.message, style)]
    if is_text or part.message is not None:
        pieces.append(b"%d" % part.lines)
    if style.extended:
        pieces += [style.string(_token(values.get(b"content-md5"))), _extension(part, style)]
    return b" ".join(pieces)


def _extension(part: Part, style: _Style) -> bytes:
    values = _values(part)
    disposition = None if part.ignores_mime else part.disposition
    shown = b"NIL"
    if disposition is not None:
        shown = b"(" + style.string(disposition.type) + b" " + _parameters(disposition.parameters, style) + b")"
    languages = parse_languages(values.get(b"content-language"))
    language = b"(" + b" ".join(style.string(tag) for tag in languages) + b")" if languages else b"NIL"
    return b" ".join((shown, language, _unfolded(values.get(b"content-location"), style)))


def _values(part: Part) -> dict[bytes, bytes]:
    return {} if part.ignores_mime else part.values


def _parameters(parameters: Parameters, style: _Style) -> bytes:
    if not parameters:
        return b"NIL"
    return b"(" + b" ".join(_pairs(parameters, style)) + b")"


def _pairs(parameters: Parameters, style: _Style) -> Sequence[bytes]:
    return [style.string(name) + b" " + style.string(value) for name, value in parameters]


def _unfolded(value: bytes | None, style: _Style) -> bytes:
    return style.string(None if value is None else unfold(value))


def _token(value: bytes | None) -> bytes | None:
    words = (value or b"").split()
    return words[0] if words else None


def _encoding(value: bytes | None) -> bytes:
    """Return the transfer encoding as it is shown; 7bit where none can be made out."""
    return _token((value or b"").split(b";")[0].split(b"(")[0]) or b"7bit"
