"""A receiver of OTLP over HTTP/protobuf for code on this host: what it has answered with 200 is on disk.

Nothing that is sent here can hold up the relay: connections, their time, and the bytes of all bodies together are
bounded, and a body is unpacked within a size.
"""

from __future__ import annotations

import threading
import time
import zlib
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

from observability.bounded_server import BoundedServer
from observability.catalog import RECEIVED
from observability.contain import contained, count_loss
from observability.relay.otlp.received_requests import documents_of
from observability.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from observability.journal import Journal

__all__ = ["OtlpListener"]

_PROTOBUF = "application/x-protobuf"
_MOST_BODY = 4_194_304
"""Bytes of a request, as it comes and unpacked. SDKs send some hundred kilobytes."""
_MOST_BODIES = 2 * _MOST_BODY
_MOST_DIGITS = 9
_BUSY = b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
_PACKED = {"gzip": 31, "deflate": 15}
"""Content codings, and what zlib calls them."""


class _Answer(NamedTuple):
    status: int
    reason: str = ""


_FULL = _Answer(429, "too much is waiting to be sent on")


class OtlpListener:
    """Listens on ``address`` for ``signals`` until :meth:`stop`. Raises OSError where the address cannot be had.

    ``is_full`` says whether so much waits on disk that no more is taken.
    """

    def __init__(
        self, journal: Journal, address: tuple[str, int], signals: Collection[str], is_full: Callable[[], bool]
    ) -> None:
        self._journal = journal
        self._paths = {f"/v1/{signal}": (name, signal) for name, signal in RECEIVED.items() if signal in signals}
        self._is_full = is_full
        self._room = _MOST_BODIES
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self.taken = self.refused = 0

        class Handler(_Handler):
            take = staticmethod(self._take)

        self._server = BoundedServer(address, Handler, busy=_BUSY)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="relay-otlp-in", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more; who is being answered gets the answer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
        self._journal.close()

    def report(self) -> dict[str, Any]:
        """The state for the relay's status."""
        return {"state": "ok", "port": self.port, "taken": self.taken, "refused": self.refused}

    def _take(self, request: _Handler) -> _Answer:
        """Read a request and put what it holds on disk."""
        answer = self._taken(request)
        if answer.status != 200:  # noqa: PLR2004 - HTTP
            with self._lock:
                self.refused += 1
            count_loss("relay.otlp_in", f"requests answered {answer.status}: {answer.reason}")
        return answer

    def _taken(self, request: _Handler) -> _Answer:
        if (found := self._paths.get(request.path.partition("?")[0])) is None:
            return _Answer(404, f"not one of {', '.join(self._paths)}")
        if (fault := _fault_of(request.headers)) is not None:
            return fault
        size = int(request.headers["content-length"])
        with self._kept_free(size) as is_free:
            if not is_free or self._is_full():
                return _FULL
            return self._stored(*found, _body_of(request, size))

    def _stored(self, dataset: str, signal: str, body: bytes | _Answer) -> _Answer:
        if isinstance(body, _Answer):
            return body
        now = iso(time.time(), "microseconds")
        try:
            with self._one_at_a_time:  # what a body becomes takes several times its size
                for document in documents_of(signal, body, now):
                    self._journal.append(dataset, document)
                    self.taken += 1
        except ValueError:
            return _Answer(400, "not a request of OTLP")
        except OSError:
            return _Answer(503, "the disk does not take it")
        return _Answer(200)

    @contextmanager
    def _kept_free(self, size: int) -> Iterator[bool]:
        """Keep room for a body in memory while the block runs; False where there is none."""
        with self._lock:
            is_free = size <= self._room
            self._room -= size if is_free else 0
        try:
            yield is_free
        finally:
            if is_free:
                with self._lock:
                    self._room += size


def _fault_of(headers: Any) -> _Answer | None:
    """The answer to a request that is refused by its headers."""
    if (headers.get("content-type") or "").partition(";")[0].strip().lower() != _PROTOBUF:
        return _Answer(415, f"only {_PROTOBUF} is taken")
    if _coding_of(headers) not in {"identity", *_PACKED}:
        return _Answer(415, "only gzip and deflate are unpacked")
    told = headers.get("content-length") or ""
    if not (told.isascii() and told.isdigit()):
        return _Answer(411, "no content-length")
    return _Answer(413, "too large") if len(told) > _MOST_DIGITS or int(told) > _MOST_BODY else None


def _coding_of(headers: Any) -> str:
    return (headers.get("content-encoding") or "identity").strip().lower()


def _body_of(request: _Handler, size: int) -> bytes | _Answer:
    """The body of ``size`` bytes, unpacked; an answer where it cannot be had."""
    body = request.rfile.read(size)
    if len(body) < size:
        return _Answer(400, "it ended before its end")
    if (coding := _coding_of(request.headers)) not in _PACKED:
        return body
    unpacked = _unpacked(body, _PACKED[coding])
    if unpacked is None:
        return _Answer(400, f"not {coding}")
    return unpacked if len(unpacked) <= _MOST_BODY else _Answer(413, "too large unpacked")


def _unpacked(body: bytes, window: int) -> bytes | None:
    """The body unpacked, one byte longer than the limit at most; None where it cannot be."""
    unpacking = zlib.decompressobj(window)
    try:
        found = unpacking.decompress(body, _MOST_BODY + 1)
    except zlib.error:
        return None
    return found if unpacking.eof or len(found) > _MOST_BODY else None


class _Handler(BaseHTTPRequestHandler):
    """Answers one request of a connection."""

    take: Callable[[_Handler], _Answer]

    def do_POST(self) -> None:
        """Answer an export."""
        answer = _Answer(500, "Contrail failed at it")
        with contained("relay.otlp_in"):
            answer = type(self).take(self)
        body = answer.reason.encode()
        with suppress(OSError):  # who asks may go away
            self.send_response(answer.status)
            self.send_header("content-type", _PROTOBUF if answer.status == 200 else "text/plain")  # noqa: PLR2004 - HTTP
            if answer.status in {429, 503}:
                self.send_header("retry-after", "1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of a request."""
