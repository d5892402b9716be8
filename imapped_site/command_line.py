"""What the operators' commands share: who acts, whom they mean, secrets from stdin, refusals as plain text."""

from __future__ import annotations

import getpass
import os
import pwd
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from imapped_site.operations import Operator
from mailcache.errors import MailcacheError
from mailcache.models import Account, BodyPolicy, Mailbox, User
from mailcache.services.policies import Policies
from sync.profiles import BY_NAME

# Takes a decision back: the setting or the provider profile decides.
_DEFAULT = "default"
_AUTOMATIC = "automatic"
_POLICY_OPTIONS = ("body_policy", "body_days", "daily_bytes", "connection_limit", "quota_bytes")


class OperatorCommand(ABC, BaseCommand):
    """A command that does one operation; what the domain refuses ends it with that text and status 1."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the operation."""
        try:
            self.operate(options)
        except MailcacheError as error:
            raise CommandError(str(error)) from error

    @abstractmethod
    def operate(self, options: dict[str, Any]) -> None:
        """Do the work with the parsed options."""

    def write_table(self, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write rows below their titles, in columns."""
        widths = [max(len(row[column]) for row in (titles, *rows)) for column in range(len(titles))]
        for row in (titles, *rows):
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())


def shell_operator() -> Operator:
    """Return who runs this process, for the audit log."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user need not have a name
        name = f"uid {os.getuid()}"
    return Operator(name=f"command line ({name})")


def find_user(email: str) -> User:
    """Return the user of this e-mail address; raises ``CommandError``."""
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise CommandError(f"user not found: {email} (create_user makes one)")
    return user


def add_account_options(parser: CommandParser, *, required: bool = True) -> None:
    """Add the options that name one account."""
    parser.add_argument("--account-email", required=required, help="E-mail address of the account.")
    parser.add_argument("--user-email", help="Whose account, where several users have one of this address.")


def find_account(options: dict[str, Any]) -> Account:
    """Return the account that the options of ``add_account_options`` name; raises ``CommandError``."""
    address, owner = options["account_email"], options["user_email"]
    accounts = Account.objects.filter(address__iexact=address).select_related("user")
    if owner:
        accounts = accounts.of_user(find_user(owner).pk)
    found = list(accounts[:2])
    if not found:
        raise CommandError(f"account not found: {address}{f' of {owner}' if owner else ''} (add_account makes one)")
    if len(found) > 1:
        raise CommandError(f"several users have an account {address}: say whose with --user-email")
    return found[0]


def find_mailbox(account: Account, name: str) -> Mailbox:
    """Return a mailbox of an account by our name; raises ``CommandError``."""
    mailbox = Mailbox.objects.filter(account=account, name=name).select_related("account__user").first()
    if mailbox is None:
        raise CommandError(f"mailbox not found: {name} of {account} (list_mailboxes shows them)")
    return mailbox


def add_policy_options(parser: CommandParser) -> None:
    """Add the options that say how much of an account is fetched, and how."""
    parser.add_argument("--body-policy", choices=BodyPolicy.values, help="Which messages' bytes are fetched ahead.")
    parser.add_argument("--body-days", type=int, help="For the policy 'recent'.")
    parser.add_argument("--daily-bytes", type=_number_or_default, help="Octets of bodies per day, or 'default'.")
    parser.add_argument("--connection-limit", type=_number_or_default, help="Connections upstream, or 'default'.")
    parser.add_argument(
        "--provider-profile",
        choices=[_AUTOMATIC, *BY_NAME],
        metavar="PROFILE",
        help=f"automatic, {', '.join(BY_NAME)}.",
    )
    parser.add_argument("--quota-bytes", type=int, help="Octets that may be kept of the account.")


def policies_from(options: dict[str, Any], before: Policies) -> Policies:
    """Return ``before`` with what the options of ``add_policy_options`` name."""
    named = {name: options[name] for name in _POLICY_OPTIONS if options[name] is not None}
    if options["provider_profile"] is not None:
        named["profile"] = "" if options["provider_profile"] == _AUTOMATIC else options["provider_profile"]
    policies: Policies = replace(before, **{name: _decided(value) for name, value in named.items()})
    return policies


def _decided(value: Any) -> Any:
    return None if value == _DEFAULT else value


def _number_or_default(text: str) -> int | str:
    return _DEFAULT if text == _DEFAULT else int(text)


def read_secret(what: str, *, again: bool = False) -> str:
    """Return a secret typed at a prompt, or the first line of stdin where nobody is there to type."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    secret = getpass.getpass(f"{what}: ")
    if again and getpass.getpass(f"{what} again: ") != secret:
        raise CommandError("the two entries differ")
    return secret
