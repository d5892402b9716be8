"""Thousands of upstream accounts in one process that log in, open INBOX, and idle.

``python -m tests.fakes.idle_upstream CERTIFICATE KEY`` listens on 127.0.0.1 and prints its port. It speaks
just enough IMAP for that, over TLS. The command ``IDLING`` is answered with the number of those that do.
"""

from __future__ import annotations

import asyncio
import resource
import ssl
import sys
from typing import ClassVar, cast

import uvloop

_CAPABILITIES = b"CAPABILITY IMAP4rev1 IDLE ID"
_ANSWERS = {
    b"CAPABILITY": b"* " + _CAPABILITIES + b"\r\n",
    b"ID": b"* ID NIL\r\n",
    b"EXAMINE": b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n* OK [UIDNEXT 9] ok\r\n",
    b"LOGOUT": b"* BYE bye\r\n",
}


class _Connection(asyncio.Protocol):
    __slots__ = ("_idle_tag", "_transport")
    idling: ClassVar[set[_Connection]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, over TLS
        self._idle_tag = b""
        self._transport.write(b"* OK [" + _CAPABILITIES + b"] ready\r\n")

    def data_received(self, data: bytes) -> None:
        for line in data.splitlines():
            tag, _, rest = line.partition(b" ")
            verb = rest.split(b" ")[0].upper()
            if verb == b"IDLING":
                self._transport.write(b"* IDLING %d\r\n" % len(self.idling))
            elif tag.upper() == b"DONE":
                self.idling.discard(self)
                self._transport.write(self._idle_tag + b" OK done\r\n")
            elif verb == b"IDLE":
                self._idle_tag = tag
                self.idling.add(self)
                self._transport.write(b"+ idling\r\n")
            else:
                self._transport.write(_ANSWERS.get(verb, b"") + tag + b" OK done\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self.idling.discard(self)


async def _serve(certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, ssl=context, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(*sys.argv[1:]))
