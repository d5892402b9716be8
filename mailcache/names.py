"""Mailbox names: from the upstream's spelling to ours. Pure.

Downstream the delimiter is always ``/``. What an upstream name holds that ours may not (``/`` as an ordinary character,
control characters, a name that imapped uses itself) is escaped as ``~`` and two hexadecimal digits, reversibly.
"""

from __future__ import annotations

import re

from mailcache.errors import InvalidValue

MAX_NAME = 1000
MAX_LEVEL_BYTES = 255

DELIMITER = "/"
INBOX = "INBOX"
# Names at the root that belong to imapped: the other accounts' namespace and the home of refused messages.
ACCOUNTS = "Accounts"
RECOVERED = "Recovered"
_RESERVED = {ACCOUNTS.lower(), RECOVERED.lower()}

# NUL, other controls, "/" and whatever would read as an escape of ours.
_TO_ESCAPE = re.compile(r"[\x00-\x1f\x7f-\x9f/]|~(?=[0-9A-F]{2}|$)")
_ESCAPED = re.compile(r"~([0-9A-F]{2})")


def our_name(upstream: str, delimiter: str) -> str:
    """Return our name for the upstream mailbox ``upstream``, whose levels are separated by ``delimiter`` ("" for none).

    ``INBOX`` as first level is spelled in capitals, whatever its case upstream (RFC 3501 5.1).
    """
    levels = upstream.split(delimiter) if delimiter else [upstream]
    names = [escape_level(level) for level in levels]
    # Only ASCII: the dotless i has I for its capital, too.
    if names[0].isascii() and names[0].upper() == INBOX:
        names[0] = INBOX
    elif names[0].lower() in _RESERVED:
        names[0] = _escape_character(names[0][0]) + names[0][1:]
    return DELIMITER.join(names)


def check_new_name(name: str, *, upstream_delimiter: str) -> None:
    """Raise ``InvalidValue`` unless a client may give a mailbox this name, and the upstream can have it too."""
    levels = name.split(DELIMITER)
    if not all(levels):
        raise InvalidValue("a mailbox name with an empty level")
    if len(name) > MAX_NAME or any(len(level.encode()) > MAX_LEVEL_BYTES for level in levels):
        raise InvalidValue("a mailbox name that is too long")
    if levels[0].lower() in _RESERVED:
        raise InvalidValue(f"names below {levels[0]} belong to this server")
    upstream = [unescape_level(level) for level in levels]
    if upstream_delimiter and any(upstream_delimiter in level for level in upstream):
        raise InvalidValue(f"the mail provider has no mailbox names with {upstream_delimiter!r} in a level")
    if not upstream_delimiter and len(levels) > 1:
        raise InvalidValue("the mail provider has no mailboxes within mailboxes")


def upstream_name(name: str, *, delimiter: str, prefix: str = "") -> str:
    """Return the upstream's name for ours: levels unescaped, its delimiter, the prefix of its personal namespace."""
    if name == INBOX:
        return INBOX
    spelled = delimiter.join(unescape_level(level) for level in name.split(DELIMITER))
    has_prefix = name.startswith(INBOX + DELIMITER) and prefix.upper().startswith(INBOX)
    return spelled if has_prefix else prefix + spelled


def escape_level(level: str) -> str:
    """Escape one level of a name. An empty level becomes ``~`` alone, so that no name holds ``//``."""
    escaped = _TO_ESCAPE.sub(lambda match: _escape_character(match[0]), level)
    return escaped if escaped else "~"


def unescape_level(name: str) -> str:
    """Return the upstream's spelling of one level of ours."""
    if name == "~":
        return ""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def _escape_character(character: str) -> str:
    return f"~{ord(character):02X}"
