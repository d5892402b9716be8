"""``manage.py retry_mutations``: try parked changes again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, add_account_options, find_account, shell_operator
from imapped_site.units import decimal
from mailcache.models import Mutation, MutationState


class Command(OperatorCommand):
    """All of one account, or some by id."""

    help = "Have parked changes of an account tried again, at once."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser)
        parser.add_argument("--id", type=int, action="append", help="One of them; may be given several times.")

    def operate(self, options: dict[str, Any]) -> None:
        """Retry them."""
        account = find_account(options)
        parked = Mutation.objects.filter(account=account, state=MutationState.PARKED)
        ids = options["id"] or list(parked.values_list("pk", flat=True))
        count = operations.retry_mutations(by=shell_operator(), account=account, ids=ids)
        self.stdout.write(f"{account}: {decimal(count)} parked changes are tried again")
