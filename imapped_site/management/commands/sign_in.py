"""``manage.py sign_in``: sign an account in at its OAuth 2.0 provider, without a browser on this machine."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.sign_in import begin_device_sign_in, finish_device_sign_in


class Command(OperatorCommand):
    """Prints a code and waits until somebody has entered it at the provider."""

    help = "Sign an account in at its OAuth 2.0 provider with a code that is entered on any device."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Sign the account in."""
        account = find_account(options)
        code = begin_device_sign_in(account=account)
        self.stdout.write(f"open {code.verification_url} on any device and enter {code.user_code}")
        while timezone.now() < code.expires_at:
            if finish_device_sign_in(by=shell_operator(), account=account, device_code=code.device_code):
                self.stdout.write(f"{account} is signed in")
                return
            time.sleep(code.interval)
        raise CommandError("the code has expired; begin again")
