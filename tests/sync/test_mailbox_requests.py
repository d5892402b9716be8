"""What an operator asks of one mailbox."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from mailcache.errors import InvalidValue
from mailcache.models import Mailbox
from sync.mailbox_requests import confirm_deletions, sync_mailbox
from sync.models import Checkpoint
from tests.builders import make_account, make_fence, make_mailboxes

pytestmark = pytest.mark.django_db


@pytest.fixture
def inbox() -> Mailbox:
    return make_mailboxes(make_fence(make_account()))[0]


def test_a_mailbox_that_is_left_alone_is_wanted_now(inbox: Mailbox) -> None:
    later = timezone.now() + timedelta(hours=1)
    Checkpoint.objects.create(account_id=inbox.account_id, mailbox=inbox, retry_at=later, failures=3)
    sync_mailbox(mailbox=inbox)
    wanted = Checkpoint.objects.wanted(timezone.now()).get()
    assert (wanted.mailbox, wanted.full_wanted) == (inbox, False)


def test_everything(inbox: Mailbox) -> None:
    sync_mailbox(mailbox=inbox, everything=True)
    assert Checkpoint.objects.wanted(timezone.now()).get().full_wanted


@pytest.mark.parametrize("change", [{"upstream_name": None}, {"selectable": False}, {"label": "Work"}])
def test_only_what_is_upstream(inbox: Mailbox, change: dict[str, object]) -> None:
    for name, value in change.items():
        setattr(inbox, name, value)
    with pytest.raises(InvalidValue, match="no counterpart upstream"):
        sync_mailbox(mailbox=inbox)


def test_held_deletions_are_confirmed(inbox: Mailbox) -> None:
    Checkpoint.objects.create(account_id=inbox.account_id, mailbox=inbox, gone_uids="1:50", gone_seen_at=timezone.now())
    confirm_deletions(mailbox=inbox)
    row = Checkpoint.objects.get()
    assert (row.gone_confirmed, row.wanted_at is not None) == (True, True)


def test_without_held_deletions_there_is_nothing_to_confirm(inbox: Mailbox) -> None:
    Checkpoint.objects.create(account_id=inbox.account_id, mailbox=inbox)
    with pytest.raises(InvalidValue, match="no deletions are held back"):
        confirm_deletions(mailbox=inbox)
    assert not Checkpoint.objects.get().gone_confirmed
