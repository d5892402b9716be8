"""The only door to the ``cryptography`` package: sealed secrets and self-signed certificates."""

from __future__ import annotations
