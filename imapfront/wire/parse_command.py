"""One command line into one command (RFC 3501 9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from imapfront.wire import commands as c
from imapfront.wire.changing_commands import Expunge
from imapfront.wire.parse_changes import (
    parse_append,
    parse_copy,
    parse_create,
    parse_move,
    parse_named,
    parse_rename,
    parse_store,
    parse_uid_expunge,
)
from imapfront.wire.parse_fetch import parse_fetch
from imapfront.wire.parse_list import mailbox_name, parse_list, parse_lsub, parse_status
from imapfront.wire.parse_search import parse_search
from mailcache.wire.framing import Frame, Literal
from mailcache.wire.scanner import Scanner, WireError

_TAG = re.compile(rb"[^\x00-\x20(){%*\"\\+\x7f-\xff]{1,100}(?= |\Z)")

_WITH_UID: dict[bytes, Callable[..., c.Command]] = {
    b"FETCH": parse_fetch,
    b"STORE": parse_store,
    b"COPY": parse_copy,
    b"MOVE": parse_move,
}


@dataclass(frozen=True, slots=True)
class Tagged:
    """A command with the tag that its answer repeats."""

    tag: bytes
    command: c.Command


class BadCommand(WireError):
    """A line that is no command; ``tag`` is None when none could be read."""

    def __init__(self, text: str, tag: bytes | None) -> None:
        super().__init__(text)
        self.tag = tag


def parse_command(frame: Frame) -> Tagged:
    """Read a command; raises ``BadCommand``, whose cause may be a ``WireError`` that has an answer of its own."""
    first = frame.pieces[0]
    tag = tag_of(first) if isinstance(first, bytes) else None
    if tag is None:
        raise BadCommand("expected a tag and a command", None)
    scanner = Scanner(frame)
    scanner.skip(tag)
    try:
        scanner.space()
        name = scanner.atom().upper()
        if name != b"APPEND":
            _check_literals(frame)
        uid = name == b"UID"
        if uid:
            scanner.space()
            name = scanner.atom().upper()
        command = _arguments(name, scanner, uid=uid)
        scanner.end()
    except WireError as error:
        raise BadCommand(str(error), tag) from error
    return Tagged(tag, command)


def tag_of(start: bytes) -> bytes | None:
    """Return the tag with which a line begins, or None."""
    match = _TAG.match(start)
    return match[0] if match else None


def _check_literals(frame: Frame) -> None:
    # RFC 3501 9 (CHAR8). Quoted strings are checked as they are read. Of messages even NULs are kept as they come.
    for piece in frame.pieces:
        if isinstance(piece, Literal) and b"\0" in (piece.data or b""):
            raise WireError("a literal that holds NUL")


def _arguments(name: bytes, scanner: Scanner, *, uid: bool) -> c.Command:
    if name in _WITH_UID:
        scanner.space()
        return _WITH_UID[name](scanner, uid=uid)
    if name == b"SEARCH":
        scanner.space()
        return c.Search(parse_search(scanner), uid=uid)
    if uid and name == b"EXPUNGE":
        scanner.space()
        return parse_uid_expunge(scanner)
    if not uid and name in _BARE:
        return _BARE[name]
    if not uid and name in _WITH_ARGUMENTS:
        scanner.space()
        return _WITH_ARGUMENTS[name](scanner)
    shown = name[:40].decode("ascii", errors="replace")
    raise WireError(f"unknown command {'UID ' if uid else ''}{shown}")


def _text(scanner: Scanner) -> str:
    try:
        return scanner.astring().decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("a name or password that is not UTF-8") from None


def _login(scanner: Scanner) -> c.Login:
    user = _text(scanner)
    scanner.space()
    return c.Login(user, _text(scanner))


def _authenticate(scanner: Scanner) -> c.Authenticate:
    mechanism = scanner.atom().upper().decode("ascii")
    return c.Authenticate(mechanism, scanner.rest() if scanner.skip(b" ") else None)


def _id(scanner: Scanner) -> c.Id:
    if scanner.skip_word(b"NIL"):
        return c.Id({})
    scanner.expect(b"(")
    parameters: dict[str, str | None] = {}
    while not scanner.skip(b")"):
        if parameters:
            scanner.space()
        key = scanner.string().decode("utf-8", errors="replace")
        scanner.space()
        value = scanner.nstring()
        parameters[key] = None if value is None else value.decode("utf-8", errors="replace")
        if len(parameters) > 30:
            raise WireError("an ID with more than 30 fields")
    return c.Id(parameters)


def _enable(scanner: Scanner) -> c.Enable:
    names = [scanner.atom().upper().decode("ascii")]
    while scanner.skip(b" "):
        names.append(scanner.atom().upper().decode("ascii"))
    return c.Enable(tuple(names))


def _condstore(scanner: Scanner) -> bool:
    """Read the parameters of SELECT: ``(CONDSTORE)``, or none (RFC 7162 3.1.8)."""
    if not scanner.skip(b" "):
        return False
    scanner.expect(b"(")
    if not scanner.skip_word(b"CONDSTORE"):
        scanner.fail("CONDSTORE")
    scanner.expect(b")")
    return True


_BARE: dict[bytes, c.Command] = {
    b"CAPABILITY": c.Capability(),
    b"NOOP": c.Noop(),
    b"LOGOUT": c.Logout(),
    b"STARTTLS": c.StartTls(),
    b"NAMESPACE": c.Namespace(),
    b"CLOSE": c.Close(),
    b"UNSELECT": c.Unselect(),
    b"CHECK": c.Check(),
    b"IDLE": c.Idle(),
    b"EXPUNGE": Expunge(),
}

_WITH_ARGUMENTS: dict[bytes, Callable[[Scanner], c.Command]] = {
    b"ID": _id,
    b"LOGIN": _login,
    b"AUTHENTICATE": _authenticate,
    b"ENABLE": _enable,
    b"LIST": parse_list,
    b"LSUB": parse_lsub,
    b"STATUS": parse_status,
    b"SELECT": lambda scanner: c.Select(mailbox_name(scanner), condstore=_condstore(scanner)),
    b"EXAMINE": lambda scanner: c.Examine(mailbox_name(scanner), condstore=_condstore(scanner)),
    b"APPEND": parse_append,
    b"CREATE": parse_create,
    b"RENAME": parse_rename,
    b"DELETE": partial(parse_named, b"DELETE"),
    b"SUBSCRIBE": partial(parse_named, b"SUBSCRIBE"),
    b"UNSUBSCRIBE": partial(parse_named, b"UNSUBSCRIBE"),
}
