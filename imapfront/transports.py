"""What a connection asks of its transport and its socket, beyond reading and writing."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import Transport

_HANDSHAKE_SECONDS = 30.0
# Linux only.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


async def encrypted(transport: Transport, protocol: asyncio.Protocol, context: ssl.SSLContext) -> Transport:
    """Take the client's handshake, and return the transport over it; raises ``ConnectionError`` or ``SSLError``.

    uvloop never tells the protocol of a connection that is lost amid the handshake: whoever calls has to.
    """
    over_tls = await asyncio.get_running_loop().start_tls(
        transport, protocol, context, server_side=True, ssl_handshake_timeout=_HANDSHAKE_SECONDS
    )
    if over_tls is None or over_tls.is_closing():
        raise ConnectionResetError("the connection was lost amid the TLS handshake")
    return over_tls


def acknowledge(transport: Transport) -> None:
    """Send the ACK now. A client without TCP_NODELAY (imaplib) waits for it before it sends what ends a literal."""
    if not transport.is_closing() and _QUICKACK is not None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


def is_local(peer: str) -> bool:
    """Tell whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return peer == ""
