"""``manage.py show_sync_status``: how the sync of each account is doing."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from imapped_site.command_line import OperatorCommand, add_account_options, find_account, find_user
from imapped_site.sync_status import AccountStatus, read_mailbox_progress, read_status, read_statuses, status_values
from imapped_site.units import decimal
from imapped_site.upstream_facts import USAGE_DAYS, read_upstream_facts
from mailcache.models import Account

_TITLES = ("ACCOUNT", "USER", "STATE", "MESSAGES", "TO FETCH", "PARKED", "LAG", "NEXT SYNC", "REASON")


class Command(OperatorCommand):
    """One line per account; with ``--account-email`` all that is known of one."""

    help = "Show state, progress and latest run of accounts."

    def add_arguments(self, parser: CommandParser) -> None:
        add_account_options(parser, required=False)
        parser.add_argument("--json", action="store_true", help="For programs.")

    def operate(self, options: dict[str, Any]) -> None:
        """Print a table, one account in detail, or JSON."""
        if options["account_email"]:
            statuses = [read_status(find_account(options))]
        else:
            statuses = list(read_statuses(_accounts(options["user_email"])).values())
        if options["json"]:
            values = [status_values(status) for status in statuses]
            self.stdout.write(json.dumps(values, cls=DjangoJSONEncoder, indent=2))
        elif options["account_email"]:
            self._write_one(statuses[0])
        else:
            self.write_table(_TITLES, [_row(status) for status in statuses])

    def _write_one(self, status: AccountStatus) -> None:
        account, facts = status.account, read_upstream_facts(status.account)
        for title, text in (
            ("account", f"{account} of {account.user}"),
            ("state", status.summary),
            ("reason", account.state_reason),
            ("notice", account.notice),
            ("lag", status.shown_lag),
            ("last in step", status.last_synced),
            ("next sync", status.next_try if status.is_scheduled else "none until somebody acts"),
            ("here", f"{status.shown_messages} messages ({status.shown_size}) in {status.mailboxes} mailboxes"),
            ("to fetch", f"{status.headers_waiting} headers, {status.shown_waiting} bodies"),
            ("parked", f"{status.bodies_parked}: {status.parked_reason}" if status.bodies_parked else ""),
            ("latest run", status.shown_run),
            ("profile", f"{facts.profile.title} ({facts.origin})"),
            ("refused", facts.latches),
            ("connections", ", ".join(connection.purpose for connection in facts.connections)),
            ("today", facts.total.shown_today),
            (f"{USAGE_DAYS} days", facts.total.shown_days),
        ):
            if text:
                self.stdout.write(f"{title + ':':<14}{text}")
        usage = [(row.kind, row.shown_commands_today, row.shown_bytes_today, row.shown_commands, row.shown_bytes)
                 for row in facts.usage]  # fmt: skip
        if usage:
            self.write_table(("COMMAND", "TODAY", "BYTES TODAY", f"{USAGE_DAYS} DAYS", "BYTES"), usage)
        behind = [
            (row.mailbox.name, str(row.mailbox.messages), "?" if row.expected is None else str(row.expected),
             str(row.headers_waiting), str(row.bodies_waiting), row.reason)
            for row in read_mailbox_progress(account)
        ]  # fmt: skip
        if behind:
            self.write_table(("BEHIND", "HERE", "UPSTREAM", "HEADERS TO FETCH", "BODIES TO FETCH", "REASON"), behind)


def _accounts(user_email: str | None) -> list[Account]:
    accounts = Account.objects.select_related("user").defer("sealed_secret").order_by("user__email", "address")
    return list(accounts.of_user(find_user(user_email).pk) if user_email else accounts)


def _row(status: AccountStatus) -> tuple[str, ...]:
    return (
        status.account.address,
        status.account.user.email,
        status.summary,
        status.shown_messages,
        status.shown_waiting if status.bodies_waiting else "-",
        decimal(status.bodies_parked) if status.bodies_parked else "-",
        status.shown_lag,
        status.next_try if status.is_scheduled else "-",
        status.account.state_reason,
    )
