"""``manage.py add_account``: an upstream account of a user."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from imapped_site import operations
from imapped_site.command_line import (
    OperatorCommand,
    add_policy_options,
    find_user,
    policies_from,
    read_secret,
    shell_operator,
)
from mailcache.models import OAUTH_METHODS, AuthMethod, TlsMode
from mailcache.services.policies import Policies

_PORTS = {TlsMode.TLS: 993, TlsMode.STARTTLS: 143, TlsMode.PLAIN: 143}


class Command(OperatorCommand):
    """Without ``--upstream-secret`` it is asked for, or read from stdin."""

    help = "Add an upstream account to a user; the password is read from stdin unless --upstream-secret is given."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user-email", required=True, help="The imapped user whose account it is.")
        parser.add_argument("--email-address", required=True, help="E-mail address of the account.")
        parser.add_argument("--display-name", default="", help="What the console calls it.")
        parser.add_argument("--upstream-host", required=True)
        parser.add_argument("--upstream-port", type=int, help="Default: 993 for tls, 143 otherwise.")
        parser.add_argument("--upstream-tls-mode", choices=TlsMode.values, default=TlsMode.TLS.value)
        parser.add_argument("--upstream-auth-method", choices=AuthMethod.values, default=AuthMethod.LOGIN.value)
        parser.add_argument("--upstream-username", help="Default: the e-mail address.")
        parser.add_argument("--upstream-secret", help="Seen by other processes of this machine meanwhile.")
        add_policy_options(parser)

    def operate(self, options: dict[str, Any]) -> None:
        """Add the account; its first sync begins as soon as a worker is free."""
        user, address = find_user(options["user_email"]), options["email_address"]
        given, tls_mode = options["upstream_secret"], TlsMode(options["upstream_tls_mode"])
        auth_method = AuthMethod(options["upstream_auth_method"])
        uses_oauth = auth_method in OAUTH_METHODS
        account = operations.add_account(
            by=shell_operator(),
            user=user,
            address=address,
            display_name=options["display_name"],
            host=options["upstream_host"],
            port=options["upstream_port"] or _PORTS[tls_mode],
            username=options["upstream_username"] or address,
            secret="" if uses_oauth else given if given is not None else read_secret("Upstream password"),
            tls_mode=tls_mode,
            auth_method=auth_method,
            policies=policies_from(options, Policies.default()),
        )
        follow = "sign it in with: sign_in" if uses_oauth else "check it with: test_upstream"
        self.stdout.write(f"added account {account} of {user}; {follow} --account-email {address}")
