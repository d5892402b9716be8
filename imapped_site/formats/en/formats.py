"""Dates as ISO 8601 writes them: an operator compares them with logs."""

from __future__ import annotations

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
