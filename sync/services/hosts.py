"""Upstream hosts: what an operator decides about them."""

from __future__ import annotations

from django.db import transaction

from mailcache.errors import InvalidValue
from sync.models import UpstreamHost


@transaction.atomic
def set_host_limit(*, name: str, connection_limit: int | None) -> UpstreamHost:
    """Limit the connections of the whole fleet to a host; None leaves it to the provider profile."""
    if connection_limit is not None and connection_limit < 1:
        raise InvalidValue("connection limit: must be at least 1")
    defaults = {"connection_limit": connection_limit}
    return UpstreamHost.objects.update_or_create(name=name.strip().lower(), defaults=defaults)[0]
