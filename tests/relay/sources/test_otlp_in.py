"""OTLP of people's own code: from OpenTelemetry's SDK through the relay to a receiver."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
import zlib
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otlp_receiver import OtlpReceiver, attributes, plain

from observability import bounded_server
from observability.contain import take_losses
from observability.credentials import CredentialsError
from observability.journal import Journal, frames
from observability.relay.otlp.destination import destination
from observability.relay.otlp.received_requests import request_in
from observability.relay.relay import Relay, read_status
from observability.relay.sources.otlp.listener import OtlpListener

PROTOBUF = {"content-type": "application/x-protobuf"}
SIGNALS = ("logs", "metrics", "traces")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def receiver():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def otlp(settings, receiver):
    return replace(
        settings,
        relay=replace(settings.relay, sinks=("otlp",), statsd_port=0),
        otlp=replace(settings.otlp, url=receiver.url, receive_port=free_port()),
    )


@contextmanager
def running(settings):
    relay = Relay(settings)
    thread = threading.Thread(target=relay.run)
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        thread.join()


@contextmanager
def listening(directory, *, full=False):
    """A listener alone, with nothing behind it but the journal."""
    taking = OtlpListener(Journal(directory), ("127.0.0.1", 0), SIGNALS, lambda: full)
    try:
        yield taking
    finally:
        taking.stop()


def spans(*names):
    request = ExportTraceServiceRequest()
    for number, name in enumerate(names, 1):
        scope = request.resource_spans.add().scope_spans.add()
        scope.spans.add(name=name, trace_id=bytes(15) + b"\x01", span_id=number.to_bytes(8, "big"))
    return request.SerializeToString()


def post(port, body, path="/v1/traces", **headers):
    """Status and headers of the answer."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        asked.request("POST", path, body, PROTOBUF | {name.replace("_", "-"): one for name, one in headers.items()})
        answer = asked.getresponse()
        answer.read()
        return answer.status, answer.headers
    finally:
        asked.close()


def test_spans_metrics_and_records_of_the_sdk_arrive_once_with_their_own_ids(otlp, receiver):
    who = Resource.create({"service.name": "loader"})
    base = f"http://127.0.0.1:{otlp.otlp.receive_port}/v1"
    with running(otlp):
        tracing, logging = TracerProvider(resource=who), LoggerProvider(resource=who)
        tracing.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{base}/traces")))
        logging.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{base}/logs")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/metrics"), export_interval_millis=3_600_000)
        metering = MeterProvider([reader], resource=who)
        tracer = tracing.get_tracer("mine", "1.2")
        with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner") as inner:
            metering.get_meter("mine").create_counter("rows").add(5, {"table": "flights"})
            logging.get_logger("mine").emit(severity_number=SeverityNumber.INFO, body="half way")
        for provider in (tracing, logging, metering):
            provider.shutdown()
    found = {span.name: span for span in receiver.spans}
    assert len(receiver.spans) == len(found) == 2
    assert found["inner"].span_id == inner.get_span_context().span_id.to_bytes(8, "big")
    assert found["inner"].parent_span_id == found["outer"].span_id
    assert found["outer"].trace_id == outer.get_span_context().trace_id.to_bytes(16, "big")
    [rows] = [metric for metric in receiver.metrics if metric.name == "rows"]
    assert rows.sum.data_points[0].as_int == 5
    assert attributes(rows.sum.data_points[0]) == {"table": "flights"}
    assert [plain(record.body) for record in receiver.logs] == ["half way"]
    assert receiver.logs[0].span_id == found["inner"].span_id
    told = next(message for path, _, message in receiver.requests if path == "/v1/traces").resource_spans[0]
    assert attributes(told.resource)["service.name"] == "loader"
    assert (told.scope_spans[0].scope.name, told.scope_spans[0].scope.version) == ("mine", "1.2")
    status = read_status(otlp.home)
    assert status["otlp_in"]["refused"] == 0
    assert status["sinks"]["otlp"]["streams"]["otlp.traces"]["stored"] == 2


def test_what_was_answered_with_200_survives_the_relay(otlp, receiver):
    with listening(otlp.journal_directory) as taking:
        assert post(taking.port, spans("one", "two"))[0] == 200
        for coding, packed in (("gzip", gzip.compress(spans("three"))), ("deflate", zlib.compress(spans("four")))):
            assert post(taking.port, packed, content_encoding=coding)[0] == 200
    assert Relay(otlp, statsd=False).run(once=True, patience_s=30)
    assert sorted(span.name for span in receiver.spans) == ["four", "one", "three", "two"]


def test_secrets_are_masked_before_they_are_on_disk(otlp, receiver):
    request = ExportTraceServiceRequest()
    [span] = [
        request.resource_spans.add().scope_spans.add().spans.add(name="ask", trace_id=b"1" * 16, span_id=b"1" * 8)
    ]
    for name, text in (("db.password", "open sesame"), ("url", "https://me:sesame2@db/x"), ("table", "flights")):
        span.attributes.add(key=name).value.string_value = text
    span.attributes.add(key="api_token").value.array_value.values.add().string_value = "sesame3"
    span.events.add(name="login").attributes.add(key="said").value.string_value = "password=sesame4"
    request.resource_spans[0].resource.attributes.add(key="secret").value.string_value = "sesame5"
    with listening(otlp.journal_directory) as taking:
        assert post(taking.port, request.SerializeToString())[0] == 200
    kept = b"".join(map(request_in, documents(otlp.journal_directory)))
    assert b"sesame" not in kept
    assert Relay(otlp, statsd=False).run(once=True, patience_s=30)
    [found] = receiver.spans
    assert (found.name, attributes(found)["table"]) == ("ask", "flights")
    assert attributes(found)["db.password"] == "***"


def documents(directory):
    files = directory.glob("otlp.*.journal")
    return [one.document for path in files for one in frames(path.read_bytes()) if one.document]


def test_other_sinks_have_nothing_to_do_with_it(settings):
    with listening(settings.journal_directory) as taking:
        assert post(taking.port, spans("one"))[0] == 200
    assert Relay(settings, statsd=False).run(once=True)
    assert "otlp.traces" not in read_status(settings.home)["sinks"]["embedded"]["streams"]


def test_what_the_receiver_refuses_is_a_dead_letter_alone(otlp, receiver):
    def judge(_path, message):
        names = [span.name for group in message.resource_spans for scope in group.scope_spans for span in scope.spans]
        return (413, {}, b"") if "huge" in names else None

    receiver.judge = judge
    with listening(otlp.journal_directory) as taking:
        post(taking.port, spans("one", "huge", "two"))
    assert Relay(otlp, statsd=False).run(once=True, patience_s=30)
    assert sorted(span.name for span in receiver.spans) == ["one", "two"]
    assert read_status(otlp.home)["sinks"]["otlp"]["streams"]["otlp.traces"]["rejected"] == 1


@pytest.mark.parametrize(
    ("expected", "path", "headers", "body"),
    [
        (404, "/v1/profiles", {}, b""),
        (404, "/", {}, b""),
        (415, "/v1/logs", {"content_type": "application/json"}, b"{}"),
        (415, "/v1/logs", {"content_encoding": "br"}, b"x"),
        (411, "/v1/logs", {"content_length": "-1"}, b""),
        (411, "/v1/logs", {"content_length": "ten"}, b""),
        (413, "/v1/logs", {"content_length": "4194305"}, b""),
        (413, "/v1/logs", {"content_length": "9" * 400}, b""),
        (413, "/v1/traces", {"content_encoding": "gzip"}, gzip.compress(bytes(100_000_000), 1)),
        (400, "/v1/traces", {}, b"\xff" * 100),
        (400, "/v1/metrics", {}, b"hello"),
        (400, "/v1/traces", {"content_encoding": "gzip"}, b"hello"),
        (400, "/v1/traces", {"content_encoding": "gzip"}, gzip.compress(spans("one"))[:-9]),
        (200, "/v1/traces", {}, b""),
    ],
    ids=count(),  # gzip writes the second: each process would name the body otherwise
)
def test_a_request_that_is_not_one_is_answered_so_and_counted_and_the_next_is_taken(
    tmp_path, expected, path, headers, body
):
    take_losses()
    with listening(tmp_path) as taking:
        assert post(taking.port, body, path, **headers)[0] == expected
        assert post(taking.port, spans("good"))[0] == 200
        assert (taking.taken, taking.refused) == (1, int(expected != 200))
    lost = [reason for (stage, reason), _ in take_losses().items() if stage == "relay.otlp_in"]
    assert len(lost) == int(expected != 200)
    assert all(reason.startswith(f"requests answered {expected}:") for reason in lost)


def test_where_too_much_waits_a_sender_is_asked_to_come_again(tmp_path):
    with listening(tmp_path, full=True) as taking:
        status, headers = post(taking.port, spans("one"))
    assert (status, headers["retry-after"]) == (429, "1")
    assert list(tmp_path.glob("*.journal")) == []


def test_slow_senders_hold_up_nobody_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_server, "LONGEST_S", 1.0)
    head = b"POST /v1/traces HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nContent-Length: 4000000\r\n\r\n"
    with listening(tmp_path) as taking:
        slow = [socket.create_connection(("127.0.0.1", taking.port)) for _ in range(3)]
        for one in slow:
            one.sendall(head)
        over = time.monotonic() + 30
        while post(taking.port, spans("one"))[0] != 200:
            assert time.monotonic() < over
            time.sleep(0.05)
        answers = [one.recv(20) for one in slow]
        for one in slow:
            one.close()
    assert b"HTTP/1.0 429" in [answer[:12] for answer in answers]  # two bodies of this size are all that has room


def test_more_connections_than_are_served_are_asked_to_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr(bounded_server, "LONGEST_S", 30.0)
    with listening(tmp_path) as taking:
        idle = [socket.create_connection(("127.0.0.1", taking.port)) for _ in range(16)]
        over = time.monotonic() + 30
        while taking._server._free._value:
            assert time.monotonic() < over
            time.sleep(0.01)
        assert post(taking.port, b"")[0] == 503
        for one in idle:
            one.close()
        while post(taking.port, spans("one"))[0] != 200:
            assert time.monotonic() < over
    assert taking.taken == 1


def test_a_signal_that_is_not_sent_on_is_not_taken(otlp):
    with running(replace(otlp, otlp=replace(otlp.otlp, signals=("traces",)))):
        assert post(otlp.otlp.receive_port, b"", "/v1/logs")[0] == 404
        assert post(otlp.otlp.receive_port, b"", "/v1/traces")[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_relay_does_not_send_to_itself(otlp, host):
    own = replace(otlp, otlp=replace(otlp.otlp, url=f"http://{host}:{otlp.otlp.receive_port}"))
    with pytest.raises(CredentialsError, match=r"is the relay's own receiver; name another"):
        destination(own, "traces", {})


def test_without_the_sink_nothing_is_taken_and_it_is_said(otlp):
    said = []
    relay = Relay(replace(otlp, relay=replace(otlp.relay, sinks=("embedded",))), say=said.append)
    relay.stop()
    relay.run()
    assert relay.otlp is None
    assert any("otlp is not among [relay] sinks" in text for text in said)
