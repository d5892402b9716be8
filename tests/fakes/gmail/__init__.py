"""A fake Gmail that speaks IMAP with X-GM-EXT-1: labels as mailboxes, shared flags, EXPUNGE that takes a label off.

Written from Google's description of its IMAP extensions and the field notes (section 2, rows 1-9), not from imapped's
own code. What Google does not tell is decided in the docstrings of ``GmailAccount``.
"""

from __future__ import annotations

from tests.fakes.gmail.account import GmailAccount
from tests.fakes.gmail.mail import ENGLISH, GERMAN, Place
from tests.fakes.gmail.server import PASSWORD, USER, FakeGmail

__all__ = ["ENGLISH", "GERMAN", "PASSWORD", "USER", "FakeGmail", "GmailAccount", "Place"]
