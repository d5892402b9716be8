"""Sealed credentials of accounts: which key seals now, which one opens, and rotation."""

from __future__ import annotations

import threading

from django.conf import settings
from django.db import transaction

from mailcache.crypto import sealing
from mailcache.crypto.sealing import DerivedKey
from mailcache.errors import SealBroken
from mailcache.models import Account, OAuthGrant, SealingKey

_derived: dict[int, DerivedKey] = {}
_derived_lock = threading.Lock()


def seal_secret(*, account_id: int, secret: str) -> bytes:
    """Seal a secret of an account with the newest key, which is made on first use."""
    row = SealingKey.objects.order_by("-pk").first() or add_sealing_key()
    return sealing.seal(secret, key=_key(row), key_id=row.pk, belongs_to=_belongs_to(account_id))


def open_secret(account: Account) -> str:
    """Return an account's upstream secret; raises ``SealBroken``."""
    return open_token(account_id=account.pk, sealed=bytes(account.sealed_secret))


def open_token(*, account_id: int, sealed: bytes) -> str:
    """Return what ``seal_secret`` sealed for an account; raises ``SealBroken``."""
    row = SealingKey.objects.filter(pk=sealing.key_id_of(sealed)).first()
    if row is None:
        raise SealBroken(f"a secret of account {account_id} was sealed with a key that is not in this database")
    return sealing.open_sealed(sealed, key=_key(row), belongs_to=_belongs_to(account_id))


@transaction.atomic
def add_sealing_key() -> SealingKey:
    """Make a new sealing key from the configured master key; it seals from now on."""
    salt = sealing.new_salt()
    key = sealing.derive_key(settings.ENCRYPTION_MASTER_KEY, salt)
    return SealingKey.objects.create(salt=salt, check_value=key.check_value)


@transaction.atomic
def rotate_sealing_key() -> int:
    """Seal every secret again with a new key; returns how many.

    With ``ENCRYPTION_PREVIOUS_MASTER_KEY`` set this is also how the master key itself is changed.
    """
    add_sealing_key()
    accounts = list(Account.objects.select_for_update().order_by("pk"))
    for account in accounts:
        account.sealed_secret = seal_secret(account_id=account.pk, secret=open_secret(account))
    Account.objects.bulk_update(accounts, ["sealed_secret"], batch_size=500)
    _seal_grants_again()
    return len(accounts)


def _seal_grants_again() -> None:
    grants = list(OAuthGrant.objects.select_for_update().order_by("pk"))
    for grant in grants:
        token = open_token(account_id=grant.account_id, sealed=bytes(grant.sealed_refresh_token))
        grant.sealed_refresh_token = seal_secret(account_id=grant.account_id, secret=token)
        # Short-lived: the next login fetches another.
        grant.sealed_access_token, grant.access_expires_at = None, None
    fields = ["sealed_refresh_token", "sealed_access_token", "access_expires_at"]
    OAuthGrant.objects.bulk_update(grants, fields, batch_size=500)


def _key(row: SealingKey) -> DerivedKey:
    with _derived_lock:
        key = _derived.get(row.pk)
        if key is None or not sealing.same_check_value(key.check_value, bytes(row.check_value)):
            key = _derived[row.pk] = _derive(row)
        return key


def _derive(row: SealingKey) -> DerivedKey:
    for master_key in (settings.ENCRYPTION_MASTER_KEY, settings.ENCRYPTION_PREVIOUS_MASTER_KEY):
        if master_key:
            key = sealing.derive_key(master_key, bytes(row.salt))
            if sealing.same_check_value(key.check_value, bytes(row.check_value)):
                return key
    raise SealBroken("ENCRYPTION_MASTER_KEY is not the key with which the secrets in this database were sealed")


def _belongs_to(account_id: int) -> bytes:
    return f"account:{account_id}".encode()
