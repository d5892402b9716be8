"""What mail is and every way it may change.

Owns the data model, the services that write it, the journal, the mutation queue, segments of message bytes, sealing of
credentials, MIME parsing and the wire primitives that both IMAP directions share.

Knows no upstream, no client connection and no text index. Imported by ``search``, ``sync``, ``imapfront`` and
``imapped_site``; imports none of them.
"""

from __future__ import annotations
