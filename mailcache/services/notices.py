"""Notices of an account: what an operator should know and what stops nothing, one line for each topic."""

from __future__ import annotations

from django.db import transaction

from mailcache.models import Account


@transaction.atomic
def set_notice(*, account_id: int, topic: str, text: str) -> None:
    """Set the line of one topic in the account's notice; an empty ``text`` removes it."""
    account = Account.objects.select_for_update(no_key=True).only("notice").get(pk=account_id)
    beginning = f"{topic}: "
    lines = [line for line in account.notice.splitlines() if not line.startswith(beginning)]
    if text:
        lines.append(beginning + " ".join(text.split()))
    notice = "\n".join(lines)
    if notice != account.notice:
        Account.objects.filter(pk=account_id).update(notice=notice)
