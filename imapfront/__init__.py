"""The IMAP server that mail clients talk to.

Owns the command grammar, the connection state machine, what a client sees of a mailbox, and the listeners. Knows no
upstream: it answers from ``mailcache`` and changes mail through its services. Imported by ``imapped_site`` only.
"""

from __future__ import annotations
