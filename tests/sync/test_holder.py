"""The WATCH leases of one watcher process."""

from __future__ import annotations

import pytest
from django.db import OperationalError

from mailcache.models import LeaseKind
from mailcache.services import leases
from sync.holder import WatchLeases
from tests.builders import make_account

pytestmark = pytest.mark.django_db


def test_what_could_not_be_given_back_is_not_kept_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    account = make_account()
    held = WatchLeases("one")
    assert held.take().keys() == {account.pk}

    def fail(**_: object) -> None:
        raise OperationalError("the database has gone away")

    with monkeypatch.context() as patch:
        patch.setattr("sync.holder.leases.release_all", fail)
        with pytest.raises(OperationalError):
            held.set_aside(account.pk, 60.0)
    assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="another") is None
    held.renew()
    assert leases.acquire(account_id=account.pk, kind=LeaseKind.WATCH, holder="another") is not None
