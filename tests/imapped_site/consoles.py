"""Who uses the console in tests."""

from __future__ import annotations

from mailcache.models import User
from mailcache.services import users
from tests.builders import PASSWORD


def make_operator(email: str = "operator@example.test", *, admin: bool = False) -> User:
    """Create somebody who may use the console; an administrator if asked for."""
    return users.create_user(email=email, password=PASSWORD, is_staff=True, is_superuser=admin)
