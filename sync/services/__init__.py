"""Writes of ``sync``: one verb per function, one transaction each."""

from __future__ import annotations
