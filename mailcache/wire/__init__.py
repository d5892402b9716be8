"""What both IMAP directions share: framing, tokens, strings, names, sets, dates. Pure."""

from __future__ import annotations
