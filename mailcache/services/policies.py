"""What an operator decides about an account, besides where its upstream is."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction

from mailcache.errors import InvalidValue
from mailcache.models import Account, BodyPolicy

_FIELDS = ("body_policy", "body_days", "daily_bytes", "connection_limit", "profile", "quota_bytes")


@dataclass(frozen=True, slots=True)
class Policies:
    """How much of an account is fetched, and how. None and an empty profile mean: as the setting or profile says."""

    body_policy: BodyPolicy
    body_days: int
    daily_bytes: int | None
    connection_limit: int | None
    profile: str
    quota_bytes: int

    @classmethod
    def default(cls) -> Policies:
        """Return those of a new account."""
        return cls.of(Account())

    @classmethod
    def of(cls, account: Account) -> Policies:
        """Return the policies of an account."""
        return cls(*(getattr(account, name) for name in _FIELDS))

    def changes(self, before: Policies) -> dict[str, str]:
        """Return what differs from ``before``, as text by name."""
        return {
            name: "" if getattr(self, name) is None else str(getattr(self, name))
            for name in _FIELDS
            if getattr(self, name) != getattr(before, name)
        }


@transaction.atomic
def change_policies(*, account_id: int, policies: Policies) -> None:
    """Store the policies of an account; raises ``InvalidValue``."""
    account = Account.objects.select_for_update(no_key=True).get(pk=account_id)
    for name in _FIELDS:
        setattr(account, name, getattr(policies, name))
    try:
        account.clean_fields(exclude=["sealed_secret"])
    except ValidationError as error:
        texts = (f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
        raise InvalidValue("; ".join(texts)) from None
    if policies.connection_limit == 0:
        raise InvalidValue("connection limit: an account without a connection is one that is paused")
    if policies.quota_bytes < 0:
        raise InvalidValue("quota: cannot be negative")
    account.save(update_fields=_FIELDS)


@transaction.atomic
def forget_latches(*, account_id: int) -> None:
    """Let capabilities be tried again that the upstream had advertised and refused."""
    Account.objects.filter(pk=account_id).update(latches=[], latched_at=None)
