"""An HTTP server beside other work: a client takes a thread and a descriptor of this process, and not for long."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["BoundedServer"]

MOST_CONNECTIONS, LONGEST_S = 16, 10.0
"""Connections at once, and seconds that each of them may take."""


class BoundedServer(ThreadingHTTPServer):
    """Answers some connections at once, each for so long at the most, and closes the others.

    ``busy`` is what the others get, small enough for a socket that is new. Raises OSError where ``address`` cannot be
    had; it may be one of IPv6.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], *, busy: bytes = b"") -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)
        self._busy, self._free = busy, threading.Semaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin a thread for it."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        if self._busy:
            with suppress(OSError):
                request.settimeout(0.0)
                request.send(self._busy)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it, for so long at the most, however slowly it comes."""
        ends = threading.Timer(LONGEST_S, _hang_up, (request,))
        ends.daemon = True
        ends.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            ends.cancel()
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Say nothing of a client that went away."""


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
