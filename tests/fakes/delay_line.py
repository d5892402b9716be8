"""A TCP line that takes its time: everything arrives a fixed time after it was sent, in both directions."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from types import TracebackType
from typing import Self

_READ_BYTES = 1 << 16
_END = (0.0, b"")


class DelayLine:
    """Forwards connections on loopback; ``round_trip`` seconds lie between a question and its answer, at the least."""

    def __init__(self, host: str, port: int, *, round_trip: float) -> None:
        self._target = (host, port)
        self._delay = round_trip / 2
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="delay-line", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._sockets):
            _close(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    on_the_way: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                    threading.Thread(target=self._take, args=(source, on_the_way), daemon=True).start()
                    threading.Thread(target=_deliver, args=(target, on_the_way), daemon=True).start()

    def _take(self, source: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):  # closed by either end
            while data := source.recv(_READ_BYTES):
                on_the_way.put((time.monotonic() + self._delay, data))
        on_the_way.put(_END)


def _deliver(target: socket.socket, on_the_way: queue.SimpleQueue[tuple[float, bytes]]) -> None:
    with contextlib.suppress(OSError):  # closed by either end
        while (arrival := on_the_way.get()) != _END:
            due, data = arrival
            time.sleep(max(0.0, due - time.monotonic()))
            target.sendall(data)
    _close(target)


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):  # closed already
            each.shutdown(socket.SHUT_RDWR)
        each.close()
