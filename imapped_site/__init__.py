"""The composition root: settings, Celery, URLs, the operator console, ``manage.py run`` and the embedded servers.

Imports every other package; none of them imports it.
"""

from __future__ import annotations
