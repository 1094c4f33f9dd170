"""A real OpenTelemetry Collector takes logs, spans and metrics, and has them in its file; also after an outage."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest
from otel_collector import Collector
from relay_lines import expected, line

from observability.emit import emit
from observability.events import (
    DagRunSucceeded,
    Identity,
    RowsRejected,
    StepMeasured,
    TaskKilled,
    TaskStarted,
    TaskSucceeded,
)
from observability.relay.relay import Relay, read_status

TRACE = "0af7651916cd43dd8448eb211c80319c"

pytestmark = pytest.mark.slow


def about(number):
    return Identity(
        dag_id="flights", task_id="load", run_id="r", try_number=number, map_index=-1, trace_id=TRACE, ti_id=str(number)
    )


def write(logs, number):
    """Write as one attempt does: a log long enough to be read by its form, a step, a quarantine, an end."""
    emit(TaskStarted(identity=about(number)))
    logs.write(
        b"".join(line(f"{number}\t“{one}”", one, rows=one, logger="load", lineno=7) for one in range(300)),
        f"dag_id=flights/run_id=r/task_id=load/attempt={number}.log",
    )
    emit(StepMeasured(identity=about(number), step="read", rows_in=number, duration_ns=1000, discriminator=str(number)))
    emit(RowsRejected(identity=about(number), step="check", rule="x", rows_rejected=1, discriminator=str(number)))
    emit(
        TaskSucceeded(identity=about(number))
        if number == 2
        else TaskKilled(identity=about(number), cause="killed", reason="SIGKILL")
    )


@pytest.fixture
def collector(tmp_path):
    return Collector(tmp_path)


@pytest.fixture
def otlp(settings, collector):
    return replace(
        settings, relay=replace(settings.relay, sinks=("otlp",)), otlp=replace(settings.otlp, url=collector.url)
    )


def lines_of(collector):
    """Path and byte offset of each line that arrived, as often as it did."""
    told = [collector.attributes(one) for one in collector.records if "eventName" not in one]
    return sorted((one["log.file.path"], int(one["log.record.uid"].rpartition("-")[2])) for one in told)


def test_the_collector_has_each_line_each_span_and_each_series_once_in_its_file(otlp, collector, logs):
    write(logs, 1)
    write(logs, 2)
    emit(DagRunSucceeded(identity=Identity(dag_id="flights", run_id="r", trace_id=TRACE), duration_ns=1000))
    with collector:
        relay = Relay(otlp)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"contrail.step.rows_out:5|c|#dag_id:flights", ("127.0.0.1", relay.statsd.port))
        relay.stop()
        assert relay.run()
        assert Relay(otlp, statsd=False).run(once=True, patience_s=20)
    assert lines_of(collector) == sorted(expected(logs.root))
    assert set(collector.uids.values()) == {1}
    (first,) = [one for one in collector.records if one["body"] == {"stringValue": "1\t“200”"}]
    assert (first["severityText"], first["traceId"], collector.attributes(first)["rows"]) == ("info", TRACE, "200")
    by_id = {one["spanId"]: one for one in collector.spans}
    assert len(by_id) == len(collector.spans) == 5
    (run,) = [one for one in collector.spans if one["name"] == "flights"]
    attempts = [one for one in collector.spans if one["name"] == "load"]
    assert {one["parentSpanId"] for one in attempts} == {run["spanId"]}
    assert {by_id[one["parentSpanId"]]["name"] for one in collector.spans if one["name"] == "read"} == {"load"}
    assert sorted(one["status"].get("message", "") for one in attempts) == ["", "SIGKILL"]
    assert {one["traceId"] for one in collector.spans} == {TRACE}
    (rows,) = [one for one in collector.metrics if one["name"] == "contrail.step.rows_out"]
    assert rows["sum"]["dataPoints"][0]["asDouble"] == 5


@pytest.mark.parametrize("away_s", [65])
def test_an_outage_of_the_collector_is_told_and_costs_nothing(otlp, collector, logs, away_s):
    write(logs, 1)
    relay = Relay(otlp)
    running = threading.Thread(target=relay.run)
    with collector:
        running.start()
        wait_for(lambda: len(lines_of(collector)) == 300)
    try:
        write(logs, 2)
        until = time.monotonic() + away_s
        wait_for(lambda: time.monotonic() > until, away_s + 10)
        assert "gave no whole answer" in str(read_status(otlp.home)["sinks"]["otlp"])
        with collector:
            wait_for(lambda: {"sink.failed", "sink.recovered"} <= actions_of(collector))
            relay.stop()
            running.join(60)
    finally:
        relay.stop()
        running.join(60)
    assert lines_of(collector) == sorted(expected(logs.root))
    assert set(collector.uids.values()) == {1}


def actions_of(collector):
    return {one.get("eventName") for one in collector.records}


def wait_for(true, deadline_s=60):
    deadline = time.monotonic() + deadline_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
