"""What is announced, by state of the connection. Nothing stands here that does not work. Pure."""

from __future__ import annotations

_ALWAYS = ("IMAP4rev1", "LITERAL+", "SASL-IR", "ID", "ENABLE", "IDLE")
_AFTER_LOGIN = (
    "NAMESPACE", "UNSELECT", "CHILDREN", "SPECIAL-USE", "CREATE-SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS",
    "UIDPLUS", "MOVE", "MULTIAPPEND", "CONDSTORE",
)  # fmt: skip

# What ENABLE can switch on (RFC 5161 3.1).
ENABLEABLE = frozenset({"CONDSTORE"})


def capabilities(
    *, authenticated: bool, can_start_tls: bool, may_login: bool, append_limit: int | None = None
) -> tuple[str, ...]:
    """Return the capabilities of a connection in this state.

    ``can_start_tls``: TLS is configured and not yet on. ``may_login``: the transport is safe enough for passwords.
    ``append_limit``: octets of the largest message that APPEND takes (RFC 7889).
    """
    if authenticated:
        return _ALWAYS + _AFTER_LOGIN + (() if append_limit is None else (f"APPENDLIMIT={append_limit}",))
    start_tls = ("STARTTLS",) if can_start_tls else ()
    login = ("AUTH=PLAIN",) if may_login else ("LOGINDISABLED",)
    return _ALWAYS + start_tls + login
