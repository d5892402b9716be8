"""The state table: which command is allowed when, and what may be said during it (RFC 3501 3, 6, 7.4.1). Pure."""

from __future__ import annotations

from enum import Enum

from imapfront.wire.commands import Command


class State(Enum):
    """The states of a connection."""

    NOT_AUTHENTICATED = "not authenticated"
    AUTHENTICATED = "authenticated"
    SELECTED = "selected"
    LOGOUT = "logout"


_BEFORE = frozenset({State.NOT_AUTHENTICATED})
_AFTER = frozenset({State.AUTHENTICATED, State.SELECTED})
_SELECTED = frozenset({State.SELECTED})
_ANY = _BEFORE | _AFTER

ALLOWED_STATES: dict[str, frozenset[State]] = {
    "CAPABILITY": _ANY,
    "NOOP": _ANY,
    "LOGOUT": _ANY,
    "ID": _ANY,
    "STARTTLS": _BEFORE,
    "LOGIN": _BEFORE,
    "AUTHENTICATE": _BEFORE,
    "ENABLE": frozenset({State.AUTHENTICATED}),
    "NAMESPACE": _AFTER,
    "LIST": _AFTER,
    "LSUB": _AFTER,
    "STATUS": _AFTER,
    "SELECT": _AFTER,
    "EXAMINE": _AFTER,
    "IDLE": _AFTER,
    "APPEND": _AFTER,
    "CREATE": _AFTER,
    "DELETE": _AFTER,
    "RENAME": _AFTER,
    "SUBSCRIBE": _AFTER,
    "UNSUBSCRIBE": _AFTER,
    "CLOSE": _SELECTED,
    "UNSELECT": _SELECTED,
    "CHECK": _SELECTED,
    "FETCH": _SELECTED,
    "SEARCH": _SELECTED,
    "STORE": _SELECTED,
    "COPY": _SELECTED,
    "MOVE": _SELECTED,
    "EXPUNGE": _SELECTED,
}

# During these a message may not lose its number, or the answer could not be understood (RFC 3501 7.4.1).
_NUMBERS_STAY = frozenset({"FETCH", "STORE", "SEARCH"})


def is_allowed(command: Command, state: State) -> bool:
    """True when ``command`` may be given in ``state``."""
    return state in ALLOWED_STATES[command.name]


def may_expunge(command: Command) -> bool:
    """True when EXPUNGE responses may be sent while ``command`` is answered; always so for the UID forms."""
    return command.name not in _NUMBERS_STAY or bool(getattr(command, "uid", False))
