import contextlib
import gzip
import random
import socket
import ssl
from dataclasses import replace

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from otlp_receiver import OtlpReceiver, attributes, plain
from relay_lines import line

from observability.contain import take_losses
from observability.credentials import Credentials, CredentialsError
from observability.emit import emit
from observability.events import Identity, RowsRejected
from observability.relay.otlp.destination import Destination, destination, resource
from observability.relay.otlp.receiver import Accepted, Receiver, Refused, TooLarge
from observability.relay.relay import Relay, read_status
from observability.relay.replay import replay
from observability.relay.sinks.otlp import open_sink
from observability.relay.sinks.sink import Batch, SinkUnavailable, carried
from observability.settings import load_settings

PROTOBUF = {"content-type": "application/x-protobuf"}


@pytest.fixture
def receiver():
    with OtlpReceiver() as running:
        yield running


@pytest.fixture
def otlp(settings, receiver):
    """Settings of a relay that sends to the receiver only."""
    return replace(
        settings, relay=replace(settings.relay, sinks=("otlp",)), otlp=replace(settings.otlp, url=receiver.url)
    )


def batch_of(*events, resent=False, **extra):
    documents = [
        orjson.dumps({"offset": at, "level": "info", "event": one, **extra}) for at, one in enumerate(events, 1)
    ]
    ids = [b"file-%d" % number for number in range(len(documents))]
    return Batch("airflow.task", "a.log", "a", ids, documents, resent)


def records_of(message):
    return [record for group in message.resource_logs for scope in group.scope_logs for record in scope.log_records]


def run(settings):
    return Relay(settings, statsd=False).run(once=True, patience_s=20)


def test_lines_become_log_records_in_order_with_severity_body_and_the_attempts_names(otlp, receiver, logs):
    given = line("one", level="warning", rows=3, ratio=0.5, ok=True, nested={"a": [1, "b", None]}, nothing=None)
    logs.write(given + line("two", trace=1, **{"trace.id": "0af7651916cd43dd8448eb211c80319c"}) + b"plain text\n")
    assert run(otlp)
    first, second, third = receiver.logs
    assert [plain(one.body) for one in receiver.logs] == ["one", "two", "plain text"]
    assert (first.severity_text, first.severity_number, second.severity_number) == ("warning", 13, 9)
    told = attributes(first)
    assert (told["airflow.dag_id"], told["airflow.task_id"], told["airflow.try_number"]) == ("flights", "load", 1)
    assert (told["rows"], told["ratio"], told["ok"], told["nested"]) == (3, 0.5, True, {"a": [1, "b", None]})
    assert "nothing" not in told
    assert first.time_unix_nano < second.time_unix_nano < third.time_unix_nano
    assert second.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert len(second.span_id) == 8
    assert (first.trace_id, first.span_id) == (b"", b"")


def test_the_resource_says_who_sends_and_nothing_of_it_stands_in_each_record(otlp, receiver, logs):
    logs.write(line("one"))
    assert run(otlp)
    _, headers, message = receiver.requests[0]
    who = attributes(message.resource_logs[0].resource)
    assert (who["service.name"], who["deployment.environment.name"]) == ("airflow", "dev")
    assert headers["content-encoding"] == "gzip"
    assert not {"host.name", "service.name", "service.environment"} & set(attributes(receiver.logs[0]))


def test_an_event_is_a_record_with_its_name_and_id(otlp, receiver):
    about = Identity(dag_id="flights", task_id="load", run_id="r", try_number=1, map_index=-1, tags=("a", "b"))
    emit(RowsRejected(step="check", rule="positive", rows_rejected=17, identity=about))
    assert run(otlp)
    record = receiver.logs[0]
    told = attributes(record)
    assert (record.event_name, told["etl.rows_rejected"], told["airflow.tags"]) == ("rows.rejected", 17, ["a", "b"])
    assert len(told["log.record.uid"]) == 32
    assert "event.id" not in told


def test_metrics_become_deltas_with_unit_interval_and_tags(otlp, receiver, settings):
    relay = Relay(otlp)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for text in (
        b"contrail.step.rows_out:5|c|#dag_id:flights,mine:x", b"contrail.relay.rss_bytes:7|g",
        *(b"contrail.dag_run.duration_ms:%d|ms" % took for took in (10, 20, 30)), b"users:a|s", b"users:b|s",
    ):  # fmt: skip
        sender.sendto(text, ("127.0.0.1", relay.statsd.port))
    sender.close()
    relay.stop()
    relay.run()
    found = {metric.name: metric for metric in receiver.metrics}
    rows = found["contrail.step.rows_out"]
    point = rows.sum.data_points[0]
    assert (rows.unit, rows.sum.aggregation_temporality, rows.sum.is_monotonic, point.as_double) == (
        "{rows}",
        1,
        True,
        5,
    )
    assert attributes(point)["airflow.dag_id"] == "flights"
    assert attributes(point)["mine"] == "x"
    assert point.start_time_unix_nano < point.time_unix_nano
    took = found["contrail.dag_run.duration_ms"].histogram
    assert (took.aggregation_temporality, took.data_points[0].count, took.data_points[0].sum) == (1, 3, 60)
    assert (took.data_points[0].min, took.data_points[0].max) == (10, 30)
    assert found["contrail.dag_run.duration_ms.p50"].gauge.data_points[0].as_double == 20
    assert found["users"].gauge.data_points[0].as_double == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504, 500, 401, 403, 404, 405, 415, 408])
def test_what_may_be_taken_later_is_sent_again_with_the_same_ids(otlp, receiver, logs, status):
    answers = iter([(status, {"retry-after": "0"}, b"busy")])
    receiver.judge = lambda _path, _message: next(answers, None)
    logs.write(line("one") + line("two"))
    assert run(otlp)
    first, second = (message for _, _, message in receiver.requests)
    assert first == second
    assert len(receiver.uids) == len(set(receiver.uids)) == 2
    assert read_status(otlp.home)["sinks"]["otlp"]["streams"]["airflow.task"]["stored"] == 2


def test_retry_after_is_obeyed_as_a_number_and_as_a_date(otlp, receiver):
    sink = open_sink(otlp)
    receiver.judge = lambda _path, _message: (429, {"retry-after": "7"}, b"")
    with pytest.raises(SinkUnavailable) as refusal:
        sink.send(batch_of("one"))
    assert refusal.value.retry_after_s == 7
    receiver.judge = lambda _path, _message: (503, {"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}, b"")
    with pytest.raises(SinkUnavailable) as refusal:
        sink.send(batch_of("one"))
    assert refusal.value.retry_after_s > 1e9
    receiver.judge = lambda _path, _message: (503, {"retry-after": "soon"}, b"")
    with pytest.raises(SinkUnavailable) as refusal:
        sink.send(batch_of("one"))
    assert refusal.value.retry_after_s is None
    sink.close()


def test_a_request_that_is_too_large_is_halved_and_a_record_too_large_alone_is_rejected(otlp, receiver):
    def judge(_path, message):
        records = message.resource_logs[0].scope_logs[0].log_records
        too_large = len(records) > 2 or any(plain(one.body) == "huge" for one in records)
        return (413, {}, b"too large") if too_large else None

    receiver.judge = judge
    sink = open_sink(otlp)
    answer = sink.send(batch_of(*map(str, range(9)), "huge", *map(str, range(5))))
    assert (answer.stored, answer.dropped, [one.index for one in answer.rejected]) == (14, 0, [9])
    assert "413" in answer.rejected[0].reason
    assert len(receiver.uids) == len(set(receiver.uids)) == 14
    sink.close()


def test_bad_data_in_the_receivers_own_words_is_found_and_the_rest_is_taken(otlp, receiver):
    def judge(_path, message):
        records = message.resource_logs[0].scope_logs[0].log_records
        bad = any(plain(one.body) == "bad" for one in records)
        return (400, {"content-type": "application/json"}, b'{"code":3,"message":"no such"}') if bad else None

    receiver.judge = judge
    sink = open_sink(otlp)
    answer = sink.send(batch_of("bad", "good", "bad", "good"))
    assert (answer.stored, [one.index for one in answer.rejected]) == (2, [0, 2])
    assert "no such" in answer.rejected[0].reason
    sink.close()


def test_a_400_of_something_that_never_took_anything_gives_up_no_record(otlp, receiver):
    receiver.judge = lambda _path, _message: (400, {"content-type": "text/plain"}, b"HTTP request to an HTTPS server")
    sink = open_sink(otlp)
    with pytest.raises(SinkUnavailable, match="HTTPS"):
        sink.send(batch_of("one", "two"))
    receiver.judge = lambda _path, _message: None
    assert sink.send(batch_of("one", "two")).stored == 2
    sink.close()


def test_a_partial_success_is_counted_and_never_sent_again(otlp, receiver, logs):
    told = ExportLogsServiceResponse()
    told.partial_success.rejected_log_records = 2
    told.partial_success.error_message = "too old\x1b[31m"
    receiver.judge = lambda _path, _message: (200, PROTOBUF, told.SerializeToString())
    logs.write(line("one") + line("two") + line("three"))
    take_losses()
    assert run(otlp)
    books = read_status(otlp.home)["sinks"]["otlp"]
    line_books = books["streams"]["airflow.task"]
    assert (line_books["emitted"], line_books["stored"], line_books["dropped"]) == (3, 1, 2)
    assert books["remark"].startswith("the receiver refused 2 records without naming them: too old")
    assert "\x1b" not in books["remark"]
    sent = [plain(one.body) for _, _, message in receiver.requests for one in records_of(message)]
    assert [body for body in sent if body in {"one", "two", "three"}] == ["one", "two", "three"]


def test_a_partial_success_that_refuses_all_names_them(otlp, receiver):
    body = b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"quota"}}'
    receiver.judge = lambda _path, _message: (200, {"content-type": "application/json"}, body)
    sink = open_sink(otlp)
    answer = sink.send(batch_of("one", "two"))
    assert (answer.stored, answer.dropped, [one.reason for one in answer.rejected]) == (0, 0, ["quota", "quota"])
    sink.close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"content-type": "text/html"}, b"<html>sign in</html>"),
        (200, {}, b"ok"),
        (200, PROTOBUF, b"\xff\xff\xff"),
        (200, {"content-type": "application/json"}, b"[1]"),
        (200, {"content-type": "application/json"}, b'{"partialSuccess":{"rejectedLogRecords":"many"}}'),
        (302, {"location": "http://169.254.169.254/"}, b""),
        (307, {"location": "https://elsewhere.example/v1/logs"}, b""),
        (200, PROTOBUF, b"\x00" * 300_000),
    ],
)
def test_an_answer_that_is_no_receivers_is_no_success(otlp, receiver, answer):
    receiver.judge = lambda _path, _message: answer
    sink = open_sink(otlp)
    with pytest.raises(SinkUnavailable):
        sink.send(batch_of("one", "two"))
    assert len(receiver.requests) == 1
    sink.close()


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_success_without_a_body_is_one(otlp, receiver, status):
    receiver.judge = lambda _path, _message: (status, {}, b"")
    sink = open_sink(otlp)
    assert sink.send(batch_of("one")).stored == 1
    sink.close()


def test_what_the_receiver_took_before_it_went_away_is_not_sent_again(otlp, receiver):
    answers = iter([(413, {}, b""), None, (503, {}, b"")])
    receiver.judge = lambda _path, _message: next(answers, None)
    sink = open_sink(otlp)
    with pytest.raises(SinkUnavailable):
        sink.send(batch_of("one", "two"))
    receiver.keep(receiver.requests[1][2])
    receiver.logs = receiver.logs[:1]
    assert sink.send(batch_of("one", "two", resent=True)).stored == 2
    assert sorted(receiver.uids) == ["file-0", "file-1"]
    sink.close()


def test_a_receiver_that_is_down_delays_no_other_sink(settings, logs):
    both = replace(
        settings,
        relay=replace(settings.relay, sinks=("otlp", "embedded")),
        otlp=replace(settings.otlp, url="http://127.0.0.1:9", request_timeout_s=0.2),
    )
    logs.write(line("one"))
    relay = Relay(both, statsd=False)
    assert not relay.run(once=True, patience_s=2, limit_s=3)
    sinks = read_status(both.home)["sinks"]
    assert sinks["embedded"]["streams"]["airflow.task"]["stored"] == 1
    assert sinks["otlp"]["state"] == "unavailable"


def test_a_poisoned_line_is_carried_as_text(otlp, receiver, logs):
    logs.write(b'{"timestamp":"2026-01-31T12:00:00.000000Z","level":"info",broken}\n' + line("good"))
    assert run(otlp)
    assert sorted(plain(one.body)[:12] for one in receiver.logs) == ["good", '{"timestamp"']


HOSTILE = {
    "big": 2**63, "huge": 2**64 - 1, "least": -(2**63), "float": 1e308, "emoji": "\U0001f600", "": "no name",
    "deep": orjson.loads("[" * 60 + "]" * 60), "list": [[], {}, [None]], "long": "x" * 20_000, "a\x00b": "\x00",
}  # fmt: skip


def test_hostile_values_are_read_by_the_strict_decoder(otlp, receiver):
    sink = open_sink(otlp)
    assert sink.send(batch_of("one", **HOSTILE)).stored == 1
    told = attributes(receiver.logs[0])
    assert (told["big"], told["huge"], told["least"]) == (str(2**63), str(2**64 - 1), -(2**63))
    assert (told["float"], told["emoji"], told[""], told["list"]) == (1e308, "\U0001f600", "no name", [[], {}, [None]])
    assert (told["long"], told["a\x00b"]) == ("x" * 20_000, "\x00")
    sink.close()


def test_an_event_that_is_no_text_and_a_level_that_is_unknown_are_kept(otlp, receiver):
    sink = open_sink(otlp)
    sink.send(batch_of({"a": 1}, 7, False, level="loud"))
    assert [plain(one.body) for one in receiver.logs] == [{"a": 1}, 7, False]
    assert {(one.severity_text, one.severity_number) for one in receiver.logs} == {("loud", 0)}
    sink.close()


def test_opentelemetrys_variables_name_address_headers_and_time(monkeypatch, tmp_path, receiver):
    given = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url + "/base/",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": receiver.url + "/v1/logs",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%20ecret, x-tenant = one",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=other",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "none",
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.cluster.name=blue,service.name=ignored",
        "OTEL_SERVICE_NAME": "etl",
    }
    settings = load_settings(environ={})
    logs, metrics, traces = (destination(settings, signal, given) for signal in ("logs", "metrics", "traces"))
    assert logs.url == f"{receiver.url}/v1/logs"
    assert metrics.url == f"{receiver.url}/base/v1/metrics"
    assert (logs.timeout_s, logs.compress, metrics.compress) == (2.5, True, False)
    assert logs.credentials.headers() == {"api-key": "s ecret", "x-tenant": "one"}
    assert traces.credentials.headers() == {"api-key": "other"}
    who = resource(settings, "h", given)
    assert (who["k8s.cluster.name"], who["service.name"], who["host.name"]) == ("blue", "etl", "h")


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({}, "set .otlp. url or connection_id, or OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"ENDPOINT": "collector:4317"}, "must begin with http"),
        ({"ENDPOINT": "http://c:4317", "PROTOCOL": "grpc"}, "http/protobuf only"),
        ({"ENDPOINT": "http://c", "COMPRESSION": "zstd"}, "gzip or none"),
        ({"ENDPOINT": "http://c", "TIMEOUT": "10s"}, "number of milliseconds"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_named_with_its_remedy(variables, remedy):
    given = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()}
    with pytest.raises(CredentialsError, match=remedy):
        destination(load_settings(environ={}), "logs", given)


def test_an_address_of_ours_goes_before_the_variables_and_gets_none_of_their_headers():
    settings = load_settings(environ={"CONTRAIL_OTLP__URL": "http://ours:4318/"})
    given = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://theirs", "OTEL_EXPORTER_OTLP_HEADERS": "key=secret"}
    found = destination(settings, "traces", given)
    assert (found.url, found.credentials.headers()) == ("http://ours:4318/v1/traces", {})


def test_headers_and_login_of_the_connection_are_sent(receiver):
    credentials = Credentials(receiver.url, "me", "pass", {"headers": {"X-Scope-OrgID": "tenant"}})
    made = Receiver(Destination(f"{receiver.url}/v1/logs", credentials, compress=False, timeout_s=5))
    made.send(b"")
    _, headers, _ = receiver.requests[0]
    assert (headers["x-scope-orgid"], headers["authorization"]) == ("tenant", "Basic bWU6cGFzcw==")
    assert "content-encoding" not in headers
    made.close()


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver):
    url = receiver.url.replace("http://", "https://")
    made = Receiver(Destination(f"{url}/v1/logs", Credentials(url), compress=True, timeout_s=2))
    with pytest.raises(SinkUnavailable, match="SSL"):
        made.send(b"")
    made.close()
    with pytest.raises(CredentialsError, match="always verified"):
        Receiver(Destination(f"{url}/v1/logs", Credentials(url, extra={"verify_certs": False}), True, 2))
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
    assert gzip.decompress(gzip.compress(b"")) == b""


def test_no_answer_whatever_its_bytes_is_anything_but_an_outcome_or_unavailable(otlp):
    chance = random.Random(5)
    made = Receiver(destination(otlp, "logs"))
    kinds = ("application/x-protobuf", "application/json", "text/plain", "", "Application/JSON; charset=x", "\x00")
    pieces = (
        b"{",
        b"}",
        b"[",
        b'"partialSuccess"',
        b":",
        b"null",
        b"\x0a\x02\x08\x05",
        b"\xff",
        b"1e999",
        b'"message"',
        b"\x12",
    )
    for _ in range(5000):
        body = b"".join(chance.choices(pieces, k=chance.randrange(6))) + chance.randbytes(chance.randrange(4))
        headers = {"content-type": chance.choice(kinds), "retry-after": chance.choice(("-1", "x", "9" * 400, "1"))}
        status = chance.choice((200, 204, 302, 400, 413, 429, 503, 599, 999))
        with contextlib.suppress(SinkUnavailable):
            answer = made._judged(status, headers, body)
            assert isinstance(answer, (Accepted, Refused, TooLarge))
            assert not isinstance(answer, Accepted) or answer.rejected >= 0
    made.close()


def test_a_relay_loads_no_other_sink_before_its_worker_does(settings, monkeypatch):
    loaded = []
    monkeypatch.setattr("observability.relay.sinks.sink.import_module", loaded.append)
    for name in ("elasticsearch", "cloudwatch", "embedded"):
        assert carried(name, settings) is None
    assert loaded == []


def test_only_the_signals_that_are_wanted_are_sent(otlp, receiver, logs):
    logs.write(line("one"))
    emit(RowsRejected(step="check", rule="x", rows_rejected=1, identity=Identity(dag_id="d", run_id="r")))
    assert run(replace(otlp, otlp=replace(otlp.otlp, signals=("traces", "metrics"))))
    assert receiver.logs == []
    assert "airflow.task" not in read_status(otlp.home)["sinks"]["otlp"]["streams"]


def test_dead_letters_of_the_sink_are_sent_again_and_only_those(otlp, receiver, logs):
    receiver.judge = lambda _path, message: (
        (400, PROTOBUF, b"") if any(plain(one.body) == "bad" for one in records_of(message)) else None
    )
    logs.write(line("good") + line("bad", rows=3) + line("fine"))
    assert run(otlp)
    assert [plain(one.body) for one in receiver.logs] == ["good", "fine"]
    receiver.judge = lambda _path, _message: None
    outcome = replay(otlp, "otlp")
    assert (outcome.stored, outcome.left) == (1, 0)
    bad = receiver.logs[-1]
    assert (plain(bad.body), attributes(bad)["rows"], attributes(bad)["airflow.dag_id"]) == ("bad", 3, "flights")
    assert len(set(receiver.uids)) == len(receiver.uids) == 3
    assert replay(otlp, "otlp").stored == 0


def test_a_replay_says_how_many_letters_were_refused_without_naming_them(otlp, receiver, logs):
    receiver.judge = lambda _path, message: (
        (400, PROTOBUF, b"") if any(plain(one.body) != "good" for one in records_of(message)) else None
    )
    logs.write(line("good") + line("bad") + line("worse"))
    assert run(otlp)
    answer = ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 1
    receiver.judge = lambda _path, _message: (200, PROTOBUF, answer.SerializeToString())
    outcome = replay(otlp, "otlp")
    assert (outcome.stored, outcome.left, outcome.dropped) == (1, 0, 1)
    assert take_losses()
