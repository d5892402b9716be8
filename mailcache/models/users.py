"""Who may log in: ``User`` and their further passwords."""

from __future__ import annotations

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    """Finds users by e-mail address without regard to case. Users are created by ``services.users``."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(email__iexact=username or "")


class User(AbstractBaseUser, PermissionsMixin):
    """A person who reads mail through imapped, or operates it; the e-mail address is the login name."""

    email = models.EmailField(max_length=254)
    is_active = models.BooleanField("may log in", default=True)
    is_staff = models.BooleanField("operator", default=False, help_text="May use this console.")
    auth_version = models.PositiveIntegerField(
        default=1, help_text="Raised by every change that must end cached logins and open sessions."
    )
    root_account = models.ForeignKey(
        "mailcache.Account",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="The account whose mailboxes stand at the root; the others are under Accounts/.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique")]

    def __str__(self) -> str:
        return self.email


class AppPassword(models.Model):
    """A further password of a user, for one mail client; revocable alone."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="app_passwords")
    label = models.CharField(max_length=100)
    hash = models.CharField(max_length=255, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "label"], name="app_password_label_unique")]

    def __str__(self) -> str:
        return f"{self.user}: {self.label}"
