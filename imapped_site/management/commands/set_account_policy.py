"""``manage.py set_account_policy``: how much of an account is fetched, and how."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import (
    OperatorCommand,
    add_account_options,
    add_policy_options,
    find_account,
    policies_from,
    shell_operator,
)
from mailcache.services.policies import Policies


class Command(OperatorCommand):
    """What is not named stays as it is."""

    help = "Change body policy, daily bytes, connection limit, provider profile or quota of an account."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        add_policy_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Change what was named, and tell how it is now."""
        account = find_account(options)
        before = Policies.of(account)
        policies = policies_from(options, before)
        operations.change_policies(by=shell_operator(), account=account, policies=policies)
        changed = ", ".join(f"{name} {text or 'default'}" for name, text in policies.changes(before).items())
        self.stdout.write(f"{account}: {changed or 'nothing changed'}")
