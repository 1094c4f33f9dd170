"""An HTTP proxy that harms what passes through it, by a script that a test or a seed writes."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from local_server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from http.server import BaseHTTPRequestHandler

__all__ = ["FAULTS", "FaultProxy"]

FAULTS = (
    "item 429",
    "item 503",
    "whole 413",
    "whole 429",
    "whole 500",
    "whole 502",
    "reset before",
    "reset after",
    "cut",
    "invalid",
    "stall",
)
"""Faults of a bulk request; after "reset after", "cut", "invalid" and "stall" it has been applied."""


class FaultProxy(LocalServer):
    """Stands before ``upstream``; what ``harms`` picks (bulk requests) meets the next of ``faults`` (None: passes).

    A document that contains ``"poison"`` is answered with status 400 and never forwarded, fault or not.
    ``seen`` counts what happened.
    """

    def __init__(
        self,
        upstream: str,
        faults: Iterable[str | None],
        *,
        stall_s: float = 1.5,
        choose: Callable[[int], bool] | None = None,
        harms: Callable[[BaseHTTPRequestHandler], bool] = lambda request: "_bulk" in request.path,
    ) -> None:
        self._upstream = urlsplit(upstream)
        self._faults = iter(faults)
        self._stall_s = stall_s
        self._harms = harms
        self._choose = choose or (lambda index: index % 3 == 0)
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        if not self._harms(request):
            _answer(request, *self._forward(request, body))
            return
        with self._lock:
            fault = next(self._faults, None)
        self.seen[fault or "passed"] += 1
        if fault and fault.startswith("whole"):
            status = int(fault.split()[1])
            _answer(request, status, b'{"error":"injected"}', {"retry-after": "0"} if status == 429 else {})
        elif fault == "reset before":
            _reset(request)
        else:
            self._harm(request, fault, *self._bulk(request, body, fault))

    def _harm(self, request: BaseHTTPRequestHandler, fault: str | None, status: int, answer: bytes) -> None:
        if fault == "reset after":
            _reset(request)
        elif fault == "cut":
            request.send_response(status)
            request.send_header("content-length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer[: len(answer) // 2])
            request.close_connection = True
        elif fault == "invalid":
            _answer(request, 200, b"<html>gateway</html>" if len(answer) % 2 else answer[:-3])
        elif fault == "stall":
            time.sleep(self._stall_s)
            _reset(request)
        else:
            _answer(request, status, answer)

    def _bulk(self, request: BaseHTTPRequestHandler, body: bytes, fault: str | None) -> tuple[int, bytes]:
        """Forward the documents that are not refused here, and weave the refusals into the answer."""
        lines = body.split(b"\n")
        pairs = list(zip(lines[:-1:2], lines[1::2], strict=True))
        refused = {index: 400 for index, (_, document) in enumerate(pairs) if b'"poison"' in document}
        if fault and fault.startswith("item"):
            refused |= {i: int(fault.split()[1]) for i in range(len(pairs)) if self._choose(i) and i not in refused}
        if not refused:
            return self._forward(request, body)[:2]
        rest = [pair for index, pair in enumerate(pairs) if index not in refused]
        passed = iter(())
        if rest:
            status, answer = self._forward(request, b"".join(b"%b\n%b\n" % pair for pair in rest))[:2]
            if status != 200:
                return status, answer
            passed = iter(json.loads(answer)["items"])
        error = {"type": "injected_exception", "reason": "injected"}
        items = [
            {"create": {"status": refused[i], "error": error}} if i in refused else next(passed)
            for i in range(len(pairs))
        ]
        return 200, json.dumps({"errors": True, "items": items}).encode()

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self._upstream.hostname or "", self._upstream.port, timeout=60)
        with contextlib.closing(connection):
            headers = {
                name: value for name, value in request.headers.items() if name.lower() not in {"host", "content-length"}
            }
            connection.request(request.command, request.path, body=body, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read(), {"content-type": reply.headers.get("content-type", "")}


def _answer(request: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    request.send_response(status)
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _reset(request: BaseHTTPRequestHandler) -> None:
    """End the connection with RST, as a crashed peer or a firewall does."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()
