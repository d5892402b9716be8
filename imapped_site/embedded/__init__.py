"""PostgreSQL and Valkey for a desk, a small household and the tests: the real servers, started by us.

``servers.EmbeddedServers`` is the whole of it; ``python -m imapped_site.embedded exec -- COMMAND`` runs a command with
both servers up. Knows no Django, so that it can work before settings are loaded.
"""

from __future__ import annotations
