"""What log lines look like, and what never stands in them."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from imapped_site.logs import JsonFormatter, RedactingFilter, redact


@pytest.mark.parametrize(
    "text",
    [
        "connecting to postgresql://imapped:hush@db/mail",
        "password=hush and more",
        "{'password': 'hush', 'port': 993}",
        'secret: "hush",',
        "Authorization: hush",
        "a1 LOGIN fred@example.test hush",
        'a1 LOGIN "fred" "hush\\"hush"',
        "a1 AUTHENTICATE PLAIN hush",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert "hush" not in redact(text)
    assert "***" in redact(text)


@pytest.mark.parametrize("text", ["LOGIN refused", "3 messages from fred@example.test", "token"])
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


def test_json_lines_hold_extra_fields_and_redacted_exceptions() -> None:
    try:
        raise ValueError("password=hush")
    except ValueError:
        record = logging.LogRecord(
            "sync", logging.ERROR, __file__, 1, "account %d: token=%s", (7, "hush"), sys.exc_info()
        )
    record.account_id = 7
    assert RedactingFilter().filter(record)
    entry = json.loads(JsonFormatter().format(record))
    assert (entry["level"], entry["logger"], entry["account_id"]) == ("error", "sync", 7)
    assert entry["message"] == "account 7: token=***"
    assert "ValueError: password=***" in entry["exception"]
    assert "hush" not in json.dumps(entry)
