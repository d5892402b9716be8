"""The list of an account's parked messages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from imapped_site.admin import parked
from mailcache.models import Account, AuditEvent, Listing
from tests.builders import add_skeleton, make_account, make_fence, make_mailboxes, skeleton_row
from tests.imapped_site.consoles import make_operator

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


@pytest.fixture
def account() -> Account:
    """An account with three parked messages and one that waits for its turn; due in an hour."""
    account = make_account()
    fence = make_fence(account)
    inbox = make_mailboxes(fence)[0]
    add_skeleton(fence, inbox, [skeleton_row(uid, size=uid * 1000) for uid in (1, 2, 3, 4)])
    later = timezone.now() + timedelta(hours=1, seconds=30)
    Listing.objects.filter(uid__lte=3).update(
        parked_reason="the server says <NO>", attempts=2, retry_at=later, header=b"Subject: Strictly private"
    )
    Account.objects.update(next_sync_at=later)
    return account


def page(account: Account) -> str:
    return reverse("admin:mailcache_account_parked", args=[account.pk])


def still_parked() -> set[int]:
    return set(Listing.objects.exclude(parked_reason="").values_list("uid", flat=True))


def test_list(operator: Client, account: Account, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_max_num_queries(6):
        text = operator.get(page(account)).content.decode()
    assert text.count("the server says &lt;NO&gt;") == 3
    for part in ("INBOX", "3.0 kB", "in 1 h", "3 messages"):
        assert part in text
    assert "private" not in text


def test_pages(operator: Client, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parked, "PER_PAGE", 2)
    first = operator.get(page(account)).content.decode()
    second = operator.get(page(account), {"p": "2"}).content.decode()
    assert (first.count("&lt;NO&gt;"), second.count("&lt;NO&gt;")) == (2, 1)
    assert "Page 2 of 2" in second
    assert "Page 2 of 2" in operator.get(page(account), {"p": "99"}).content.decode()
    assert "Page 1 of 2" in operator.get(page(account), {"p": "x"}).content.decode()


def test_retry_selected(operator: Client, account: Account) -> None:
    chosen = Listing.objects.filter(uid__in=[1, 2]).values_list("remote_id", flat=True)
    form = {"remote": [*map(str, chosen), "x"], "chosen": "Retry selected"}
    assert "2 messages will be fetched again" in operator.post(page(account), form, follow=True).content.decode()
    assert still_parked() == {3}
    account.refresh_from_db()
    assert account.next_sync_at <= timezone.now()
    event = AuditEvent.objects.get(action="account.retry_parked")
    assert (event.account, event.detail) == (account, {"messages": "2"})


def test_retry_all(operator: Client, account: Account) -> None:
    operator.post(page(account), {"all": "Retry all"})
    assert still_parked() == set()


def test_retry_of_nothing_writes_nothing(operator: Client, account: Account) -> None:
    operator.post(page(account), {"chosen": "Retry selected"})
    assert still_parked() == {1, 2, 3}
    assert not AuditEvent.objects.filter(action="account.retry_parked").exists()


def test_not_those_of_another_account(operator: Client, account: Account) -> None:
    remote = Listing.objects.filter(uid=1).values_list("remote_id", flat=True)[0]
    operator.post(page(make_account()), {"remote": [str(remote)]})
    assert still_parked() == {1, 2, 3}


def test_not_for_others_and_not_from_another_site(client: Client, account: Account) -> None:
    client.force_login(account.user)
    assert client.post(page(account), {"all": "1"}).status_code == 302
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(make_operator())
    assert browser.post(page(account), {"all": "1"}).status_code == 403
    assert still_parked() == {1, 2, 3}


def test_the_accounts_list_links_to_it(operator: Client, account: Account) -> None:
    text = operator.get(reverse("admin:mailcache_account_changelist")).content.decode()
    assert f'<a href="{page(account)}">3</a>' in text
