"""``manage.py create_user``: somebody who may log in."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import OperatorCommand, read_secret, shell_operator


class Command(OperatorCommand):
    """Without ``--password`` it is asked for, or read from stdin: a command line is seen by every local process."""

    help = "Create a user; the password is read from stdin unless --password is given."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--username-email", required=True, help="E-mail address: the name to log in with.")
        parser.add_argument("--password", help="Seen by other processes of this machine while the command runs.")
        parser.add_argument("--staff", action="store_true", help="An operator: may use the console.")
        parser.add_argument("--admin", action="store_true", help="An operator who may make others operators.")

    def operate(self, options: dict[str, Any]) -> None:
        """Create the user."""
        password = options["password"] if options["password"] is not None else read_secret("Password", again=True)
        user = operations.create_user(
            by=shell_operator(),
            email=options["username_email"],
            password=password,
            is_staff=options["staff"],
            is_superuser=options["admin"],
        )
        self.stdout.write(f"created user {user}")
