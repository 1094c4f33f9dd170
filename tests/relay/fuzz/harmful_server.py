"""A server whose answers are harmed: raw bytes of any kind for some requests, the truth for the others."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from answer_targets import ANSWERS, ODD, STATUSES
from local_server import LocalServer
from written_targets import WRITTEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

__all__ = ["HarmfulServer", "forwarded", "harmed"]

_RAW = (
    b"",
    b"nothing of HTTP\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 99999 X\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nDate: Mon, 99 Foo 99999 99:99:99 GMT\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 503 X\r\nretry-after: \xb2\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 2000,
)
"""Answers that are no HTTP, or HTTP that is cut, coded wrongly, or redirected."""
_DRIP = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
"""Answers that come a byte at a time."""
_DRIP_S = 3.0
_TOLD = frozenset({"content-type", "x-amzn-requestid", "x-elastic-product"})
"""Headers of a true answer that are passed on."""


def harmed(seed: int, *targets: str) -> list[bytes]:
    """Every odd answer that we know, in an order of the seed's own; first those that ``targets`` alone have."""
    chance = random.Random(seed)
    own = {line for target in targets for one in ANSWERS[target] if one not in ODD for line in one.split(b"\n") if line}
    patience = [b"HTTP/1.1 429 X\r\nretry-after: %b\r\ncontent-length: 0\r\n\r\n" % one for one in WRITTEN["headers"]]
    first = [_with_status(line) for line in sorted(own)]
    found = [*_RAW, _DRIP, *patience, *(_with_status(one) for one in ODD if one)]
    chance.shuffle(first)
    chance.shuffle(found)
    return first + found


def _with_status(answer: bytes) -> bytes:
    status = STATUSES[(answer[0] - 48) % len(STATUSES)]
    return b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(answer) - 1, answer[1:])


class HarmfulServer(LocalServer):
    """Answers by ``truth`` (method, path, body, headers → status, body); where ``harms``, by the next of ``answers``.

    The answers come round again. ``asked`` counts the requests that were harmed.
    """

    def __init__(
        self,
        truth: Callable[[str, str, bytes, dict[str, str]], tuple[Any, ...]],
        answers: list[bytes],
        harms: Callable[[str], bool],
    ) -> None:
        self._truth, self._answers, self.harms = truth, itertools.cycle(answers), harms
        self._lock = threading.Lock()
        self.asked = 0

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if not self.harms(request.path):
            status, answer, *more = self._truth(request.command, request.path, body, dict(request.headers.items()))
            request.send_response(status)
            for name, value in (more[0] if more else {"content-type": "application/json"}).items():
                request.send_header(name, value)
            request.send_header("content-length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
            return
        with self._lock:
            answer = next(self._answers)
            self.asked += 1
        request.close_connection = True
        request.wfile.write(answer)
        if answer is _DRIP:
            with suppress(OSError):
                for _ in range(int(_DRIP_S / 0.1)):
                    time.sleep(0.1)
                    request.wfile.write(b" ")


def forwarded(upstream: str) -> Callable[[str, str, bytes, dict[str, str]], tuple[Any, ...]]:
    """The truth as another server tells it."""
    where = urlsplit(upstream)

    def ask(method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        with closing(connection):
            kept = {name: value for name, value in headers.items() if name.lower() not in {"host", "content-length"}}
            connection.request(method, path, body=body, headers=kept)
            reply = connection.getresponse()
            told = {name: value for name, value in reply.headers.items() if name.lower() in _TOLD}
            return reply.status, reply.read(), told

    return ask
