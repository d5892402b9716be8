"""What each account costs its upstream, by day and kind of command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from django.db import transaction
from django.db.models import Sum

from mailcache.services.rows import execute
from sync.models import UpstreamUsage
from sync.upstream.values import CommandUsage

_KIND_LENGTH = 20

_ADD = """
    INSERT INTO sync_upstreamusage AS usage (account_id, day, kind, commands, bytes_in, bytes_out)
    SELECT %(account)s, %(day)s, kind, commands, bytes_in, bytes_out
    FROM unnest(%(kinds)s::text[], %(commands)s::bigint[], %(bytes_in)s::bigint[], %(bytes_out)s::bigint[])
         AS input (kind, commands, bytes_in, bytes_out)
    ORDER BY kind
    ON CONFLICT (account_id, day, kind) DO UPDATE
    SET commands = usage.commands + EXCLUDED.commands, bytes_in = usage.bytes_in + EXCLUDED.bytes_in,
        bytes_out = usage.bytes_out + EXCLUDED.bytes_out
"""


@transaction.atomic
def record_usage(*, account_id: int, day: date, by_command: Mapping[str, CommandUsage]) -> None:
    """Add what was sent and received since the last call, by the command's name."""
    rows = {name[:_KIND_LENGTH]: usage for name, usage in by_command.items() if usage != CommandUsage()}
    if not rows:
        return
    execute(
        _ADD,
        {
            "account": account_id,
            "day": day,
            "kinds": list(rows),
            "commands": [usage.commands for usage in rows.values()],
            "bytes_in": [usage.bytes_in for usage in rows.values()],
            "bytes_out": [usage.bytes_out for usage in rows.values()],
        },
    )


@transaction.atomic
def forget_usage(*, account_id: int, before: date) -> None:
    """Drop what an account cost on days before this one."""
    UpstreamUsage.objects.filter(account_id=account_id, day__lt=before).delete()


def received_on(*, account_id: int, day: date) -> int:
    """Return the octets that an account received from its upstream on one day (UTC)."""
    rows = UpstreamUsage.objects.filter(account_id=account_id, day=day)
    return int(rows.aggregate(total=Sum("bytes_in"))["total"] or 0)
