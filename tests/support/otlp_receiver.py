"""A receiver of OTLP over HTTP in this process: it reads every request with the classes of the official protos."""

from __future__ import annotations

import gzip
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

from local_server import LocalServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from http.server import BaseHTTPRequestHandler

__all__ = ["Answer", "OtlpReceiver", "attributes", "plain", "strictly"]

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
KINDS = {
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/traces": ExportTraceServiceRequest,
}


class OtlpReceiver(LocalServer):
    """Keeps what it took. ``judge(path, message)`` may give another answer than success, and then nothing is kept."""

    def __init__(self, judge: Callable[[str, Any], Answer | None] = lambda _path, _message: None) -> None:
        self.judge = judge
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.logs: list[Any] = []
        self.spans: list[Any] = []
        self.metrics: list[Any] = []
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Read strictly, judge, keep, answer."""
        raw = request.rfile.read(int(request.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = gzip.decompress(raw) if headers.get("content-encoding") == "gzip" else raw
        message = strictly(KINDS[request.path], body)
        with self.lock:
            self.seen[request.path] += 1
            self.requests.append((request.path, headers, message))
            answer = self.judge(request.path, message)
            if answer is None:
                self.keep(message)
        status, told, content = answer or (200, {"content-type": "application/x-protobuf"}, b"")
        request.send_response(status)
        for name, value in told.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def keep(self, message: Any) -> None:
        """Keep the records of a request."""
        for group in getattr(message, "resource_logs", ()):
            self.logs += [record for scope in group.scope_logs for record in scope.log_records]
        for group in getattr(message, "resource_spans", ()):
            self.spans += [span for scope in group.scope_spans for span in scope.spans]
        for group in getattr(message, "resource_metrics", ()):
            self.metrics += [metric for scope in group.scope_metrics for metric in scope.metrics]

    @property
    def uids(self) -> list[str]:
        """The ids of the log records, as often as they came."""
        return [attributes(record)["log.record.uid"] for record in self.logs]


def strictly(kind: Any, body: bytes) -> Any:
    """The message in ``body``; a field that the proto does not have, or one written otherwise, is an error."""
    message = kind.FromString(body)
    known = kind()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    assert known.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True), (
        "unknown fields"
    )
    return message


def attributes(about: Any) -> dict[str, Any]:
    """The attributes of a record, span, point or resource; a name that stands twice is an error."""
    names = [one.key for one in about.attributes]
    assert len(names) == len(set(names)), names
    return {one.key: plain(one.value) for one in about.attributes}


def plain(value: Any) -> Any:
    """An AnyValue as Python has it."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "kvlist_value":
        return {one.key: plain(one.value) for one in value.kvlist_value.values}
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    return getattr(value, kind)
