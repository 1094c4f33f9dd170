"""A session with Redis or Valkey by their protocol (RESP 2), for a few questions within a time and a size.

redis-py brings 28 MB into a process of which the relay uses these lines; see docs/decisions/0010.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from observability.errors import ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Session"]

_PORT = 6379
_MOST_BYTES = 16_777_216
_MOST_ITEMS = 100_000
_DEEPEST = 4
_WIDEST, _MOST_DIGITS = 1 << 63, 20
"""Bound of a number, which has 64 bits, and its characters."""

_TLS_REMEDY = "check that it speaks TLS, and name its authority as ssl_ca_certs and our certificate as ssl_certfile"


class Session:
    """A session at ``url`` (redis, rediss, unix or redis+socket) that lasts ``timeout_s`` at most.

    ``tls`` names files as redis-py does: ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``. Raises
    :class:`ServerUnavailable`, here and where something is asked.
    """

    def __init__(self, url: str, tls: Mapping[str, Any], timeout_s: float) -> None:
        self._until = time.monotonic() + timeout_s
        self._buffer, self._left = b"", _MOST_BYTES
        parts = urlsplit(url)
        options = {name: given[-1] for name, given in parse_qs(parts.query).items()}
        self._where = f"{parts.hostname}:{parts.port or _PORT}" if parts.hostname else parts.path
        try:
            self._socket = _connected(parts.scheme, parts.hostname, parts.port or _PORT, parts.path, timeout_s)
        except (OSError, ValueError) as error:
            raise self._unavailable(error) from error
        try:
            if parts.scheme == "rediss":
                self._socket = _encrypted(self._socket, parts.hostname or "", {**options, **tls})
            self._begin(parts.username, parts.password or options.get("password", ""), _database(parts, options))
        except (OSError, ValueError) as error:
            self.close()
            raise self._unavailable(error) from error
        except ServerUnavailable:
            self.close()
            raise

    def ask(self, *commands: Sequence[Any]) -> list[Any]:
        """The answers to commands that are sent together: texts, numbers, lists, None."""
        request = b"".join(map(_encoded, commands))
        try:
            self._socket.settimeout(self._rest_s())
            self._socket.sendall(request)
            return [self._answer() for _ in commands]
        except (OSError, ValueError) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._socket.close()

    def _begin(self, user: str | None, password: str, database: str) -> None:
        if password:
            login = [unquote(user)] if user else []
            self.ask(("AUTH", *login, unquote(password)))
        if database not in {"", "0"}:
            self.ask(("SELECT", database))

    def _answer(self, depth: int = 0) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:].decode("utf-8", "replace")
        if kind == b"-":
            raise ServerUnavailable(
                f"Redis at {self._where} refuses: {rest[:200]}; check the login and what it may ask"
            )
        if kind == b"+":
            return rest
        number = int(rest) if len(rest) <= _MOST_DIGITS else _WIDEST
        if not -_WIDEST < number < _WIDEST:
            raise ValueError("its answer is not Redis' protocol")
        if kind == b":":
            return number
        if number < 0:
            return None
        if kind == b"$":
            return self._take(number + 2)[:-2].decode("utf-8", "replace")
        if kind != b"*" or depth >= _DEEPEST or number > _MOST_ITEMS:
            raise ValueError("its answer is not Redis' protocol")
        return [self._answer(depth + 1) for _ in range(number)]

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _take(self, size: int) -> bytes:
        if size > _MOST_BYTES:
            raise ValueError("its answer is too long")
        while len(self._buffer) < size:
            self._receive()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def _receive(self) -> None:
        self._socket.settimeout(self._rest_s())
        came = self._socket.recv(65_536)
        self._left -= len(came)
        if not came or self._left < 0:
            raise ValueError("it ended the session" if not came else "its answer is too long")
        self._buffer += came

    def _rest_s(self) -> float:
        rest = self._until - time.monotonic()
        if rest <= 0:
            raise TimeoutError("no answer in time")
        return rest

    def _unavailable(self, error: Exception) -> ServerUnavailable:
        reason = str(error) or type(error).__name__
        remedy = _TLS_REMEDY if isinstance(error, ssl.SSLError) else "check that it runs there and answers"
        return ServerUnavailable(f"Redis at {self._where}: {reason}; {remedy}")


def _connected(scheme: str, host: str | None, port: int, path: str, timeout_s: float) -> socket.socket:
    if scheme in {"unix", "redis+socket"}:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(timeout_s)
        try:
            made.connect(unquote(path))
        except OSError:
            made.close()
            raise
        return made
    return socket.create_connection((host or "localhost", port), timeout_s)


def _encrypted(plain: socket.socket, host: str, options: Mapping[str, Any]) -> socket.socket:
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context.wrap_socket(plain, server_hostname=host)


def _database(parts: Any, options: Mapping[str, str]) -> str:
    """Number of the database: of the path, or as redis-py and kombu name it for a socket."""
    if parts.scheme in {"unix", "redis+socket"}:
        return options.get("db") or options.get("virtual_host", "").strip("/")
    return options.get("db") or str(parts.path).strip("/")


def _encoded(command: Sequence[Any]) -> bytes:
    words = [str(word).encode("utf-8", "replace") for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
