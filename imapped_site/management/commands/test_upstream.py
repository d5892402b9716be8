"""``manage.py test_upstream``: can a stored account be reached and logged in to?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.upstream_test import try_upstream


class Command(OperatorCommand):
    """Reads only; ends with status 1 and a diagnosis if anything fails."""

    help = "Connect to the upstream of an account, log in, and list what is there."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Test the account."""
        report = try_upstream(by=shell_operator(), account=find_account(options))
        self.stdout.write(report.summary)
        self.stdout.write(f"capabilities: {' '.join(report.capabilities)}")
        for mailbox in report.mailboxes:
            self.stdout.write(f"  {mailbox}")
