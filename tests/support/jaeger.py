"""A real Jaeger: it takes spans by OTLP, keeps them in memory, and is asked for them by its query API."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import Any

import httpx
from go_programs import go_program

__all__ = ["Jaeger"]


class Jaeger:
    """Runs for the length of a block; a test skips itself where it is not built."""

    def __init__(self) -> None:
        self._program = go_program("jaeger")
        otlp, self._query, grpc, query_grpc, sampling = _ports(5)
        self.url = f"http://127.0.0.1:{otlp}"
        self._command = [
            self._program,
            f"--collector.otlp.http.host-port=127.0.0.1:{otlp}",
            f"--collector.otlp.grpc.host-port=127.0.0.1:{grpc}",
            "--collector.http-server.host-port=127.0.0.1:0",
            f"--collector.grpc-server.host-port=127.0.0.1:{sampling}",
            f"--query.http-server.host-port=127.0.0.1:{self._query}",
            f"--query.grpc-server.host-port=127.0.0.1:{query_grpc}",
            "--admin.http.host-port=127.0.0.1:0",
            "--log-level=error",
        ]

    def __enter__(self) -> Jaeger:  # noqa: PYI034 - typing has no Self before 3.11
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "Jaeger does not answer"
            assert self._process.poll() is None, "Jaeger has ended"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    def asked(self, path: str) -> Any:
        """The data of an answer of the query API (``traces/<id>``, ``services`` …); None for a 404."""
        answer = httpx.get(f"http://127.0.0.1:{self._query}/api/{path}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else answer.raise_for_status().json()["data"]

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(self.url.rpartition(":")[2])), 1).close()
            return httpx.get(f"http://127.0.0.1:{self._query}/api/services").is_success
        except (OSError, httpx.TransportError):
            return False


def _ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return found
