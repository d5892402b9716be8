"""The console's user pages: creating, roles, passwords, app passwords."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from mailcache.models import AppPassword, AuditEvent, User
from mailcache.services.login import check_login
from tests.builders import PASSWORD, make_account, make_user
from tests.imapped_site.consoles import make_operator

pytestmark = pytest.mark.django_db

STRONG = "a rather long passphrase"


@pytest.fixture
def admin_user() -> User:
    return make_operator("admin@example.test", admin=True)


@pytest.fixture
def admin(client: Client, admin_user: User) -> Client:
    client.force_login(admin_user)
    return client


def page(user: User, name: str = "change") -> str:
    return reverse(f"admin:mailcache_user_{name}", args=[user.pk])


def test_operators_log_in_with_their_email_in_any_case(client: Client) -> None:
    make_operator()
    answer = client.post(reverse("admin:login"), {"username": "Operator@Example.test", "password": PASSWORD})
    assert answer.status_code == 302
    assert AuditEvent.objects.filter(action="console.login", actor="operator@example.test").exists()


def test_a_refused_login_is_audited_without_the_password(client: Client) -> None:
    client.post(reverse("admin:login"), {"username": "nobody@example.test", "password": "guess"})
    event = AuditEvent.objects.get(action="console.login_failed")
    assert (event.actor, event.address) == ("nobody@example.test", "127.0.0.1")
    assert "guess" not in str(event.detail)


def test_people_who_are_no_operators_see_nothing(client: Client) -> None:
    client.force_login(make_user())
    answer = client.get(reverse("admin:mailcache_user_changelist"))
    assert answer.status_code == 302
    assert "login" in answer["Location"]


def test_create(admin: Client) -> None:
    form = {"email": "new@example.test", "password": STRONG, "password_again": STRONG, "is_staff": "on"}
    answer = admin.post(reverse("admin:mailcache_user_add"), form)
    assert answer.status_code == 302
    created = User.objects.get(email="new@example.test")
    assert created.is_staff
    assert not created.is_superuser
    assert check_login(name="new@example.test", password=STRONG) is not None
    assert AuditEvent.objects.get(action="user.create").actor == "admin@example.test"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"password_again": "another"}, "differ"),
        ({"password": "short", "password_again": "short"}, "too short"),
        ({"email": "ADMIN@example.test"}, "exists already"),
        ({"email": "no address"}, "valid email"),
    ],
)
def test_create_refuses(admin: Client, change: dict[str, str], complaint: str) -> None:
    form = {"email": "new@example.test", "password": STRONG, "password_again": STRONG} | change
    answer = admin.post(reverse("admin:mailcache_user_add"), form)
    assert complaint in answer.content.decode()
    assert STRONG not in answer.content.decode()
    assert User.objects.count() == 1


def test_deactivate_and_root_account(admin: Client) -> None:
    user = make_user()
    make_account(user)
    second = make_account(user)
    answer = admin.post(page(user), {"root_account": second.pk})
    assert answer.status_code == 302
    before, user = user.auth_version, User.objects.get(pk=user.pk)
    assert (user.is_active, user.root_account, user.auth_version > before) == (False, second, True)
    actions = set(AuditEvent.objects.values_list("action", flat=True))
    assert {"user.deactivate", "user.root_account"} <= actions


def test_the_root_account_must_be_the_users_own(admin: Client) -> None:
    answer = admin.post(page(make_user()), {"is_active": "on", "root_account": make_account().pk})
    assert "Select a valid choice" in answer.content.decode()


def test_nobody_takes_their_own_rights(admin: Client, admin_user: User) -> None:
    answer = admin.post(page(admin_user), {"is_active": "on"}, follow=True)
    assert "cannot take your own rights" in answer.content.decode()
    admin_user.refresh_from_db()
    assert admin_user.is_superuser


class TestOperatorsWhoAreNoAdministrators:
    @pytest.fixture
    def operator(self, client: Client) -> Client:
        client.force_login(make_operator())
        return client

    def test_create_users_but_no_operators(self, operator: Client) -> None:
        form = {"email": "new@example.test", "password": STRONG, "password_again": STRONG, "is_superuser": "on"}
        operator.post(reverse("admin:mailcache_user_add"), form)
        created = User.objects.get(email="new@example.test")
        assert (created.is_staff, created.is_superuser) == (False, False)

    @pytest.mark.parametrize("name", ["password", "app_password"])
    def test_do_not_touch_administrators(self, operator: Client, admin_user: User, name: str) -> None:
        assert operator.post(page(admin_user, name), {"password": STRONG, "password_again": STRONG}).status_code == 404
        assert operator.post(page(admin_user), {"is_active": ""}).status_code == 403

    def test_do_not_deactivate_administrators(self, operator: Client, admin_user: User) -> None:
        form = {"action": "deactivate", "_selected_action": [admin_user.pk]}
        answer = operator.post(reverse("admin:mailcache_user_changelist"), form, follow=True)
        assert "may not" in answer.content.decode()
        admin_user.refresh_from_db()
        assert admin_user.is_active


def test_deactivate_and_activate_selected(admin: Client) -> None:
    user = make_user()
    url = reverse("admin:mailcache_user_changelist")
    for action, active in (("deactivate", False), ("activate", True)):
        admin.post(url, {"action": action, "_selected_action": [user.pk]})
        user.refresh_from_db()
        assert user.is_active == active


def test_new_password(admin: Client) -> None:
    user = make_user()
    assert "New password for" in admin.get(page(user, "password")).content.decode()
    answer = admin.post(page(user, "password"), {"password": STRONG, "password_again": STRONG})
    assert answer.status_code == 302
    assert check_login(name=user.email, password=STRONG) is not None
    assert check_login(name=user.email, password=PASSWORD) is None


def test_an_app_password_is_shown_once_and_can_be_revoked(admin: Client) -> None:
    user = make_user()
    answer = admin.post(page(user, "app_password"), {"label": "phone"})
    password = answer.context["password"]
    assert password in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    assert check_login(name=user.email, password=password) is not None

    again = admin.post(page(user, "app_password"), {"label": "phone"})
    assert "already" in again.content.decode()

    listed = admin.get(page(user)).content.decode()
    assert "phone" in listed
    assert password not in listed
    admin.post(page(user, "revoke"), {"label": "phone"})
    assert AppPassword.objects.get().revoked_at is not None
    assert check_login(name=user.email, password=password) is None
    refused = admin.post(page(user, "revoke"), {"label": "phone"}, follow=True)
    assert "no valid app password" in refused.content.decode()


def test_buttons_take_post_only(admin: Client, admin_user: User) -> None:
    assert admin.get(page(admin_user, "revoke")).status_code == 405


def test_the_list_costs_the_same_for_any_number(
    admin: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    url = reverse("admin:mailcache_user_changelist")
    for _ in range(3):
        make_account()
    admin.get(url)
    with django_assert_max_num_queries(6):
        admin.get(url)
