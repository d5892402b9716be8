"""The page of upstream hosts: connections of the whole fleet."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailcache.models import AuditEvent
from sync.models import ConnectionSlot, Purpose, UpstreamHost
from tests.builders import make_account
from tests.imapped_site.consoles import make_operator

pytestmark = pytest.mark.django_db

ADD = "admin:sync_upstreamhost_add"
LIST = "admin:sync_upstreamhost_changelist"


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


def change(host: UpstreamHost) -> str:
    return reverse("admin:sync_upstreamhost_change", args=[host.pk])


def test_a_limit_is_set_changed_and_taken_back(operator: Client) -> None:
    form = {"name": "IMAP.Example.test", "connection_limit": "20"}
    assert operator.post(reverse(ADD), form).status_code == 302
    host = UpstreamHost.objects.get()
    assert (host.name, host.connection_limit) == ("imap.example.test", 20)
    operator.post(change(host), {"connection_limit": ""})
    host.refresh_from_db()
    assert host.connection_limit is None
    events = AuditEvent.objects.filter(action="host.limit").order_by("pk")
    assert [event.detail["connections"] for event in events] == ["20", ""]


def test_no_connections_at_all_is_refused(operator: Client) -> None:
    operator.post(reverse(ADD), {"name": "imap.example.test", "connection_limit": "0"})
    assert not UpstreamHost.objects.exists()


def test_what_is_in_use(operator: Client) -> None:
    now = timezone.now()
    host = UpstreamHost.objects.create(name="imap.example.test", slow_until=now + timedelta(minutes=10, seconds=5))
    for _ in range(3):
        ConnectionSlot.objects.create(
            account=make_account(), host=host.name, purpose=Purpose.SYNC, holder="w",
            expires_at=now + timedelta(seconds=30),
        )  # fmt: skip
    for url in (reverse(LIST), change(host)):
        text = operator.get(url).content.decode()
        assert "ends in 10 min" in text
        assert ">3<" in text


def test_only_for_operators(client: Client) -> None:
    client.force_login(make_account().user)
    assert client.get(reverse(LIST)).status_code == 302
    assert client.post(reverse(ADD), {"name": "imap.example.test"}).status_code == 302
    assert not UpstreamHost.objects.exists()
