"""A real OpenTelemetry Collector, which writes what it took to a file."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from go_programs import go_program

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Collector"]

_CONFIGURATION = """
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}
exporters:
  file: {{path: {path}, flush_interval: 50ms, append: true}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}
  pipelines:
    logs: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file]}}
    traces: {{receivers: [otlp], exporters: [file]}}
"""


class Collector:
    """Started and stopped, also again, on one port and one file; a test skips itself where it is not built."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._program = go_program("otelcol")
        self._file = folder / "collected.jsonl"
        self._configuration = folder / "otelcol.yaml"
        self._configuration.write_text(_CONFIGURATION.format(port=self.port, path=self._file))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Collector:  # noqa: PYI034 - typing has no Self before 3.11
        command = [self._program, "--config", str(self._configuration)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert time.monotonic() < deadline, "the Collector does not answer"
                assert self._process.poll() is None, "the Collector has ended"
                time.sleep(0.05)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()  # it writes what it holds, then ends
        self._process.wait(30)

    @property
    def records(self) -> list[Any]:
        """The log records that it took."""
        return list(self._each("resourceLogs", "scopeLogs", "logRecords"))

    @property
    def spans(self) -> list[Any]:
        """The spans that it took."""
        return list(self._each("resourceSpans", "scopeSpans", "spans"))

    @property
    def metrics(self) -> list[Any]:
        """The metrics that it took."""
        return list(self._each("resourceMetrics", "scopeMetrics", "metrics"))

    @property
    def uids(self) -> Counter[str]:
        """The ids of the log records, as often as they came."""
        return Counter(self.attributes(one)["log.record.uid"] for one in self.records)

    @staticmethod
    def attributes(about: Any) -> dict[str, Any]:
        """Attributes by name; numbers are texts, as JSON of protobuf has them."""
        return {one["key"]: next(iter(one["value"].values()), None) for one in about["attributes"]}

    def _each(self, outer: str, middle: str, inner: str) -> Any:
        text = self._file.read_text() if self._file.exists() else ""
        for line in text.split("\n")[:-1]:  # the last one may be half written
            for group in json.loads(line).get(outer, ()):
                for scope in group[middle]:
                    yield from scope[inner]
