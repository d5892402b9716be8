"""Answers of scripted upstreams that several tests want."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.fakes.scripted_imap import Answer

MOMENT = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


def offering(*capabilities: bytes) -> dict[str, Answer | list[Answer]]:
    """Return the answers of a server that offers extensions."""
    return {"CAPABILITY": b"* CAPABILITY IMAP4rev1 " + b" ".join(capabilities) + b"\r\n{tag} OK done\r\n"}


def rows(*lines: bytes, end: bytes = b"{tag} OK done\r\n") -> dict[str, Answer | list[Answer]]:
    """Return the answers of a server that answers UID FETCH with lines."""
    return {"UID FETCH": b"".join(line + b"\r\n" for line in lines) + end}
