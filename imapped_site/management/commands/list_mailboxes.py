"""``manage.py list_mailboxes``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site.command_line import OperatorCommand, add_account_options, find_account
from imapped_site.units import decimal, octets
from mailcache.models import Mailbox


class Command(OperatorCommand):
    """One line per mailbox."""

    help = "List the mailboxes of an account with their counters."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Print the table."""
        mailboxes = Mailbox.objects.filter(account=find_account(options)).order_by("name")
        rows = [
            (mailbox.name, mailbox.role or "-", decimal(mailbox.messages), decimal(mailbox.unseen),
             octets(mailbox.bytes), str(mailbox.uidvalidity))
            for mailbox in mailboxes
        ]  # fmt: skip
        self.write_table(("MAILBOX", "ROLE", "MESSAGES", "UNSEEN", "SIZE", "UIDVALIDITY"), rows)
