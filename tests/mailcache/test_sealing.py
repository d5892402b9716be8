"""Sealed secrets: bound to their account, readable with the right key only, rotated without loss."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import override_settings

from mailcache.errors import SealBroken
from mailcache.models import Account, SealingKey
from mailcache.services import sealed_secrets
from mailcache.services.sealed_secrets import open_secret, rotate_sealing_key
from tests.builders import SECRET, make_account

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_keys() -> None:
    sealed_secrets._derived.clear()


def test_the_row_does_not_hold_the_secret() -> None:
    account = Account.objects.get(pk=make_account().pk)

    assert SECRET.encode() not in bytes(account.sealed_secret)
    assert open_secret(account) == SECRET


def test_the_same_secret_seals_differently_each_time() -> None:
    assert bytes(make_account().sealed_secret) != bytes(make_account().sealed_secret)


def test_a_secret_copied_into_another_account_does_not_open() -> None:
    mine, yours = make_account(), make_account()
    mine.sealed_secret = yours.sealed_secret

    with pytest.raises(SealBroken):
        open_secret(mine)


@pytest.mark.parametrize("position", [0, 3, 8, 20, -1])
def test_an_altered_secret_does_not_open(position: int) -> None:
    account = make_account()
    altered = bytearray(account.sealed_secret)
    altered[position] ^= 1
    account.sealed_secret = bytes(altered)

    with pytest.raises(SealBroken):
        open_secret(account)


def test_another_master_key_is_told_apart_from_a_broken_row() -> None:
    account = make_account()
    sealed_secrets._derived.clear()

    with (
        override_settings(ENCRYPTION_MASTER_KEY="another" * 8),
        pytest.raises(SealBroken, match="ENCRYPTION_MASTER_KEY"),
    ):
        open_secret(account)


def test_rotation_seals_everything_anew() -> None:
    account = make_account()
    old_master = settings.ENCRYPTION_MASTER_KEY
    sealed_secrets._derived.clear()
    with override_settings(ENCRYPTION_MASTER_KEY="new" * 16, ENCRYPTION_PREVIOUS_MASTER_KEY=old_master):
        assert rotate_sealing_key() == Account.objects.count()
    sealed_secrets._derived.clear()

    with override_settings(ENCRYPTION_MASTER_KEY="new" * 16, ENCRYPTION_PREVIOUS_MASTER_KEY=""):
        assert open_secret(Account.objects.get(pk=account.pk)) == SECRET
    assert SealingKey.objects.count() == 2
