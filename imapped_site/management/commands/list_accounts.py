"""``manage.py list_accounts``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site.command_line import OperatorCommand, find_user
from mailcache.models import Account


class Command(OperatorCommand):
    """One line per account: where its upstream is. How it is doing: ``show_sync_status``."""

    help = "List accounts with their upstream servers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user-email", help="Only the accounts of this user.")

    def operate(self, options: dict[str, Any]) -> None:
        """Print the table."""
        accounts = Account.objects.select_related("user").defer("sealed_secret").order_by("user__email", "address")
        if options["user_email"]:
            accounts = accounts.of_user(find_user(options["user_email"]).pk)
        rows = [
            (account.address, account.user.email, f"{account.host}:{account.port}", account.tls_mode,
             account.username, account.get_state_display())
            for account in accounts
        ]  # fmt: skip
        self.write_table(("ACCOUNT", "USER", "UPSTREAM", "TLS", "LOGS IN AS", "STATE"), rows)
