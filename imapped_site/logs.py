"""Log formatting: JSON lines for machines, and a filter that keeps secrets out of every log."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime

_QUOTED_OR_WORD = r"(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,;)}]+)"
_SECRETS = (
    # user information in URLs
    (re.compile(r"(?<=://)[^\s/@]+@"), "***@"),
    # password=..., secret: ..., token="..."
    (
        re.compile(
            r"(?i)\b(pass(?:word|wd)?|secret|token|authorization|api[_-]?key)(['\"]?\s*[:=]\s*)" + _QUOTED_OR_WORD
        ),
        r"\1\2***",
    ),
    # IMAP: tag LOGIN user password, tag AUTHENTICATE mechanism initial-response
    (re.compile(rf"\b(LOGIN\s+{_QUOTED_OR_WORD}\s+){_QUOTED_OR_WORD}"), r"\1***"),
    (re.compile(r"\b(AUTHENTICATE\s+[A-Z0-9-]+\s+)\S+"), r"\1***"),
)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def redact(text: str) -> str:
    """Mask what looks like a credential in *text*."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFilter(logging.Filter):
    """Rewrites a record's message, and what its exception says, with credentials masked."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


class RoutineFilter(logging.Filter):
    """Drops what beat says every few seconds, day and night."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Scheduler: Sending due task")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, process, message, extra fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        entry.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info or record.exc_text:
            entry["exception"] = record.exc_text or self.formatException(record.exc_info or (None, None, None))
        return json.dumps(entry, default=str, ensure_ascii=False)
