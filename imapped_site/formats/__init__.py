"""How the console writes dates."""

from __future__ import annotations
