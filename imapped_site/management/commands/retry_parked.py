"""``manage.py retry_parked``: fetch messages again that could not be fetched."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.units import decimal


class Command(OperatorCommand):
    """All of one account; the console can choose among them."""

    help = "Have the parked messages of an account fetched again, as if they had never failed."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Release them, and ask for a sync."""
        account = find_account(options)
        count = operations.retry_parked(by=shell_operator(), account=account)
        self.stdout.write(f"{account}: {decimal(count)} parked messages will be fetched again")
