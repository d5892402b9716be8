"""A small IMAP client and a reader of its answers that share no code with imapped."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|\{\d+\}\r\n|[()]|[^\s()"{]+')


@dataclass(frozen=True, slots=True)
class Atom:
    """A token that is neither string nor list: told apart, because ``NIL`` and ``"NIL"`` are not the same."""

    text: bytes


Value = Atom | bytes | list["Value"]


def parse_value(data: bytes, position: int = 0) -> tuple[Value, int]:
    """Return the IMAP value at ``position`` and where it ends. Quoted strings and literals give the same bytes."""
    match = _TOKEN.search(data, position)
    assert match is not None, data[position : position + 100]
    token, end = match[0], match.end()
    if token == b"(":
        items: list[Value] = []
        while True:
            following = _TOKEN.search(data, end)
            assert following is not None, data[:200]
            if following[0] == b")":
                return items, following.end()
            item, end = parse_value(data, end)
            items.append(item)
    if token.startswith(b'"'):
        return re.sub(rb"\\(.)", rb"\1", token[1:-1], flags=re.DOTALL), end
    if token.startswith(b"{"):
        size = int(token[1 : token.index(b"}")])
        return data[end : end + size], end + size
    return Atom(token), end


class RawClient:
    """Sends one command after the other and returns untagged responses as they came, literals included."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")
        self._read()
        self.run(f'LOGIN "{user}" "{password}"'.encode())

    @property
    def local_port(self) -> int:
        """The port of our end."""
        return int(self._socket.getsockname()[1])

    def run(self, command: bytes) -> list[bytes]:
        """Return the untagged responses to a command; fails unless it is answered with OK."""
        *responses, end = self.attempt(command)
        assert end.startswith(b"t OK"), (command, end)
        return responses

    def attempt(self, command: bytes) -> list[bytes]:
        """Return all responses to a command, the tagged one last; the tag is ``t``."""
        self._socket.sendall(b"t " + command + b"\r\n")
        responses = [self._read()]
        while not responses[-1].startswith(b"t "):
            responses.append(self._read())
        return responses

    def fetch(self, numbers: str, item: bytes) -> list[Value]:
        """Return one item of the messages with these numbers, in their order."""
        values: dict[int, Value] = {}
        for response in self.run(b"FETCH %b %b" % (numbers.encode(), item)):
            match = re.match(rb"\* (\d+) FETCH ", response)
            assert match is not None, response
            pairs, _ = parse_value(response, match.end())
            assert isinstance(pairs, list), response
            values[int(match[1])] = pairs[pairs.index(Atom(item)) + 1]
        return [values[number] for number in sorted(values)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._socket.close()

    def _read(self) -> bytes:
        """Return one response without its CRLF."""
        response = b""
        while True:
            line = self._file.readline()
            assert line.endswith(b"\r\n"), "the server closed the connection"
            response += line
            literal = _LITERAL.search(line)
            if literal is None:
                return response[:-2]
            response += self._file.read(int(literal[1]))
