"""The client side of IMAP as generators that ask for I/O. Pure: no sockets, no clock, no asyncio, no Django.

A generator yields requests (``requests.py``) and is sent what came of them; whoever drives it does the I/O. Every
command of ``blocking.BlockingClient`` and ``aio.AsyncClient`` is one such generator.
"""

from __future__ import annotations
