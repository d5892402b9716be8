"""Keeps the mirror and the upstream IMAP servers in agreement.

Owns the upstream client, the plan of a sync, leases, checkpoints, tasks and the watcher. Knows no mail client: it
changes mail through the services of ``mailcache``. Imported by ``imapped_site`` only.
"""

from __future__ import annotations
