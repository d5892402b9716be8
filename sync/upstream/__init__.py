"""The upstream IMAP wire: the only place that talks to other people's servers.

``protocol`` holds all of the protocol without any I/O; ``blocking`` and ``aio`` are two thin drivers with the same
methods. Knows nothing of accounts, mailboxes and messages as the mirror stores them. Imported by ``sync``, and by
``imapped_site`` for testing a connection.
"""

from __future__ import annotations
