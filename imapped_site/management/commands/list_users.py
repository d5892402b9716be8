"""``manage.py list_users``."""

from __future__ import annotations

from typing import Any

from django.db.models import Count

from imapped_site.command_line import OperatorCommand
from mailcache.models import User


class Command(OperatorCommand):
    """One line per user."""

    help = "List users with their role and number of accounts."

    def operate(self, options: dict[str, Any]) -> None:
        """Print the table."""
        users = User.objects.annotate(account_total=Count("accounts")).order_by("email")
        rows = [(user.email, _role(user), "yes" if user.is_active else "no", str(user.account_total)) for user in users]
        self.write_table(("USER", "ROLE", "ACTIVE", "ACCOUNTS"), rows)


def _role(user: User) -> str:
    return "administrator" if user.is_superuser else "operator" if user.is_staff else "user"
