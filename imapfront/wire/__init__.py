"""The server's side of IMAP's grammar: commands in, responses out. Pure."""

from __future__ import annotations
