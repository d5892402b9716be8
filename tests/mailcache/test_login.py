"""Who may log in, and what a login opens."""

from __future__ import annotations

import pytest

from mailcache.errors import InvalidValue, NameTaken
from mailcache.services import login, users
from mailcache.services.login import check_login
from tests.builders import PASSWORD, make_account, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _forget_passwords() -> None:
    login._remembered.clear()


def test_name_without_regard_to_case_and_password() -> None:
    user = make_user("Ann@example.test")

    found = check_login(name="ann@EXAMPLE.test", password=PASSWORD)

    assert found is not None
    assert (found.user_id, found.account_id) == (user.pk, None)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann@example.test", "wrong"),
        ("nobody@example.test", PASSWORD),
        ("ann@example.test", ""),
        ("", ""),
        ("\0", "\0"),
    ],
)
def test_refused(name: str, password: str) -> None:
    make_user("ann@example.test")

    assert check_login(name=name, password=password) is None


def test_a_remembered_password_ends_with_a_new_one() -> None:
    user = make_user()
    assert check_login(name=user.email, password=PASSWORD) is not None

    users.set_password(user_id=user.pk, password="another")

    assert check_login(name=user.email, password=PASSWORD) is None
    assert check_login(name=user.email, password="another") is not None


def test_a_disabled_user_is_refused_though_remembered() -> None:
    user = make_user()
    assert check_login(name=user.email, password=PASSWORD) is not None

    users.set_active(user_id=user.pk, active=False)

    assert check_login(name=user.email, password=PASSWORD) is None


def test_app_passwords_work_until_revoked() -> None:
    user = make_user()
    password = users.create_app_password(user_id=user.pk, label="phone")
    assert check_login(name=user.email, password=password) is not None

    users.revoke_app_password(user_id=user.pk, label="phone")

    assert check_login(name=user.email, password=password) is None


def test_a_name_can_be_confined_to_one_account() -> None:
    account = make_account()
    strange = make_account()

    found = check_login(name=f"{account.user}/{account.address}", password=PASSWORD)

    assert found is not None
    assert found.account_id == account.pk
    assert check_login(name=f"{account.user}/{strange.address}", password=PASSWORD) is None


def test_names_are_unique_without_regard_to_case() -> None:
    make_user("ann@example.test")

    with pytest.raises(NameTaken):
        make_user("ANN@example.test")
    with pytest.raises(InvalidValue):
        make_user("no address")
