"""Finding messages: the query, who answers which part of it, and the text index.

Asked by ``imapfront`` and ``sync``; knows neither. Builds on ``mailcache``.
"""

from __future__ import annotations
