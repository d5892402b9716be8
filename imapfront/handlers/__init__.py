"""What each command does: one module per family, one table for all of them.

``run`` is a coroutine function. ``quick``, where there is one, is tried first while nothing has to be waited for: it
answers from memory, or returns None and has written nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from imapfront.errors import Answer
from imapfront.handlers import (
    append,
    connection,
    copy,
    expunge,
    fetch,
    idle,
    login,
    mailboxes,
    manage,
    search,
    select,
    store,
)
from imapfront.session import Session
from imapfront.wire import changing_commands as w
from imapfront.wire import commands as c

# A handler takes its own kind of command; the table below pairs the two.
Run = Callable[[Session, Any], Awaitable[Answer]]
Quick = Callable[[Session, Any], Answer | None]


@dataclass(frozen=True, slots=True)
class Handler:
    """How one kind of command is carried out."""

    run: Run
    quick: Quick | None = None


_HANDLERS: dict[type[c.Command], Handler] = {
    c.Capability: Handler(connection.run_capability, connection.capability),
    c.Noop: Handler(connection.run_noop, connection.noop),
    c.Check: Handler(connection.run_check, connection.check),
    c.Id: Handler(connection.run_id),
    c.Logout: Handler(connection.run_logout),
    c.Enable: Handler(connection.run_enable),
    c.StartTls: Handler(login.run_starttls),
    c.Login: Handler(login.run_login),
    c.Authenticate: Handler(login.run_authenticate),
    c.Namespace: Handler(mailboxes.run_namespace),
    c.List: Handler(mailboxes.run_list),
    c.Lsub: Handler(mailboxes.run_lsub),
    c.Status: Handler(mailboxes.run_status),
    c.Select: Handler(select.run_select),
    c.Examine: Handler(select.run_examine),
    c.Close: Handler(select.run_close),
    c.Unselect: Handler(select.run_unselect),
    c.Idle: Handler(idle.run_idle),
    c.Fetch: Handler(fetch.run_fetch, fetch.fetch),
    c.Search: Handler(search.run_search, search.search),
    w.Store: Handler(store.run_store),
    w.Append: Handler(append.run_append),
    w.Copy: Handler(copy.run_copy),
    w.Move: Handler(copy.run_move),
    w.Expunge: Handler(expunge.run_expunge),
    w.Create: Handler(manage.run_create),
    w.Delete: Handler(manage.run_delete),
    w.Rename: Handler(manage.run_rename),
    w.Subscribe: Handler(manage.run_subscribe),
    w.Unsubscribe: Handler(manage.run_unsubscribe),
}


def handler_of(command: c.Command) -> Handler:
    """Return the handler of a command."""
    return _HANDLERS[type(command)]
