"""``manage.py confirm_deletions``: a mass deletion upstream is meant."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, add_account_options, find_account, find_mailbox, shell_operator


class Command(OperatorCommand):
    """Until then, or until the upstream shows it twice, the messages stay here."""

    help = "Say that the many deletions seen in a mailbox upstream are meant: the messages are removed here, too."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        parser.add_argument("--mailbox", required=True, help="Our name of it, as list_mailboxes shows it.")

    def operate(self, options: dict[str, Any]) -> None:
        """Confirm, and ask for a sync of the mailbox."""
        mailbox = find_mailbox(find_account(options), options["mailbox"])
        operations.confirm_deletions(by=shell_operator(), mailbox=mailbox)
        self.stdout.write(f"{mailbox} of {mailbox.account}: the deletions will be taken over now")
