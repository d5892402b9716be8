"""Commands that change mail (RFC 3501 6.3.3-6.3.7, 6.3.11, 6.4.3, 6.4.6, 6.4.7; RFC 3502, 4315, 6154, 6851, 7162)."""

from __future__ import annotations

import re
from datetime import datetime

from imapfront.wire.changing_commands import (
    Append,
    AppendedLiteral,
    Copy,
    Create,
    Delete,
    Expunge,
    Move,
    Rename,
    Store,
    Subscribe,
    Unsubscribe,
)
from imapfront.wire.commands import Command
from imapfront.wire.parse_list import mailbox_name
from imapfront.wire.parse_search import parse_sequence_set
from mailcache.flags import MAX_KEYWORDS, SYSTEM_FLAG_NAMES, FlagSet, FlagStore, StoreMode, is_keyword
from mailcache.wire.dates import parse_date_time
from mailcache.wire.scanner import Scanner, WireError

MAX_MODSEQ = 2**63 - 1
_STORE_ITEM = re.compile(rb"([+-]?)FLAGS(\.SILENT)?", re.IGNORECASE)
_FLAG = re.compile(rb"\\?[^\x00-\x20(){%*\"\\\]\x7f-\xff]+")
_SYSTEM_FLAGS = frozenset(name.lower() for name in SYSTEM_FLAG_NAMES.values())
_MODES = {b"": StoreMode.REPLACE, b"+": StoreMode.ADD, b"-": StoreMode.REMOVE}


def parse_store(scanner: Scanner, *, uid: bool) -> Store:
    """Read STORE after the space behind its name."""
    numbers = parse_sequence_set(scanner)
    scanner.space()
    unchanged_since = None
    if scanner.skip(b"("):
        unchanged_since = modifier(scanner, b"UNCHANGEDSINCE")
        scanner.expect(b")")
        scanner.space()
    item = _STORE_ITEM.fullmatch(scanner.matching(_STORE_ITEM, "FLAGS, +FLAGS or -FLAGS"))
    if item is None:
        scanner.fail("FLAGS")
    scanner.space()
    flags = _flag_list(scanner) if scanner.peek() == b"(" else _bare_flags(scanner)
    store = FlagStore(_MODES[item[1]], flags)
    return Store(numbers, store, silent=item[2] is not None, unchanged_since=unchanged_since, uid=uid)


def modifier(scanner: Scanner, name: bytes) -> int:
    """Read ``NAME mod-sequence`` (RFC 7162 7)."""
    if not scanner.skip_word(name):
        scanner.fail(name.decode("ascii"))
    scanner.space()
    return scanner.number(maximum=MAX_MODSEQ)


def parse_append(scanner: Scanner) -> Append:
    """Read APPEND of one or more messages."""
    mailbox = mailbox_name(scanner)
    messages = []
    while not scanner.at_end:
        scanner.space()
        messages.append(_appended(scanner))
    if not messages:
        scanner.fail("a message")
    return Append(mailbox, tuple(messages))


def parse_copy(scanner: Scanner, *, uid: bool) -> Copy:
    """Read COPY."""
    numbers = parse_sequence_set(scanner)
    scanner.space()
    return Copy(numbers, mailbox_name(scanner), uid=uid)


def parse_move(scanner: Scanner, *, uid: bool) -> Move:
    """Read MOVE."""
    numbers = parse_sequence_set(scanner)
    scanner.space()
    return Move(numbers, mailbox_name(scanner), uid=uid)


def parse_uid_expunge(scanner: Scanner) -> Expunge:
    """Read UID EXPUNGE."""
    return Expunge(parse_sequence_set(scanner))


def parse_create(scanner: Scanner) -> Create:
    """Read CREATE, with USE (RFC 6154 3). A delimiter at the end says that mailboxes will be made below it."""
    mailbox = mailbox_name(scanner).removesuffix("/")
    uses: list[str] = []
    if scanner.skip(b" "):
        scanner.expect(b"(")
        if not scanner.skip_word(b"USE"):
            scanner.fail("USE")
        scanner.space()
        scanner.expect(b"(")
        while not scanner.skip(b")"):
            if uses:
                scanner.space()
            uses.append(scanner.matching(_FLAG, "a special use").decode("ascii").lower())
        scanner.expect(b")")
    return Create(mailbox, tuple(uses))


def parse_rename(scanner: Scanner) -> Rename:
    """Read RENAME."""
    mailbox = mailbox_name(scanner)
    scanner.space()
    return Rename(mailbox, mailbox_name(scanner).removesuffix("/"))


def parse_named(name: bytes, scanner: Scanner) -> Command:
    """Read DELETE, SUBSCRIBE or UNSUBSCRIBE."""
    mailbox = mailbox_name(scanner)
    kinds: dict[bytes, type[Delete | Subscribe | Unsubscribe]] = {
        b"DELETE": Delete,
        b"SUBSCRIBE": Subscribe,
        b"UNSUBSCRIBE": Unsubscribe,
    }
    return kinds[name](mailbox)


def _appended(scanner: Scanner) -> AppendedLiteral:
    flags, internal_date = FlagSet(), None
    if scanner.peek() == b"(":
        flags = _flag_list(scanner)
        scanner.space()
    if scanner.peek() == b'"':
        internal_date = _date_time(scanner)
        scanner.space()
    if not scanner.at_literal():
        scanner.fail("a literal")
    literal = scanner.literal()
    if not literal.size:
        raise WireError("a message without a single byte")
    return AppendedLiteral(flags, internal_date, literal)


def _date_time(scanner: Scanner) -> datetime:
    try:
        return parse_date_time(scanner.quoted())
    except ValueError:
        raise WireError("not a date-time") from None


def _flag_list(scanner: Scanner) -> FlagSet:
    scanner.expect(b"(")
    names: list[str] = []
    while not scanner.skip(b")"):
        if names:
            scanner.space()
        names.append(_flag(scanner))
    return _flags(names)


def _bare_flags(scanner: Scanner) -> FlagSet:
    names = [_flag(scanner)]
    while scanner.skip(b" "):
        names.append(_flag(scanner))
    return _flags(names)


def _flag(scanner: Scanner) -> str:
    return scanner.matching(_FLAG, "a flag").decode("ascii")


def _flags(names: list[str]) -> FlagSet:
    """Return flags that can be stored. ``\\Recent`` cannot be changed (RFC 3501 2.3.2): naming it does nothing."""
    wanted = [name for name in names if name.lower() != "\\recent"]
    for name in wanted:
        if name.lower() not in _SYSTEM_FLAGS and not is_keyword(name):
            raise WireError(f"unknown flag {name[:40]}")
    if len(wanted) > MAX_KEYWORDS:
        raise WireError("too many flags")
    return FlagSet.parse(wanted)
