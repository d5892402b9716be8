"""``manage.py list_mutations``: the local changes of an account that the upstream does not have yet."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site.command_line import OperatorCommand, add_account_options, find_account
from imapped_site.mutation_words import describe, read_queue
from mailcache.models import Mutation


class Command(OperatorCommand):
    """Oldest first; reads only."""

    help = "List the changes of an account that are still to be replayed upstream."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        parser.add_argument("--limit", type=int, default=100, help="Rows to show; default 100.")

    def operate(self, options: dict[str, Any]) -> None:
        """List them."""
        account = find_account(options)
        queue = read_queue(account)
        held_up = ("replay is paused",) if queue.paused else (queue.reason,)
        self.stdout.write(f"{account}: " + "; ".join(filter(None, (queue.summary, *held_up, queue.speed))))
        rows = Mutation.objects.unsettled(account.pk).select_related("mailbox", "target")[: max(0, options["limit"])]
        if rows:
            titles = ("id", "kind", "mailbox", "change", "state", "attempts", "last error")
            self.write_table(titles, [_row(mutation) for mutation in rows])


def _row(mutation: Mutation) -> tuple[str, ...]:
    mailbox = "-" if mutation.mailbox is None else mutation.mailbox.name
    told = (mutation.state, str(mutation.attempts), mutation.last_error)
    return (str(mutation.pk), mutation.kind, mailbox, describe(mutation), *told)
