"""``Account``: one upstream mailbox owner and how to reach it."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class TlsMode(models.TextChoices):
    """How the connection to the upstream is protected."""

    TLS = "tls", "TLS from the first byte"
    STARTTLS = "starttls", "STARTTLS"
    PLAIN = "plain", "none (plaintext)"


class AuthMethod(models.TextChoices):
    """How imapped proves to the upstream who it is."""

    LOGIN = "login", "LOGIN"
    PLAIN = "plain", "AUTHENTICATE PLAIN"
    XOAUTH2 = "xoauth2", "OAuth 2.0 (XOAUTH2)"
    OAUTHBEARER = "oauthbearer", "OAuth 2.0 (OAUTHBEARER)"


OAUTH_METHODS = frozenset({AuthMethod.XOAUTH2, AuthMethod.OAUTHBEARER})
"""Methods that log in with an access token instead of a password."""


class AccountState(models.TextChoices):
    """Whether the account is being kept in step, and if not, why."""

    ACTIVE = "active", "active"
    FAILING = "failing", "failing, retried"
    AUTH_FAILED = "auth_failed", "credentials refused"


class BodyPolicy(models.TextChoices):
    """Which messages' bytes are fetched ahead of being asked for."""

    ALL = "all", "everything"
    RECENT = "recent", "everything younger than some days"
    ON_DEMAND = "on_demand", "only what somebody reads"


class AccountQuerySet(models.QuerySet["Account"]):
    """Named reads of accounts."""

    def of_user(self, user_id: int) -> AccountQuerySet:
        """Accounts that belong to this user."""
        return self.filter(user_id=user_id)

    def replayable(self) -> AccountQuerySet:
        """Accounts whose local changes may be replayed: not paused, and credentials not known to be refused."""
        return self.filter(replay_paused=False, user__is_active=True).exclude(state=AccountState.AUTH_FAILED)

    def syncable(self) -> AccountQuerySet:
        """Accounts that a sync may work on: not paused, and credentials not known to be refused."""
        return self.filter(sync_paused=False, user__is_active=True).exclude(state=AccountState.AUTH_FAILED)


def _default_quota() -> int:
    return int(settings.DEFAULT_ACCOUNT_QUOTA_BYTES)


class Account(models.Model):
    """One upstream mailbox owner: address, server, sealed credentials, state and policies."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="accounts")
    address = models.EmailField("e-mail address", max_length=254)
    display_name = models.CharField(max_length=200, blank=True)

    host = models.CharField("upstream host", max_length=253)
    port = models.PositiveIntegerField("upstream port", default=993)
    tls_mode = models.CharField("TLS mode", max_length=10, choices=TlsMode, default=TlsMode.TLS)
    auth_method = models.CharField(max_length=20, choices=AuthMethod, default=AuthMethod.LOGIN)
    username = models.CharField("upstream user name", max_length=254)
    sealed_secret = models.BinaryField(editable=False)

    state = models.CharField(max_length=20, choices=AccountState, default=AccountState.ACTIVE, editable=False)
    state_reason = models.TextField(blank=True, editable=False)
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="Failed runs in a row; sets the next delay."
    )
    next_sync_at = models.DateTimeField(default=timezone.now, editable=False)
    next_audit_at = models.DateTimeField(
        default=timezone.now, editable=False, help_text="When one of its mailboxes is next compared by checksum."
    )
    last_synced_at = models.DateTimeField(null=True, editable=False)
    sync_paused = models.BooleanField(default=False)
    replay_paused = models.BooleanField(default=False)
    replay_failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="Replays in a row that found no way to the upstream."
    )
    next_replay_at = models.DateTimeField(
        null=True, editable=False, help_text="Replay leaves the upstream alone until then."
    )
    replay_reason = models.TextField(blank=True, editable=False)
    upstream_away = models.BooleanField(
        default=False, editable=False, help_text="Replay found nobody there: watchers knock until somebody answers."
    )

    quota_bytes = models.BigIntegerField(default=_default_quota)
    used_bytes = models.BigIntegerField(default=0, editable=False)
    body_policy = models.CharField(max_length=10, choices=BodyPolicy, default=BodyPolicy.ALL)
    body_days = models.PositiveIntegerField(
        default=30, help_text="For the policy of some days: bodies of older messages are fetched when somebody reads."
    )
    daily_bytes = models.BigIntegerField(
        null=True, blank=True, help_text="Octets of bodies to fetch ahead per day (UTC). Empty: as its profile says."
    )
    connection_limit = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Connections to the upstream. Empty: UPSTREAM_CONNECTION_LIMIT_PER_ACCOUNT."
    )
    profile = models.CharField(
        "provider profile", max_length=50, blank=True, help_text="Empty: chosen by the host, or by what it says it is."
    )
    detected_profile = models.CharField(
        max_length=50, blank=True, editable=False, help_text="What the upstream said it is when it was last asked."
    )
    latches = ArrayField(
        models.TextField(),
        default=list,
        blank=True,
        editable=False,
        help_text="Capabilities that the upstream advertised and then refused: not tried again.",
    )
    latched_at = models.DateTimeField(null=True, editable=False, help_text="When the first of the latches was set.")
    crowded_limit = models.PositiveSmallIntegerField(
        null=True, editable=False, help_text="Connections that the upstream still allowed when it refused one more."
    )
    crowded_until = models.DateTimeField(
        null=True, editable=False, help_text="The account makes do with so few connections until then."
    )
    slow_until = models.DateTimeField(
        null=True, editable=False, help_text="It kept a worker waiting: synced in the slow lane until then."
    )
    notice = models.TextField(
        blank=True, editable=False, help_text="Something that an operator should know, which stops nothing."
    )
    last_uidvalidity = models.BigIntegerField(
        default=0, editable=False, help_text="The largest UIDVALIDITY given to a mailbox of this account."
    )
    settlements = models.BigIntegerField(
        default=0, editable=False, help_text="Counts settled mutations: tells which reads of the upstream came after."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = AccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "address"], name="account_address_unique"),
            models.CheckConstraint(condition=models.Q(port__range=(1, 65535)), name="account_port_range"),
            models.CheckConstraint(condition=models.Q(tls_mode__in=TlsMode.values), name="account_tls_mode"),
            models.CheckConstraint(condition=models.Q(auth_method__in=AuthMethod.values), name="account_auth_method"),
            models.CheckConstraint(condition=models.Q(state__in=AccountState.values), name="account_state"),
            models.CheckConstraint(condition=models.Q(body_policy__in=BodyPolicy.values), name="account_body_policy"),
            models.CheckConstraint(condition=models.Q(used_bytes__gte=0), name="account_used_bytes_positive"),
        ]
        indexes = [
            models.Index(fields=["next_sync_at"], name="account_next_sync"),
            models.Index(fields=["next_audit_at"], name="account_next_audit"),
            models.Index(fields=["host"], name="account_away", condition=models.Q(upstream_away=True)),
        ]

    def __str__(self) -> str:
        return self.address
