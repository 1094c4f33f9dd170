"""The relay's status while a sink is down, blocked, slow or refuses, and when that is over."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import orjson
import pytest
from fault_proxy import FaultProxy
from relay_lines import line

from observability.credentials import Credentials
from observability.journal import frames
from observability.local.health import look_at_delivery
from observability.relay.dead_letters import DeadLetters
from observability.relay.delivery_stats import DeliveryStats
from observability.relay.relay import Relay, read_status
from observability.relay.replay import replay
from observability.settings import get_settings
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install

FAULTS = ("reset before", "whole 429", "whole 500", "item 503")


def wait_until(true, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return found


@pytest.fixture
def cluster(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    yield cluster
    cluster.close()


@pytest.fixture
def relay(settings, monkeypatch):
    """Start a relay in this process, with some more settings; it is stopped at the end."""
    started = []

    def start(*, statsd=False, **environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        one = Relay(get_settings(), statsd=statsd)
        thread = threading.Thread(target=one.run)
        thread.start()
        started.append((one, thread))
        return one

    yield start
    for one, thread in started:
        one.stop()
        thread.join()


def sink_of(relay, name="elasticsearch"):
    told = read_status(relay.home)
    return told and told["sinks"][name]


def metrics(relay, name):
    """The newest value of each series of a metric that the relay wrote of itself."""
    found = {}
    for path in sorted(relay.settings.journal_directory.glob("airflow.statsd-*.journal")):
        for frame in frames(path.read_bytes()):
            one = orjson.loads(frame.document)
            if one["metric.name"] == name:
                found[one.get("telemetry.sink"), one.get("telemetry.stream")] = one["metric.value"]
    return found


@pytest.mark.elasticsearch
@pytest.mark.parametrize("fault", FAULTS)
def test_while_a_sink_takes_nothing_its_lag_grows_and_it_is_named_until_it_is_over(fault, logs, relay, cluster):
    away = threading.Event()
    away.set()
    environ = {
        "CONTRAIL_RELAY__SINKS": "elasticsearch,embedded",
        "CONTRAIL_RELAY__STATSD_INTERVAL_S": "1",
        "CONTRAIL_ELASTICSEARCH__REQUEST_TIMEOUT_S": "1",
        "CONTRAIL_CORE__ENVIRONMENT": f"a{uuid.uuid4().hex[:10]}",
    }
    faults = iter(lambda: fault if away.is_set() else None, "never")
    with FaultProxy(cluster.url, faults, choose=lambda _: True) as proxy:
        one = relay(statsd=True, CONTRAIL_ELASTICSEARCH__URL=proxy.url, **environ)
        logs.write(line("x") * 10)
        early = wait_until(lambda: sink_of(one) and sink_of(one)["lag_seconds"] > 1.0 and sink_of(one))
        logs.write(line("y") * 10)
        wait_until(lambda: sink_of(one)["lag_bytes"] > early["lag_bytes"] and sink_of(one)["lag_seconds"] > 3.0)
        late = sink_of(one)
        assert (late["state"], proxy.url in late["trouble"]) == ("unavailable", True)
        assert late["trouble_since"] <= time.time() - 2.0
        wait_until(lambda: metrics(one, "contrail.relay.lag_ms").get(("elasticsearch", "airflow.task"), 0) > 2000)
        assert metrics(one, "contrail.relay.lag_ms")["embedded", "airflow.task"] < 2000
        assert sink_of(one, "embedded")["state"] == "ok"
        seen = look_at_delivery(get_settings())
        assert (seen.lag_s > 3.0, list(seen.troubles)) == (True, ["elasticsearch"])
        away.clear()
        wait_until(lambda: (sink_of(one)["state"], sink_of(one)["lag_bytes"]) == ("ok", 0))
        wait_until(lambda: metrics(one, "contrail.relay.lag_ms")["elasticsearch", "airflow.task"] < 1000)
        assert look_at_delivery(get_settings()).troubles == {}


def test_a_sink_that_takes_the_call_and_never_answers_is_named(logs, relay):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        logs.write(line("x"))
        one = relay(
            CONTRAIL_RELAY__SINKS="elasticsearch",
            CONTRAIL_ELASTICSEARCH__URL=url,
            CONTRAIL_ELASTICSEARCH__REQUEST_TIMEOUT_S="1",
        )
        told = wait_until(lambda: sink_of(one) and sink_of(one)["lag_seconds"] > 2.0 and sink_of(one))
    assert (told["state"], "timed out" in told["trouble"], told["lag_bytes"]) == ("unavailable", True, len(line("x")))


def test_a_sink_that_cannot_be_opened_is_behind_for_as_long_as_it_is_away(settings, logs, relay):
    settings.store_path.parent.mkdir(parents=True)
    settings.store_path.write_bytes(b"this is no database" * 100)
    logs.write(line("x"))
    one = relay()
    wait_until(lambda: sink_of(one, "embedded") and sink_of(one, "embedded")["lag_seconds"] > 1.5)
    assert "not a database" in sink_of(one, "embedded")["trouble"]


def test_a_relay_that_stands_still_is_behind_by_the_time_of_its_silence(settings, logs, monkeypatch):
    process = subprocess.Popen([sys.executable, "-m", "observability.cli", "relay"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: read_status(settings.home))
        process.send_signal(signal.SIGSTOP)
        told = read_status(settings.home)["time"]
        monkeypatch.setattr(time, "time", lambda: told + 60.0)
        seen = look_at_delivery(settings)
    finally:
        process.kill()
        process.wait()
    assert (seen.lag_s >= 60.0, seen.troubles) == (True, {"relay": "it stands still or was killed: silent for 1 min"})


def test_after_a_replay_the_dead_letters_count_no_longer(settings, logs, relay):
    letters = DeadLetters(settings.home / "dead-letters", "embedded", 1_000_000)
    document = line("again").decode()[:-2] + ',"@timestamp":"2026-01-31T12:00:00.000000Z"}'
    letter = {"reason": "no", "dataset": "airflow.task", "id": "f-0", "source": "s", "group": "g", "document": document}
    letters.write([letter, {**letter, "id": "f-1"}])
    one = relay()
    wait_until(lambda: sink_of(one, "embedded") and sink_of(one, "embedded")["dead_letters"] == 2)
    assert replay(get_settings(), "embedded").stored == 2
    wait_until(lambda: sink_of(one, "embedded")["dead_letters"] == 0)


def test_a_hundred_refusals_in_a_row_are_the_sinks_trouble_until_it_takes_a_document():
    stats = DeliveryStats("one")
    assert stats.judged("etl.event", 0, 99, "illegal") == ""
    assert stats.report(0.0)["state"] == "ok"
    assert stats.judged("etl.event", 0, 1, "illegal") == (
        "each of the last 100 documents of etl.event was refused: illegal"
    )
    stats.judged("airflow.task", 1000, 0, "")
    told = stats.report(0.0)
    assert (told["state"], told["trouble"]) == (
        "refusing",
        "each of the last 100 documents of etl.event was refused: illegal",
    )
    assert stats.judged("etl.event", 1, 7, "illegal") == "etl.event is taken again"
    assert stats.report(0.0)["state"] == "ok"
