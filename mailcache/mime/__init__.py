"""Bytes of a message into structure with byte offsets, and into what is served of it. Pure; never raises on bad mail.

The reading of broken mail follows Dovecot's, so that a client sees through imapped what it saw before.
"""

from __future__ import annotations
