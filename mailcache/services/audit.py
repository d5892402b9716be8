"""The audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mailcache.models import AuditEvent


def record_event(
    *,
    action: str,
    actor: str,
    user_id: int | None = None,
    account_id: int | None = None,
    address: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Write down who did what, from where. ``detail`` must hold no secret."""
    return AuditEvent.objects.create(
        action=action, actor=actor, user_id=user_id, account_id=account_id, address=address, detail=dict(detail or {})
    )
