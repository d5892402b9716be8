"""Everything that changes the mirror: one verb per function, keyword-only, one transaction each."""

from __future__ import annotations
