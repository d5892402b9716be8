"""Where an upstream is, who logs in there, and how long anything may take."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

TlsMode = Literal["tls", "starttls", "plain"]
AuthMethod = Literal["login", "plain", "xoauth2", "oauthbearer"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An upstream server. ``ca_file`` is trusted beside the system's authorities."""

    host: str
    port: int
    tls_mode: TlsMode = "tls"
    ca_file: Path | None = None
    server_hostname: str = ""
    """The name or address that the certificate must be for; the host where empty."""

    @property
    def certificate_name(self) -> str:
        """The name that the certificate is checked against."""
        return (self.server_hostname or self.host).rstrip(".")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in, and by which method: the LOGIN command or AUTHENTICATE. For OAuth the secret is the access token."""

    method: AuthMethod
    username: str = field(repr=False)
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Limits in seconds. None can be zero: there is no "for ever" (field note 1).

    ``inactivity`` is the main guard; totals are generous, because providers throttle (field notes 3, 4, 10).
    """

    connect: float = 30.0
    tls: float = 30.0
    greeting: float = 60.0
    login: float = 180.0
    command: float = 600.0
    inactivity: float = 90.0
    idle: float | None = None
    """How long one IDLE lasts before it is renewed; as long as the profile says where None."""

    def __post_init__(self) -> None:
        for limit in dataclasses.fields(self):
            seconds = getattr(self, limit.name)
            if seconds is not None and not 0 < seconds <= 86_400:
                raise ValueError(f"the deadline {limit.name} must be above 0 and at most a day")
