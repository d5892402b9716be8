"""Who uses the console in tests."""

from __future__ import annotations

from mailcache.models import Account, User
from mailcache.services import users
from mailcache.services.policies import Policies
from tests.builders import PASSWORD


def policy_fields(account: Account | None = None, **changed: str) -> dict[str, str]:
    """Return what a browser sends for the policies of an account, a new one unless given, with some changed."""
    policies = Policies.of(account) if account else Policies.default()
    fields = {name: getattr(policies, name) for name in policies.__slots__}
    return {name: "" if value is None else str(value) for name, value in fields.items()} | changed


def make_operator(email: str = "operator@example.test", *, admin: bool = False) -> User:
    """Create somebody who may use the console; an administrator if asked for."""
    return users.create_user(email=email, password=PASSWORD, is_staff=True, is_superuser=admin)
