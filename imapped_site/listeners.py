"""The addresses that imapped listens on: are they free before a start, do they answer after it."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping

from django.conf import settings

from imapped_site.embedded.process import wait_for

_FREE_SECONDS = 10.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on


def configured_listeners() -> dict[str, tuple[str, int]]:
    """Setting name and address of every listener that is switched on."""
    names = ("HTTP_BIND", "METRICS_BIND", "IMAP_PLAINTEXT_BIND", "IMAP_TLS_BIND")
    return {name: bind for name in names if (bind := getattr(settings, name)) is not None}


def unusable_listeners(listeners: Mapping[str, tuple[str, int]], *, seconds: float = _FREE_SECONDS) -> list[str]:
    """What is wrong with these addresses, one line each. An earlier start that still ends gets *seconds* to do so."""
    wait_for(lambda: all(_bind_error(bind) != errno.EADDRINUSE for bind in listeners.values()), seconds=seconds)
    errors = {name: _bind_error(bind) for name, bind in listeners.items()}
    return [
        f"{name}: cannot listen on {listeners[name][0]}:{listeners[name][1]}: {os.strerror(error)}"
        for name, error in errors.items()
        if error
    ]


def accepts(bind: tuple[str, int]) -> bool:
    """True if something accepts connections at *bind*."""
    host, port = bind
    try:
        socket.create_connection((_ANYWHERE.get(host, host), port), timeout=2).close()
    except OSError:
        return False
    return True


def _bind_error(bind: tuple[str, int]) -> int:
    """The error number that binding to *bind* gives, 0 if none."""
    host, port = bind
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        return errno.EADDRNOTAVAIL
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0
