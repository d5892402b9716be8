"""The account page: policies, and what it shows of the upstream."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from mailcache.models import Account, AuditEvent, BodyPolicy
from mailcache.services.policies import Policies
from sync.models import ConnectionSlot, Purpose, UpstreamUsage
from sync.profiles import BY_NAME
from tests.builders import make_account, make_user
from tests.imapped_site.consoles import make_operator, policy_fields

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_operator())
    return client


def page(account: Account, name: str = "change") -> str:
    return reverse(f"admin:mailcache_account_{name}", args=[account.pk])


def shown(operator: Client, account: Account) -> str:
    """Return the page without line breaks, so that sentences can be looked for."""
    return " ".join(operator.get(page(account)).content.decode().split())


def server_of(account: Account) -> dict[str, str]:
    return {
        "host": account.host, "port": str(account.port), "tls_mode": account.tls_mode,
        "auth_method": account.auth_method, "username": account.username, "secret": "",
    }  # fmt: skip


class TestPolicies:
    def test_are_changed_audited_and_take_effect(self, operator: Client) -> None:
        account = make_account()
        Account.objects.update(next_sync_at=timezone.now() + timedelta(hours=1))
        changed = policy_fields(account, body_policy="recent", body_days="7", daily_bytes="5000", profile="gmail")
        assert operator.post(page(account), server_of(account) | changed).status_code == 302
        account.refresh_from_db()
        assert Policies.of(account) == Policies(BodyPolicy.RECENT, 7, 5000, None, "gmail", account.quota_bytes)
        assert account.next_sync_at <= timezone.now()
        event = AuditEvent.objects.get(action="account.policies")
        assert event.detail["changes"] == "body_policy: recent, body_days: 7, daily_bytes: 5000, profile: gmail"
        assert not AuditEvent.objects.filter(action="account.change").exists()

    def test_of_a_new_account(self, operator: Client) -> None:
        form = {
            "user": str(make_user().pk), "address": "me@example.test", "host": "imap.example.test", "port": "993",
            "tls_mode": "tls", "auth_method": "login", "secret": "x", **policy_fields(connection_limit="3"),
        }  # fmt: skip
        assert operator.post(reverse("admin:mailcache_account_add"), form).status_code == 302
        assert Account.objects.get().connection_limit == 3

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            ({"connection_limit": "0"}, "an account without a connection"),
            ({"profile": "no such"}, "Select a valid choice"),
            ({"body_days": "-1"}, "greater than or equal to 0"),
        ],
    )
    def test_refusals(self, operator: Client, change: dict[str, str], complaint: str) -> None:
        account = make_account()
        form = server_of(account) | policy_fields(account, **change)
        assert complaint in operator.post(page(account), form, follow=True).content.decode()
        account.refresh_from_db()
        assert Policies.of(account) == Policies.default()


class TestProfile:
    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({}, 'any IMAP server <span class="quiet">(nothing else fits)'),
            ({"host": "imap.gmail.com"}, 'Gmail <span class="quiet">(by its host)'),
            ({"detected_profile": "zimbra"}, 'Zimbra <span class="quiet">(by what it says it is)'),
            ({"profile": "icloud"}, 'iCloud <span class="quiet">(chosen by an operator)'),
        ],
    )
    def test_in_use(self, operator: Client, change: dict[str, str], text: str) -> None:
        account = make_account()
        Account.objects.update(**change)
        assert text in shown(operator, account)

    def test_what_it_masks_and_what_automatic_means(self, operator: Client) -> None:
        account = make_account()
        Account.objects.update(detected_profile="zimbra")
        text = shown(operator, account)
        assert "<dd>QRESYNC</dd>" in text
        assert "automatic: Zimbra</option>" in text
        assert all(profile.title in text for profile in BY_NAME.values() if "&" not in profile.title)


class TestLatches:
    def test_are_shown_and_forgotten(self, operator: Client) -> None:
        account = make_account()
        Account.objects.update(latches=["IDLE", "COMPRESS=DEFLATE"], latched_at=timezone.now())
        assert "COMPRESS=DEFLATE IDLE" in shown(operator, account)
        answer = operator.post(page(account, "forget_latches"), follow=True).content.decode()
        assert "will be tried again" in answer
        account.refresh_from_db()
        assert account.latches == []
        assert AuditEvent.objects.get(action="account.forget_latches").detail == {"latches": "IDLE COMPRESS=DEFLATE"}
        assert "Forget</button>" not in shown(operator, account)

    def test_are_forgotten_by_operators_of_this_site_only(self, client: Client) -> None:
        account = make_account()
        Account.objects.update(latches=["IDLE"])
        client.force_login(account.user)
        client.post(page(account, "forget_latches"))
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(make_operator())
        assert browser.post(page(account, "forget_latches")).status_code == 403
        account.refresh_from_db()
        assert account.latches == ["IDLE"]


def test_notice_slow_lane_and_connections(operator: Client) -> None:
    account = make_account()
    now = timezone.now()
    Account.objects.update(
        notice="connections: too many\nother: a <thing>", slow_until=now + timedelta(minutes=9, seconds=9)
    )
    for purpose, holder, lasts in ((Purpose.WATCH, "host:1", 30), (Purpose.SYNC, "host:2", -1)):
        ConnectionSlot.objects.create(
            account=account, host=account.host, purpose=purpose, holder=holder,
            expires_at=now + timedelta(seconds=lasts),
        )  # fmt: skip
    text = shown(operator, account)
    for part in ("connections: too many<br>other: a &lt;thing&gt;", "ends in 9 min", "1 of 2 in use", "by host:1"):
        assert part in text
    assert "host:2" not in text


def test_usage(operator: Client) -> None:
    account = make_account()
    today = timezone.now().date()
    for days, kind, commands in ((0, "UID FETCH", 4), (29, "UID FETCH", 100), (30, "UID FETCH", 1000), (0, "IDLE", 1)):
        UpstreamUsage.objects.create(
            account=account, day=today - timedelta(days=days), kind=kind, commands=commands,
            bytes_in=commands * 1000, bytes_out=commands * 500,
        )  # fmt: skip
    UpstreamUsage.objects.create(account=make_account(), day=today, kind="NOOP", commands=7)
    text = shown(operator, account)
    assert "<dd>5 commands, 7.5 kB</dd>" in text
    assert "<dd>105 commands, 157.5 kB</dd>" in text
    assert text.index("<td>UID FETCH</td>") < text.index("<td>IDLE</td>")
    assert "NOOP" not in text


def test_lag(operator: Client) -> None:
    account = make_account()
    assert "never in step, 0 s" in shown(operator, account)
    Account.objects.update(last_synced_at=timezone.now() - timedelta(minutes=7))
    assert "<dt>Lag</dt><dd>7 min" in shown(operator, account)
    assert "7 min" in operator.get(reverse("admin:mailcache_account_changelist")).content.decode()
