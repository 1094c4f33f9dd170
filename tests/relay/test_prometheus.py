"""The series that Prometheus scrapes from a relay and a watcher, read by the strict parser of its own client."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as older

from observability import metrics
from observability.contain import take_losses
from observability.emit import emit
from observability.errors import StatsdUnavailable
from observability.events import Identity, TaskSucceeded
from observability.openmetrics import Exposition, family_name
from observability.relay.relay import Relay

TRACE = "0af7651916cd43dd8448eb211c80319c"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scraped(port, accept="application/openmetrics-text"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"accept": accept})
    with urllib.request.urlopen(request, timeout=10) as reply:
        return reply.headers["content-type"], reply.read().decode()


def samples(text, parser=text_string_to_metric_families):
    return {(one.name, tuple(sorted(one.labels.items()))): one for family in parser(text) for one in family.samples}


@pytest.fixture
def scraping(settings):
    """A relay with /metrics that has received ``lines`` and written its interval."""
    relays = []

    def start(*lines):
        port = free_port()
        relay = Relay(replace(settings, relay=replace(settings.relay, metrics_port=port)))
        relays.append(relay)
        for one in lines:
            relay.statsd.take(one)
        relay.statsd.flush()
        return port

    yield start
    for relay in relays:
        relay._stop_listening()
        relay.statsd.close()
        relay._lock.close()


def test_a_scrape_has_the_catalogues_names_cumulative_and_typed(scraping, settings):
    port = scraping(
        b"contrail.step.rows_out:5|c|#dag_id:flights,task_id:load,step:a",
        b"contrail.task.peak_rss_bytes:7|g|#dag_id:flights",
        b"contrail.dag_run.duration_ms:1500:90000|ms|#dag_id:flights", b"airflow.scheduler_heartbeat:3|c",
        b"airflow.pool.open_slots:128|g|#pool_name:default", b"mine.own-thing:2|c", b"users:a|s", b"users:b|s",
    )  # fmt: skip
    media, text = scraped(port)
    assert media.startswith("application/openmetrics-text; version=1.0.0")
    found = samples(text)
    flights = (("dag_id", "flights"),)
    assert found["contrail_step_rows_out_total", (*flights, ("step", "a"), ("task_id", "load"))].value == 5
    assert found["contrail_task_peak_rss_bytes", flights].value == 7
    assert found["airflow_scheduler_heartbeat_total", ()].value == 3
    assert found["airflow_pool_open_slots", (("pool_name", "default"),)].value == 128
    assert found["mine_own_thing_total", ()].value == 2
    assert found["users", ()].value == 2
    took = "contrail_dag_run_duration_seconds"
    buckets = {dict(labels)["le"]: one.value for (name, labels), one in found.items() if name == f"{took}_bucket"}
    assert (buckets["1.0"], buckets["5.0"], buckets["60.0"], buckets["300.0"], buckets["+Inf"]) == (0, 1, 1, 2, 2)
    assert (found[f"{took}_count", flights].value, found[f"{took}_sum", flights].value) == (2, 91.5)
    assert ("contrail_relay_up", (("env", "dev"),)) in found


def test_counters_grow_from_interval_to_interval_and_gauges_stand(settings):
    shown = Exposition()
    for _ in range(3):
        shown.add("contrail.step.rows_out", "counter", (("dag_id", "d"),), 2)
        shown.add("contrail.relay.rss_bytes", "gauge", (), 9)
        shown.add("contrail.dag_run.duration_ms", "timer", (), 3000, [1000, 2000], 4)
    found = samples(shown.text().decode())
    assert found["contrail_step_rows_out_total", (("dag_id", "d"),)].value == 6
    assert found["contrail_relay_rss_bytes", ()].value == 9
    assert found["contrail_dag_run_duration_seconds_count", ()].value == 12


def test_the_older_text_format_is_served_to_who_asks_for_no_other(scraping):
    media, text = scraped(scraping(b"contrail.step.rows_out:5|c|#dag_id:flights"), accept="*/*")
    assert media.startswith("text/plain; version=0.0.4")
    assert samples(text, older)["contrail_step_rows_out_total", (("dag_id", "flights"),)].value == 5
    assert "EOF" not in text


def test_a_counter_and_a_histogram_have_the_trace_of_their_newest_event(scraping):
    about = Identity(dag_id="flights", task_id="load", run_id="r", try_number=1, operator="Py", trace_id=TRACE)
    when = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    emit(TaskSucceeded(identity=about, time=when, duration_ns=2_000_000_000))
    tags = b"|#dag_id:flights,task_id:load,operator:Py,state:success,env:dev"
    _, text = scraped(scraping(b"contrail.task.outcomes:1|c" + tags, b"contrail.task.duration_ms:2000|ms" + tags))
    found = [one for one in samples(text).values() if one.exemplar]
    assert {one.name for one in found} == {"contrail_task_outcomes_total", "contrail_task_duration_seconds_bucket"}
    assert {one.exemplar.labels["trace_id"] for one in found} == {TRACE}
    assert {one.exemplar.value for one in found} == {1, 2}


HOSTILE = ('a"b\\c\nd', "}", "é\u2028", "", "x" * 5000, 'le="1"')


@pytest.mark.parametrize("value", HOSTILE)
def test_any_value_of_a_tag_is_read_back_as_it_is(value):
    shown = Exposition()
    shown.add("mine", "counter", (("a tag", value), ("1st", "x")), 1)
    found = samples(shown.text().decode())
    assert [dict(labels) for name, labels in found if name == "mine_total"] == [{"a_tag": value, "_1st": "x"}]


def test_series_beyond_the_budget_are_one_series():
    shown = Exposition(budget=3)
    for number in range(10):
        shown.add("mine", "counter", (("n", str(number)),), 1)
    found = {
        labels: one.value for (name, labels), one in samples(shown.text().decode()).items() if name == "mine_total"
    }
    assert found[("folded", "true"),] == 7
    assert len(found) == 4


def test_a_name_that_two_types_share_is_shown_once_and_the_other_counted():
    shown = Exposition()
    take_losses()
    shown.add("mine.x", "counter", (), 1)
    shown.add("mine_x", "gauge", (), 5)
    assert samples(shown.text().decode())["mine_x_total", ()].value == 1
    assert take_losses() == {("openmetrics", "series whose name has another type already"): 1}


def test_odd_numbers_are_written_as_prometheus_reads_them():
    shown = Exposition()
    for name, value in (("a", float("inf")), ("b", float("nan")), ("c", 1e300), ("d", -0.5)):
        shown.add(name, "gauge", (), value)
    found = samples(shown.text().decode())
    assert (found["a", ()].value, found["c", ()].value, found["d", ()].value) == (float("inf"), 1e300, -0.5)
    assert str(found["b", ()].value) == "nan"


def test_a_name_that_begins_with_a_digit_is_one_that_prometheus_takes():
    assert (family_name("2.things", "counter"), family_name("dagrun.duration", "timer")) == (
        "_2_things", "airflow_dagrun_duration_seconds",
    )  # fmt: skip


def test_nothing_is_served_unless_a_port_is_given_and_no_other_path_ever(scraping, settings):
    relay = Relay(settings)
    assert relay.metrics is None
    relay.statsd.close()
    relay._lock.close()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{scraping()}/", timeout=10)
    assert refused.value.code == 404
    refused.value.close()


def test_a_port_that_is_taken_is_named_with_its_option(settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = replace(settings, relay=replace(settings.relay, metrics_port=taken.getsockname()[1]))
        with pytest.raises(StatsdUnavailable, match=r"change \[relay\] metrics_port"):
            Relay(busy)
    Relay(settings, statsd=False).run(once=True)


def test_the_watchers_own_metrics_are_scraped_from_it(settings, tmp_path):
    port = free_port()
    env = {**os.environ, "CONTRAIL_WATCH__METRICS_PORT": str(port), "CONTRAIL_HOME": str(tmp_path / "home")}
    watcher = subprocess.Popen([sys.executable, "-m", "observability.cli.watch", "--no-api"], env=env)
    try:
        deadline = time.monotonic() + 60
        found = {}
        while ("contrail_incident_open", (("env", "dev"), ("severity", "error"))) not in found:
            assert time.monotonic() < deadline
            assert watcher.poll() is None
            time.sleep(0.1)
            try:
                found = samples(scraped(port)[1])
            except OSError:
                continue
    finally:
        watcher.terminate()
        watcher.wait(30)


def test_a_listener_hears_what_the_process_sends(settings, monkeypatch):
    heard = []
    monkeypatch.setattr(metrics, "_listeners", [])
    metrics.flush()
    metrics.listen(lambda *one: heard.append(one))
    metrics.increment("mine.thing", 3, dag_id="d")
    metrics.flush()
    assert heard == [("incr", "mine.thing,env=dev,dag_id=d", 3)]
