"""``manage.py drop_mutation``: give up on one local change."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.units import decimal
from mailcache.errors import InvalidValue
from mailcache.models import Mutation


class Command(OperatorCommand):
    """Needs ``--yes``: what the change did here is undone, and what depends on it goes with it."""

    help = "Give up on a change that cannot be replayed; it is undone here."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        parser.add_argument("--id", type=int, required=True, help="Which one: list_mutations shows them.")
        parser.add_argument("--yes", action="store_true", help="Yes, drop it, with all that depends on it.")

    def operate(self, options: dict[str, Any]) -> None:
        """Drop it."""
        account = find_account(options)
        mutation = Mutation.objects.unsettled(account.pk).filter(pk=options["id"]).first()
        if mutation is None:
            raise InvalidValue(f"{account} has no change {options['id']} that waits for its upstream")
        if not options["yes"]:
            raise InvalidValue(f"{mutation}: say --yes to drop it, with all that depends on it")
        count = operations.drop_mutations(by=shell_operator(), account=account, ids=[mutation.pk])
        self.stdout.write(f"{account}: {decimal(count)} changes were dropped")
