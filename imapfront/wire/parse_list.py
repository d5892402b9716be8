"""LIST, LSUB and STATUS (RFC 3501 6.3.8-10, RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

import re
from collections.abc import Callable

from imapfront.wire.commands import List, Lsub, Status, StatusItem
from mailcache.wire import utf7
from mailcache.wire.scanner import Scanner, WireError

MAX_PATTERNS = 100
# Matching costs time by the length of a pattern and the number of its wildcards.
MAX_PATTERN_LENGTH = 1_000
MAX_WILDCARDS = 100

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
_WILDCARD = re.compile(r"[%*]")
# A run of wildcards means what its strongest one means.
_WILDCARD_RUN = re.compile(r"[%*]{2,}")


def mailbox_name(scanner: Scanner) -> str:
    """Read a mailbox name; INBOX as its first level is spelled in capitals."""
    raw = scanner.astring()
    try:
        name = utf7.decode(raw)
    except ValueError:
        raise WireError("a mailbox name that is not modified UTF-7") from None
    if _CONTROLS.search(name):
        raise WireError("a mailbox name with control characters")
    first, slash, rest = name.partition("/")
    # Only ASCII: other letters have I for their capital, too.
    return "INBOX" + slash + rest if first.isascii() and first.upper() == "INBOX" else name


def parse_list(scanner: Scanner) -> List:
    """Read LIST with its extended forms."""
    options: set[bytes] = set()
    if scanner.peek() == b"(":
        options = set(_options(scanner, {b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH", b"SPECIAL-USE"}))
        scanner.space()
        if b"RECURSIVEMATCH" in options and not options & {b"SUBSCRIBED", b"SPECIAL-USE"}:
            raise WireError("RECURSIVEMATCH needs another selection option")
    reference = _decoded(scanner.astring())
    scanner.space()
    patterns = _patterns(scanner)
    _check_wildcards(reference, patterns)
    returned, status = _return_options(scanner)
    return List(
        reference,
        patterns,
        subscribed_only=b"SUBSCRIBED" in options,
        special_use_only=b"SPECIAL-USE" in options,
        recursive_match=b"RECURSIVEMATCH" in options,
        return_subscribed=b"SUBSCRIBED" in returned or b"SUBSCRIBED" in options,
        return_children=b"CHILDREN" in returned,
        return_status=status,
    )


def parse_lsub(scanner: Scanner) -> Lsub:
    """Read LSUB."""
    reference = _decoded(scanner.astring())
    scanner.space()
    pattern = _pattern(scanner)
    _check_wildcards(reference, (pattern,))
    return Lsub(reference, pattern)


def parse_status(scanner: Scanner) -> Status:
    """Read STATUS."""
    mailbox = mailbox_name(scanner)
    scanner.space()
    return Status(mailbox, _status_items(scanner))


def _status_items(scanner: Scanner) -> tuple[StatusItem, ...]:
    scanner.expect(b"(")
    items = [_status_item(scanner)]
    while scanner.skip(b" "):
        items.append(_status_item(scanner))
    scanner.expect(b")")
    return tuple(dict.fromkeys(items))


def _status_item(scanner: Scanner) -> StatusItem:
    name = scanner.atom().upper().decode("ascii")
    try:
        return StatusItem(name)
    except ValueError:
        raise WireError(f"unknown STATUS item {name[:40]}") from None


def _return_options(scanner: Scanner) -> tuple[set[bytes], tuple[StatusItem, ...]]:
    status: tuple[StatusItem, ...] = ()

    def take_status() -> None:
        nonlocal status
        scanner.space()
        status = _status_items(scanner)

    if scanner.at_end:
        return set(), ()
    scanner.space()
    if not scanner.skip_word(b"RETURN"):
        scanner.fail("RETURN")
    scanner.space()
    allowed = {b"SUBSCRIBED", b"CHILDREN", b"SPECIAL-USE", b"STATUS"}
    return set(_options(scanner, allowed, arguments={b"STATUS": take_status})), status


def _options(
    scanner: Scanner, allowed: set[bytes], arguments: dict[bytes, Callable[[], None]] | None = None
) -> list[bytes]:
    scanner.expect(b"(")
    found: list[bytes] = []
    while not scanner.skip(b")"):
        if found:
            scanner.space()
        option = scanner.atom().upper()
        if option not in allowed:
            raise WireError(f"unknown LIST option {option[:40].decode('ascii')}")
        if arguments and option in arguments:
            arguments[option]()
        found.append(option)
    return found


def _patterns(scanner: Scanner) -> tuple[str, ...]:
    if not scanner.skip(b"("):
        return (_pattern(scanner),)
    patterns = [_pattern(scanner)]
    while scanner.skip(b" "):
        patterns.append(_pattern(scanner))
        if len(patterns) > MAX_PATTERNS:
            raise WireError("too many LIST patterns")
    scanner.expect(b")")
    return tuple(patterns)


def _pattern(scanner: Scanner) -> str:
    if scanner.peek() == b'"' or scanner.at_literal():
        return _decoded(scanner.string())
    return _decoded(scanner.list_atom())


def _check_wildcards(reference: str, patterns: tuple[str, ...]) -> None:
    of_reference = len(_WILDCARD.findall(reference))
    if sum(of_reference + len(_WILDCARD.findall(pattern)) for pattern in patterns) > MAX_WILDCARDS:
        raise WireError("too many wildcards")


def _decoded(raw: bytes) -> str:
    """Return a reference or pattern as text; what is no modified UTF-7 matches nothing that exists."""
    if len(raw) > MAX_PATTERN_LENGTH:
        raise WireError("a LIST pattern that is too long")
    return _WILDCARD_RUN.sub(lambda match: "*" if "*" in match[0] else "%", utf7.decode_lenient(raw))
