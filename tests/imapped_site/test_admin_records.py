"""The console's pages that are looked at only."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from mailcache.models import Account, AppPassword, AuditEvent, Content, Listing, Mailbox, Message, Mutation, User
from mailcache.services.audit import record_event
from mailcache.services.flags import store_flags
from mailcache.wire.number_set import NumberSet
from sync.models import STALE_AFTER, SyncKind, SyncOutcome, SyncRun
from tests.builders import (
    add_bodies,
    add_skeleton,
    make_account,
    make_fence,
    make_mailboxes,
    message_bytes,
    skeleton_row,
)
from tests.imapped_site.consoles import make_operator
from tests.mailcache.deltas import adding

pytestmark = pytest.mark.django_db

PAGES = {"mailcache_mailbox": Mailbox, "mailcache_mutation": Mutation, "sync_syncrun": SyncRun,
         "mailcache_auditevent": AuditEvent}  # fmt: skip


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


@pytest.fixture
def mail() -> None:
    """Three accounts with mail, a queued change, a run and an audit event each."""
    for _ in range(3):
        account = make_account()
        fence = make_fence(account)
        inbox = make_mailboxes(fence)[0]
        body = message_bytes(subject="Strictly private")
        add_skeleton(fence, inbox, [skeleton_row(1, size=len(body))])
        add_bodies(fence, inbox, {1: body})
        change = adding("\\Seen", "$Label")
        store_flags(user_id=account.user_id, mailbox_id=inbox.pk, uids=NumberSet.from_numbers([1]), store=change)
        SyncRun.objects.create(account=account, kind=SyncKind.FULL, messages_added=7)
        record_event(action="account.pause", actor="x", user_id=account.user_id, account_id=account.pk)


@pytest.mark.usefixtures("mail")
@pytest.mark.parametrize("page", PAGES)
class TestPages:
    def test_list_costs_the_same_for_any_number(
        self, operator: Client, page: str, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_max_num_queries(7):
            text = operator.get(reverse(f"admin:{page}_changelist")).content.decode()
        assert text.count("account") >= 3
        assert "private" not in text

    def test_row_is_shown_and_not_changed(self, operator: Client, page: str) -> None:
        row = PAGES[page]._default_manager.order_by("pk").last()
        assert row is not None
        url = reverse(f"admin:{page}_change", args=[row.pk])
        text = operator.get(url).content.decode()
        assert "private" not in text
        assert 'name="_save"' not in text
        assert operator.post(url, {}).status_code == 403
        assert operator.post(reverse(f"admin:{page}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
        assert operator.get(reverse(f"admin:{page}_add")).status_code == 403

    def test_search(self, operator: Client, page: str) -> None:
        address = Account.objects.order_by("pk").values_list("address", flat=True)[0]
        text = operator.get(reverse(f"admin:{page}_changelist"), {"q": address}).content.decode()
        assert "1 result" in text


def test_no_page_shows_messages_or_secrets() -> None:
    for model in (Message, Content, Listing, AppPassword, Group):
        assert not admin.site.is_registered(model)
    assert admin.site.is_registered(User)


def test_a_mutation_tells_what_it_changes(operator: Client, mail: None) -> None:
    text = operator.get(reverse("admin:mailcache_mutation_changelist")).content.decode()
    assert text.count("+(\\Seen $Label)") == 3


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "running"),
        ({"heartbeat_at": timezone.now() - STALE_AFTER - timedelta(minutes=1)}, "no sign of life"),
        ({"outcome": SyncOutcome.FAILED, "finished_at": timezone.now(), "reason": "timed out"}, "timed out"),
    ],
)
def test_a_run_tells_how_it_goes(operator: Client, fields: dict[str, object], text: str) -> None:
    SyncRun.objects.create(account=make_account(), kind=SyncKind.FULL, messages_added=7, **fields)
    shown = operator.get(reverse("admin:sync_syncrun_changelist")).content.decode()
    assert text in shown
    assert "7 new" in shown


def test_moments_are_shown_as_iso_8601(operator: Client) -> None:
    event = record_event(action="account.pause", actor="x")
    shown = operator.get(reverse("admin:mailcache_auditevent_changelist")).content.decode()
    assert event.at.strftime("%Y-%m-%d %H:%M:%S") in shown
