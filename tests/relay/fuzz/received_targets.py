"""Fuzz targets of our servers, of our readers of other servers and of the kernel, and of forged forms and links.

The laws: a server answers with a status and goes on, a reader has samples or says that its server is none, what is
good beside the input is kept, and nothing that we did not sign is taken for ours.
"""

from __future__ import annotations

import atexit
import io
import math
import os
import shutil
import socket
import struct
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from unittest.mock import patch

import orjson
from fastapi import HTTPException
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from observability import openmetrics
from observability.airflow.ui.forms import check_form, form_token
from observability.catalog import METRICS, RECEIVED
from observability.contain import take_losses
from observability.credentials import Credentials
from observability.errors import ArgumentError, ServerUnavailable
from observability.relay.otlp.ids import attempt_span, derived_trace, nanoseconds_of, trace_in
from observability.relay.otlp.received_requests import documents_of, request_in
from observability.relay.sources.components import resp
from observability.relay.sources.components.address import Address
from observability.relay.sources.components.broker import BrokerReader
from observability.relay.sources.components.cgroups import Cgroups
from observability.relay.sources.components.postgresql import PostgresqlReader
from observability.relay.sources.otlp import listener
from observability.watch.links import read_link, sign_link

__all__ = ["RECEIVED_TARGETS", "SENT"]

_REQUESTS = {
    "logs": (ExportLogsServiceRequest, "resource_logs", "scope_logs", "log_records"),
    "metrics": (ExportMetricsServiceRequest, "resource_metrics", "scope_metrics", "metrics"),
    "traces": (ExportTraceServiceRequest, "resource_spans", "scope_spans", "spans"),
}
_WHEN = "2026-01-31T12:00:00.000000Z"
_KEY = "a-key-of-this-test-and-no-other"
_FOLDER = Path(tempfile.mkdtemp(prefix="contrail-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)


@cache
def good(signal: str) -> bytes:
    """A request with one item."""
    kind, resources, scopes, items = _REQUESTS[signal]
    made = kind()
    getattr(getattr(getattr(made, resources).add(), scopes).add(), items).add(
        **({"severity_text": "good"} if signal == "logs" else {"name": "good"})
    )
    return made.SerializeToString()


def otlp_bodies(data: bytes) -> None:
    """A document for each item of what is a request, also where a good one follows; else the one error."""
    for signal, (kind, resources, scopes, items) in _REQUESTS.items():
        body = data[data[:1] == b"/" :]
        try:
            made = list(documents_of(signal, body, _WHEN))
        except ValueError:
            continue
        more = list(documents_of(signal, body + good(signal), _WHEN))
        assert more[:-1] == made
        for document in more:
            fields = orjson.loads(document)
            assert fields["@timestamp"] == _WHEN
            assert len(fields["event.id"]) == 32
            request = kind.FromString(request_in(document))
            whole = request.SerializeToString(deterministic=True)
            request.DiscardUnknownFields()
            assert request.SerializeToString(deterministic=True) == whole, "what no mask looked into"
            (of_resource,) = getattr(request, resources)
            (of_scope,) = getattr(of_resource, scopes)
            assert len(getattr(of_scope, items)) == 1


class _Listener(listener.OtlpListener):
    """The receiver without its server: it takes what a handler is given."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        journal = SimpleNamespace(append=lambda _dataset, document: self.kept.append(document))
        self._journal, self._is_full = journal, lambda: False
        self._paths = {f"/v1/{signal}": (name, signal) for name, signal in RECEIVED.items()}
        self._room = listener._MOST_BODIES
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()
        self.taken = self.refused = 0


class _Connection:
    """A client's socket: it has sent ``data`` and no more."""

    def __init__(self, data: bytes) -> None:
        self._data, self.got = data, b""

    def makefile(self, *_args, **_more):
        return io.BytesIO(self._data)

    def sendall(self, data: bytes) -> None:
        self.got += bytes(data)

    def setsockopt(self, *_: object) -> None: ...

    def settimeout(self, _seconds: float | None) -> None: ...


def otlp_requests(data: bytes) -> None:
    """An answer of the receiver has a status that is not our fault, and 200 says that it is kept."""
    taking = _Listener()

    class Handler(listener._Handler):
        take = staticmethod(taking._take)

    for sent in (data, b"POST /v1/logs HTTP/1.1\r\n" + data):
        status = _answered(Handler, sent)
        assert status != 500
        assert status == 200 or not taking.kept
        taking.kept.clear()
    assert taking._room == listener._MOST_BODIES
    take_losses()


def metrics_requests(data: bytes) -> None:
    """An answer of ``/metrics`` holds the metrics, or refuses."""

    class Handler(openmetrics._Handler):
        metrics = staticmethod(lambda _openmetrics: b"# EOF\n")

    for sent in (data, b"GET /metrics HTTP/1.1\r\n" + data):
        assert _answered(Handler, sent) in {0, 200, 400, 404, 405, 408, 411, 413, 414, 431, 501, 505}
    assert not take_losses()


def _answered(handler, sent: bytes) -> int:
    """The status of the answer; 0 for none, as HTTP 0.9 has."""
    connection = _Connection(sent)
    handler(connection, ("127.0.0.1", 9), None)
    first = connection.got.partition(b"\r\n")[0]
    return int(first.split(b" ")[1]) if first.startswith(b"HTTP/") else 0


class _Server(_Connection):
    """A server's socket: it answers ``data`` to all that it is asked, a part at a time, and then hangs up."""

    def recv(self, most: int) -> bytes:
        part, self._data = self._data[: min(most, 700)], self._data[min(most, 700) :]
        return part

    def close(self) -> None: ...


def redis_answers(data: bytes) -> None:
    """The broker has samples, or is said to be none."""
    reader = BrokerReader(Address(lambda: Credentials(url="redis://:x@broker/1")))
    with patch.object(resp, "_connected", lambda *_args: _Server(data)):
        for _ in range(2):
            _samples(reader)


def postgresql_answers(data: bytes) -> None:
    """The database has samples, or is said to be none, as libpq reads the answers."""
    database = _Database.started()
    database.answer = data
    about = {"host": "127.0.0.1", "port": database.port, "user": "u", "dbname": "d", "sslmode": "disable"}
    _samples(PostgresqlReader(Address(lambda: Credentials(extra={**about, "gssencmode": "disable"})), timeout_s=5.0))


class _Database(threading.Thread):
    """Answers each session with ``answer`` once it has said who it is, and hangs up."""

    made: ClassVar[_Database | None] = None
    answer = b""

    @classmethod
    def started(cls) -> _Database:
        if cls.made is None:
            cls.made = cls(daemon=True)
            cls.made.listening = socket.create_server(("127.0.0.1", 0))
            cls.made.port = cls.made.listening.getsockname()[1]
            cls.made.start()
        return cls.made

    def run(self) -> None:
        while True:
            session, _ = self.listening.accept()
            with session, suppress(OSError):
                session.settimeout(5.0)
                session.recv(65_536)
                session.sendall(self.answer)
                session.shutdown(socket.SHUT_WR)
                while session.recv(65_536):
                    pass


def _samples(reader) -> None:
    try:
        found = reader.read()
    except ServerUnavailable as error:
        str(error).encode("utf-8", "surrogatepass")
        return
    for one in found:
        assert one.kind == METRICS[one.metric].type
        assert math.isfinite(float(one.value)), one
        assert all(isinstance(tag, str) for tag in one.tags.values())


_CGROUP = ("memory.current", "memory.max", "memory.events", "cpu.stat", "memory.usage_in_bytes", "memory.oom_control")


def cgroup_files(data: bytes) -> None:
    """The samples are numbers, whatever stands in the kernel's files."""
    place, *contents = data.split(b"\0")
    process = _FOLDER / "proc" / "7"
    process.mkdir(parents=True, exist_ok=True)
    (process / "cgroup").write_bytes(place)
    root = _FOLDER / "cgroup"
    root.mkdir(exist_ok=True)
    for name, content in zip(_CGROUP, [*contents, *[data] * len(_CGROUP)], strict=False):
        (root / name).write_bytes(content)
    cgroups = Cgroups(root, _FOLDER / "proc")
    for _ in range(2):
        for one in cgroups.read({"scheduler": [7, 8]}):
            assert one.kind == METRICS[one.metric].type
            assert math.isfinite(float(one.value))


def links_and_forms(data: bytes) -> None:
    """A link says what we signed, or is none, whatever was done to one; so is a form.

    A signature may be written in several ways, as base64 has it: the link is the same one, and works once.
    """
    text = data.decode("utf-8", "replace")
    link, form = sign_link(_KEY, "0123456789abcdef", "acknowledge"), form_token(_KEY, "ann", "0123456789abcdef")
    at = len(data) % (len(link) + 1)
    for token in (text, text + link, link + text, link[:at] + text + link[at:], sign_link(f"{_KEY}x", "1", text)):
        with suppress(ArgumentError):
            assert read_link(_KEY, token, 72) == read_link(_KEY, link, 72)
    headers = {"origin": text, "sec-fetch-site": text} if text else {}
    for token, who, sent in ((text, "ann", {}), (form + text, f"ann{text}x", {}), (form, "ann", headers)):
        if sent or token != form:
            _refused(token, who, sent)


def _refused(token: str, who: str, headers: dict[str, str]) -> None:
    try:
        check_form(SimpleNamespace(headers=headers), _KEY, token, who, "0123456789abcdef")
    except HTTPException as error:
        assert error.status_code == 403  # noqa: PT017 - the only right end
    else:
        assert headers.get("sec-fetch-site") == "same-origin"


def attempt_ids(data: bytes) -> None:
    """The ids by which people's own telemetry joins an attempt are of the right length, and the same each time."""
    texts = [part.decode("utf-8", "surrogateescape") for part in data.split(b"\n")]
    names = ("trace.id", "airflow.dag_id", "airflow.run_id", "airflow.task_id", "airflow.try_number")
    fields = dict(zip(names, texts, strict=False))
    trace, span = trace_in(fields), attempt_span(fields)
    assert len(trace) in {0, 16}
    assert span is None or len(span) == 8
    assert (trace_in(fields), attempt_span(fields)) == (trace, span)
    assert len(derived_trace(fields)) == 16
    assert nanoseconds_of(texts[0]) == nanoseconds_of(texts[0])


RECEIVED_TARGETS = {
    one.__name__: one
    for one in (
        otlp_bodies,
        otlp_requests,
        metrics_requests,
        redis_answers,
        postgresql_answers,
        cgroup_files,
        links_and_forms,
        attempt_ids,
    )
}


def _message(kind: bytes, content: bytes = b"") -> bytes:
    """A message of PostgreSQL's protocol."""
    return kind + struct.pack("!i", 4 + len(content)) + content


def _rows(*values: bytes | None) -> bytes:
    """One row of integers, with its description."""
    column = b"c\0" + struct.pack("!ihihih", 0, 0, 20, 8, -1, 0)
    cells = b"".join(struct.pack("!i", -1 if one is None else len(one)) + (one or b"") for one in values)
    described = _message(b"T", struct.pack("!h", len(values)) + column * len(values))
    return described + _message(b"D", struct.pack("!h", len(values)) + cells) + _message(b"C", b"SELECT 1\0") + _IDLE


_IDLE = _message(b"Z", b"I")
_WELCOME = _message(b"R", struct.pack("!i", 0)) + _message(b"S", b"client_encoding\0UTF8\0") + _IDLE
_DONE = _message(b"C", b"BEGIN\0") + _IDLE
_INFO = b"connected_clients:3\r\nused_memory:1024\r\nmaxmemory:0\r\nevicted_keys:9\r\n"
_OK = b"+OK\r\n"
_QUEUES = b"*2\r\n$1\r\n0\r\n*1\r\n$17\r\n_kombu.binding.q1\r\n"
_POST = b"content-type: application/x-protobuf\r\ncontent-length: "

SENT: dict[str, tuple[bytes, ...]] = {
    "otlp_bodies": (
        *map(good, _REQUESTS),
        good("logs") * 3,
        good("traces")[:-1],
        b"\x0a\x00" * 50,
        b"\x0a" * 400,
        b"\x0a\x12\x12\x10\x12\x0ehunter2 bearer",
        b"\x0a\x14\x12\x12\x12\x10\xfa\x06\x0dtoken=hunter2",
        b"\x0a\xff\xff\xff\xff\x0f",
    ),
    "otlp_requests": (
        _POST + b"%d\r\n\r\n%b" % (len(good("logs")), good("logs")),
        _POST + b"9" * 5_000 + b"\r\n\r\n",
        _POST + "٣\r\n\r\n".encode(),
        _POST + b"-1\r\n\r\n",
        _POST + b"4\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\x00",
        b"POST /v1/logs HTTP/9.9\r\n\r\n",
        b"POST /v1/%00 HTTP/1.1\r\nexpect: 100-continue\r\n\r\n",
        b"transfer-encoding: chunked\r\n" + _POST + b"1\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"\r\n" * 200,
        b"a: b\r\n" * 120 + b"\r\n",
    ),
    "metrics_requests": (
        b"accept: application/openmetrics-text\r\n\r\n",
        b"GET /metrics?x HTTP/1.0\r\n\r\n",
        b"GET /../metrics HTTP/1.1\r\n\r\n",
        b"GET //metrics\r\n",
        b"HEAD /metrics HTTP/1.1\r\n\r\n",
        b"GET " + b"x" * 4_000 + b" HTTP/1.1\r\n\r\n",
        b"\xff\xfe GET\r\n\r\n",
        b"accept: \xff\r\n continued\r\n\r\n",
    ),
    "redis_answers": (
        _OK * 2 + b"+PONG\r\n" + b"$%d\r\n%b\r\n" % (len(_INFO), _INFO) * 3 + _QUEUES + b":0\r\n" * 9,
        _OK * 2
        + b"+PONG\r\n"
        + b"$%d\r\n%b\r\n" % (len(_INFO), _INFO) * 3
        + b"*2\r\n$1\r\n0\r\n*0\r\n"
        + b":4\r\n" * 5,
        _OK * 2 + b"-NOAUTH no\r\n",
        _OK * 2 + b":" + b"9" * 4_000 + b"\r\n",
        _OK * 2 + b"*1\r\n" * 600,
        _OK * 2 + b"*100000\r\n",
        _OK * 2 + b"$99999999999\r\n",
        _OK * 2 + b"$-1\r\n" * 20,
        _OK * 2 + b"+PONG\r\n" + b"$25\r\nused_memory:" + b"9" * 12 + b"\r\n" * 3 + b":1\r\n" * 10,
    ),
    "postgresql_answers": (
        _WELCOME + _DONE * 2 + _rows(b"1024", b"5", b"1", b"0", b"100") + _rows(b"active", b"3", b"0", b"0.5") + _DONE,
        _WELCOME + _DONE * 2 + _rows(None, None, None, None, None) + _rows(None, b"3", None, b"nan") + _DONE,
        _WELCOME + _DONE * 2 + _rows(b"9" * 400, b"1", b"1", b"1", b"1") + _rows(b"x") + _DONE,
        _WELCOME + _message(b"E", b"SFATAL\0C57P01\0Mgoing down\0\0"),
        _message(b"R", struct.pack("!i", 5) + b"salt"),
        _message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"),
        b"N",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        _WELCOME + b"T\xff\xff\xff\xff",
    ),
    "cgroup_files": (
        b"0::/\n\x001024\n\x00max\n\x00low 0\noom_kill 3\n\x00throttled_usec 7\n",
        b"4:memory:/docker/x\n3:cpu,cpuacct:/\n\x009223372036854771712\n\x00oom_kill_disable 0\noom_kill 1\n",
        b"0::/../x\n\x00" + b"9" * 5_000 + b"\n\x00\xff\n\x00oom_kill " + b"9" * 5_000 + b"\n",
        "0::/\n\x00٣\n\x00-5\n\x00oom_kill ²\n\x00throttled_usec nan\n".encode(),
        b"::::\n0::\n0::/" + b"x" * 300 + b"\n",
    ),
    "links_and_forms": (b"", b".", b"same-origin", b"null", b"https://x", b"=", b"\xff\x00", b"eyJ.x.y"),
    "attempt_ids": (
        b"4bf92f3577b34da6a3ce929d0e0e4736\nd\nr\nt\n1",
        b"00000000000000000000000000000000\nd\nr",
        "٤bf92f3577b34da6a3ce929d0e0e473٦\nd\nr\nt\n".encode(),
        b"2026-01-31T12:00:00.000000Z\n\xff\n\x00\nt\nx",
        b"0001-01-01T00:00:00+14:00",
    ),
}
"""The seeds of each: what is right, and what has broken a parser somewhere."""
