"""The addresses to listen on, before and after a start."""

from __future__ import annotations

import socket

from imapped_site.embedded.process import free_port
from imapped_site.listeners import accepts, configured_listeners, unusable_listeners


def test_an_address_in_use_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = free_port()
        problems = unusable_listeners({"HTTP_BIND": ("127.0.0.1", port), "IMAP_TLS_BIND": ("::1", free)}, seconds=0.0)
        assert problems == [f"HTTP_BIND: cannot listen on 127.0.0.1:{port}: Address already in use"]
        assert accepts(("127.0.0.1", port))
        assert accepts(("0.0.0.0", port))
        assert not accepts(("127.0.0.1", free))


def test_an_address_that_is_not_ours() -> None:
    problems = unusable_listeners({"HTTP_BIND": ("192.0.2.1", free_port())}, seconds=0.0)
    assert problems == [problems[0]]
    assert "Cannot assign requested address" in problems[0]


def test_listeners_that_are_off_are_none() -> None:
    assert "HTTP_BIND" in configured_listeners()
    assert "METRICS_BIND" not in configured_listeners()
