"""Responses of the server as bytes (RFC 3501 7)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mailcache.wire import utf7
from mailcache.wire.strings import render_astring, render_nstring, render_string

CRLF = b"\r\n"


def tagged(tag: bytes, status: str, text: str, *, code: str = "") -> bytes:
    """Return ``tag OK [CODE] text``."""
    return tag + b" " + _status(status, text, code)


def untagged_status(status: str, text: str, *, code: str = "") -> bytes:
    """Return ``* OK [CODE] text``."""
    return b"* " + _status(status, text, code)


def continuation(text: str = "") -> bytes:
    """Return ``+ text``. The space stands even before nothing: clients insist on it."""
    return b"+ " + _line(text) + CRLF


def capability(names: Iterable[str]) -> bytes:
    """Return ``* CAPABILITY …``."""
    return b"* CAPABILITY " + " ".join(names).encode("ascii") + CRLF


def enabled(names: Iterable[str]) -> bytes:
    """Return ``* ENABLED …``."""
    return " ".join(("* ENABLED", *names)).encode("ascii") + CRLF


def id_response(fields: Mapping[str, str]) -> bytes:
    """Return ``* ID (…)`` (RFC 2971)."""
    pairs = (render_string(key.encode()) + b" " + render_nstring(value.encode()) for key, value in fields.items())
    return b"* ID (" + b" ".join(pairs) + b")" + CRLF


def list_response(name: str, attributes: Iterable[str], *, command: bytes = b"LIST", child_info: bool = False) -> bytes:
    """Return ``* LIST (attributes) "/" name``; ``child_info`` says that a subscribed child made it match (RFC 5258)."""
    extended = b' ("CHILDINFO" ("SUBSCRIBED"))' if child_info else b""
    shown = " ".join(attributes).encode("ascii")
    return b"* " + command + b" (" + shown + b') "/" ' + mailbox(name) + extended + CRLF


def delimiter_response(command: bytes = b"LIST") -> bytes:
    """Return the answer to ``LIST "" ""``: the delimiter and the root."""
    return b"* " + command + b' (\\Noselect) "/" ""' + CRLF


def status_response(name: str, values: Mapping[str, int]) -> bytes:
    """Return ``* STATUS name (…)``."""
    items = " ".join(f"{item} {value}" for item, value in values.items()).encode("ascii")
    return b"* STATUS " + mailbox(name) + b" (" + items + b")" + CRLF


def namespace(personal: Iterable[str]) -> bytes:
    """Return ``* NAMESPACE`` with personal namespaces by prefix (RFC 2342)."""
    shown = b"".join(b"(" + render_string(utf7.encode(prefix)) + b' "/")' for prefix in personal)
    return b"* NAMESPACE (" + shown + b") NIL NIL" + CRLF


def flags(names: Iterable[str]) -> bytes:
    """Return ``* FLAGS (…)``."""
    return b"* FLAGS (" + " ".join(names).encode("ascii") + b")" + CRLF


def exists(count: int) -> bytes:
    """Return ``* n EXISTS``."""
    return b"* %d EXISTS\r\n" % count


def recent(count: int) -> bytes:
    """Return ``* n RECENT``."""
    return b"* %d RECENT\r\n" % count


def expunge(number: int) -> bytes:
    """Return ``* n EXPUNGE``."""
    return b"* %d EXPUNGE\r\n" % number


def search(numbers: Iterable[int], *, modseq: int | None = None) -> bytes:
    """Return ``* SEARCH …``, with the highest modseq found where it was searched by (RFC 7162 3.1.5)."""
    told = "" if modseq is None else f" (MODSEQ {modseq})"
    return " ".join(("* SEARCH", *map(str, numbers))).encode("ascii") + told.encode("ascii") + CRLF


def fetch(number: int, items: Iterable[bytes]) -> bytes:
    """Return ``* n FETCH (…)`` of rendered items."""
    return b"* %d FETCH (" % number + b" ".join(items) + b")" + CRLF


def mailbox(name: str) -> bytes:
    """Return a mailbox name for the wire."""
    return render_astring(utf7.encode(name))


def _status(status: str, text: str, code: str) -> bytes:
    bracketed = f"[{code}] " if code else ""
    return f"{status} {bracketed}".encode("ascii") + _line(text) + CRLF


def _line(text: str) -> bytes:
    """Return human text that cannot break the line it stands on."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split()).encode("ascii", errors="replace")
