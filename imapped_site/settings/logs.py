"""Logging: readable at the desk, one JSON object per line in production, redacted always."""

from __future__ import annotations

from typing import Any

from imapped_site.settings.core import APP_ENV
from imapped_site.settings.current import read

__all__ = ["LOGGING", "LOG_LEVEL"]

_LEVELS = {
    "trace": "DEBUG",
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
}

LOG_LEVEL = read.text("LOG_LEVEL", "info", choices=(*_LEVELS, *(level.upper() for level in _LEVELS))).lower()
_level = _LEVELS[LOG_LEVEL]
# At DEBUG these tell every statement, packet or heartbeat: noise, and often content of mail.
_quiet_level = "INFO" if _level == "DEBUG" else _level

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "redact": {"()": "imapped_site.logs.RedactingFilter"},
        "routine": {"()": "imapped_site.logs.RoutineFilter"},
    },
    "formatters": {
        "desk": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s", "datefmt": "%H:%M:%S"},
        "json": {"()": "imapped_site.logs.JsonFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["redact"],
            "formatter": "json" if APP_ENV == "production" else "desk",
        }
    },
    "root": {"handlers": ["stderr"], "level": _level},
    "loggers": {
        "django": {"handlers": [], "level": _quiet_level, "propagate": True},
        "django.server": {"handlers": [], "level": _quiet_level, "propagate": True},
        "asyncio": {"level": _quiet_level},
        "boto3": {"level": _quiet_level},
        "botocore": {"level": _quiet_level},
        "kombu": {"level": _quiet_level},
        "amqp": {"level": _quiet_level},
        # A line for every message of the queue says nothing that our own lines do not say better.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": _quiet_level, "filters": ["routine"]},
        "psycopg": {"level": _quiet_level},
        "psycopg.pool": {"level": "WARNING"},  # at INFO it tells of every loan of a connection
        "uvicorn": {"handlers": [], "level": _quiet_level, "propagate": True},
        "uvicorn.access": {"handlers": [], "level": "WARNING", "propagate": True},
    },
}
