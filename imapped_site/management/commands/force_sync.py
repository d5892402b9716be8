"""``manage.py force_sync``: sync an account now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.sync_status import read_status
from sync.account_run import SliceEnd, run_account_until_done


class Command(OperatorCommand):
    """Asks the workers; with ``--in-process`` this process does the work, under the same lease as any worker."""

    help = "Sync an account now, also one whose credentials had been refused."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        parser.add_argument(
            "--in-process", action="store_true", help="Do it here, without a worker, and return when it is done."
        )

    def operate(self, options: dict[str, Any]) -> None:
        """Ask for the sync, or do it."""
        account = find_account(options)
        if not options["in_process"]:
            operations.sync_now(by=shell_operator(), account=account)
            self.stdout.write(f"{account} will be synced now; follow it with: show_sync_status")
            return
        operations.allow_sync(by=shell_operator(), account=account)
        end = run_account_until_done(account.pk)
        account.refresh_from_db()
        if end is not SliceEnd.DONE:
            raise CommandError(f"{account}: {account.state_reason or end.value}")
        self.stdout.write(f"{account}: {read_status(account).shown_run}")
