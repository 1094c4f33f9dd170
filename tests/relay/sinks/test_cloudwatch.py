"""The CloudWatch sink against a server that is as strict as AWS, and what it may never do."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from strict_cloudwatch import FAULTS, StrictCloudWatch

from observability import catalog
from observability.relay.sinks.cloudwatch import CloudWatchSink
from observability.relay.sinks.put_log_events import MOST_BYTES, OVERHEAD, Chunk, chunks, in_order
from observability.relay.sinks.sink import Answer, Batch, SinkUnavailable
from observability.settings import load_settings
from observability.store.aws import CALLS, iam_policy, logs_client, metrics_part, stream_name

NAME = "dag_id=flights/run_id=scheduled__2026-03-01T00:00:00+00:00/task_id=load/attempt=1.log"


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def settings_for(url):
    return load_settings(
        environ={
            "CONTRAIL_CONTRAIL__ENVIRONMENT": "test",
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": url,
        }
    )


def connected(url, timeout_s=5.0):
    settings = settings_for(url)

    def connect():
        client = logs_client(settings)
        client.meta.config.read_timeout = timeout_s
        client._endpoint.http_session._timeout = timeout_s
        client.meta.events.register("before-call.cloudwatch-logs", _only_what_the_policy_allows(settings))
        return client

    return CloudWatchSink(connect, settings, settle_s=0.0)


def _only_what_the_policy_allows(settings):
    allowed = {action for statement in iam_policy(settings)["Statement"] for action in statement["Action"]}

    def check(model, **_):
        assert f"logs:{model.name}" in allowed

    return check


def when(seconds=0.0):
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def lines(start, stop, at=None, padding=""):
    documents = [
        orjson.dumps(
            {"offset": number, "@timestamp": (at or (lambda _: when()))(number), "event": f"line {number}{padding}"}
        )
        for number in range(start, stop)
    ]
    ids = [b"f1-%d" % number for number in range(start, stop)]
    return Batch("airflow.task", NAME, NAME[:-4], ids, documents)


def deliver(sink, batch, attempts=60):
    """Send as the relay does: again, marked as such, until there is an answer."""
    for _ in range(attempts):
        try:
            return sink.send(batch)
        except SinkUnavailable:
            batch = replace(batch, resent=True)
    raise AssertionError(f"no answer in {attempts} attempts")


def numbers(fake):
    return [json.loads(message)["offset"] for message in fake.messages()]


def test_a_batch_goes_to_the_stream_of_its_try_with_retention_set():
    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(lines(0, 100))

    assert answer == Answer(stored=100)
    assert list(fake.streams) == [("/contrail/test/airflow.task", NAME.replace(":", "_"))]
    assert fake.groups == {"/contrail/test/airflow.task": 30}
    assert numbers(fake) == list(range(100))


def test_a_stream_that_is_known_needs_one_call_per_batch():
    with StrictCloudWatch() as fake:
        sink = connected(fake.url)
        sink.send(lines(0, 10))
        before = dict(fake.calls)
        sink.send(lines(10, 20))

    assert {
        call: number - before.get(call, 0) for call, number in fake.calls.items() if number != before.get(call)
    } == {"PutLogEvents": 1}


def test_a_big_batch_is_cut_within_every_limit():
    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(lines(0, 25_000))
        assert answer == Answer(stored=25_000)
        connected(fake.url).send(lines(25_000, 25_020, padding="é" * 100_000))

    assert fake.violations == []
    assert numbers(fake) == list(range(25_020))


def test_a_line_that_is_too_large_costs_that_line_only():
    batch = lines(0, 3)
    batch.documents[1] = orjson.dumps({"event": "x" * MOST_BYTES})

    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(batch)

    assert (answer.stored, [rejected.index for rejected in answer.rejected]) == (2, [1])
    assert "larger than CloudWatch takes" in answer.rejected[0].reason


def test_lines_that_are_too_old_or_too_far_ahead_are_rejected_with_the_reason():
    days = {0: -15 * 86_400, 1: -15 * 86_400, 2: 0, 3: 3 * 3600, 4: 0}

    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(lines(0, 5, at=lambda number: when(days[number])))

    assert answer.stored == 2
    assert [(one.index, one.reason) for one in answer.rejected] == [
        (0, "older than 14 days or than the retention of its log group"),
        (1, "older than 14 days or than the retention of its log group"),
        (3, "more than 2 hours in the future"),
    ]
    assert numbers(fake) == [2, 4]


def test_a_clock_that_goes_back_does_not_change_the_order():
    with StrictCloudWatch() as fake:
        sink = connected(fake.url)
        sink.send(lines(0, 10, at=lambda number: when(-number * 600)))
        sink.send(lines(10, 20, at=lambda number: when(-number * 600)))

    assert numbers(fake) == list(range(20))
    assert fake.violations == []


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_loses_and_doubles_nothing(fault):
    with StrictCloudWatch([None, None, fault, None, fault], stall_s=0.6) as fake:
        sink = connected(fake.url, timeout_s=0.4 if fault == "stall" else 5.0)
        sink.send(lines(0, 5))
        answer = deliver(sink, lines(5, 3000, padding="x" * 900))

    assert fake.seen[fault] >= 1
    assert answer.stored + answer.duplicates == 2995
    assert numbers(fake) == list(range(3000))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_half_of_all_calls_throttled_and_some_replies_lost_loses_and_doubles_nothing(seed):
    chance = random.Random(seed)
    faults = ("throttle" if chance.random() < 0.5 else "lose" if chance.random() < 0.1 else None for _ in iter(int, 1))

    with StrictCloudWatch(faults) as fake:
        sink = connected(fake.url)
        answers = [deliver(sink, lines(start, start + 500, padding="x" * 4000)) for start in range(0, 5000, 500)]

    assert sum(answer.stored + answer.duplicates for answer in answers) == 5000
    assert numbers(fake) == list(range(5000))


def test_after_a_crash_what_the_stream_holds_is_not_sent_again():
    with StrictCloudWatch() as fake:
        connected(fake.url).send(lines_at_noon(0, 700))

        answer = connected(fake.url).send(replace(lines_at_noon(0, 1000), resent=True))

    assert answer == Answer(stored=300, duplicates=700)
    assert numbers(fake) == list(range(1000))


def lines_at_noon(start, stop):
    noon = time.time() - 3600
    base = datetime.fromtimestamp(noon - noon % 3600, timezone.utc)

    def at(number):
        return (base + timedelta(milliseconds=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")

    return lines(start, stop, at=at)


def test_a_throttled_call_asks_to_wait_and_is_not_read_back():
    with StrictCloudWatch([None, None, "throttle"]) as fake:
        sink = connected(fake.url)
        sink.send(lines(0, 1))
        batch = lines(1, 10)
        with pytest.raises(SinkUnavailable) as raised:
            sink.send(batch)
        sink.send(replace(batch, resent=True))

    assert raised.value.retry_after_s == 1.0
    assert fake.calls["GetLogEvents"] == 0


def test_a_metric_document_carries_its_metric_for_the_dimensions_that_it_has():
    now = 1_772_366_400_000
    document = {"metric.name": "contrail.task.outcomes", "metric.type": "counter", "metric.value": 3}
    document |= {"airflow.dag_id": "flights", "service.environment": "prod"}

    part = metrics_part(document, "Contrail", now)

    assert part["contrail.task.outcomes"] == 3
    assert part["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": "Contrail",
            "Dimensions": [("env",), ("env", "dag_id")],
            "Metrics": [{"Name": "contrail.task.outcomes", "Unit": "Count"}],
        }
    ]
    assert (part["env"], part["dag_id"]) == ("prod", "flights")


def test_the_dimensions_of_every_metric_are_tags_that_it_may_carry():
    bounded = {"run_id", "ti_id", "map_index", "try_number"}

    assert not [name for name, sets in catalog.DIMENSIONS.items() for one in sets if set(one) & bounded]


def test_a_timer_keeps_its_percentiles():
    quantiles = {"metric.min": 1.0, "metric.p50": 10.0, "metric.p95": 100.0, "metric.p99": 200.0, "metric.max": 500.0}
    document = {
        "metric.name": "contrail.dag_run.duration_ms",
        "metric.type": "timer",
        "metric.count": 5000,
        **quantiles,
    }

    values = metrics_part(document | {"service.environment": "e"}, "N", 0)["contrail.dag_run.duration_ms"]

    assert len(values) == 100
    assert sorted(values) == values
    assert values[49] == pytest.approx(10.0, rel=0.02)
    assert values[94] == pytest.approx(100.0, rel=0.02)


def test_a_triggers_part_of_a_try_goes_to_the_stream_of_the_try():
    assert stream_name(f"{NAME}.trigger.7.log", "dag_id=x") == NAME.replace(":", "_")


def test_a_long_name_is_cut_but_stays_apart():
    first, second = (stream_name("x", f"scheduler@{'a' * 600}{end}") for end in "12")

    assert len(first) == len(second) == 512
    assert first != second


def test_the_committed_policy_allows_every_call_and_no_wildcard():
    committed = json.loads((Path(__file__).parents[3] / "config/cloudwatch/iam-policy.json").read_text("utf-8"))

    assert committed == iam_policy(load_settings(environ={"CONTRAIL_CONTRAIL__ENVIRONMENT": "${Environment}"})), (
        "make generate"
    )
    assert {action for one in committed["Statement"] for action in one["Action"]} == {
        f"logs:{call}" for calls in CALLS.values() for call in calls
    }
    assert not [
        one
        for one in committed["Statement"]
        if any("*" in action for action in one["Action"]) or "*" in one["Resource"]
    ]


_HOUR_MS = 3_600_000


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-20 * 24 * _HOUR_MS, 5 * _HOUR_MS), st.sampled_from([1, 50, 400_000, MOST_BYTES - OVERHEAD])
        ),
        max_size=60,
    )
)
def test_chunks_hold_every_event_once_within_every_limit(given_events):
    now = 1_772_366_400_000
    latest = now + 2 * _HOUR_MS
    times = in_order([now + delta for delta, _ in given_events], latest, 0)
    messages = [b"x" * size for _, size in given_events]

    made = list(chunks(Chunk(list(range(len(times))), times, messages), latest))

    assert [place for chunk in made for place in chunk.places] == list(range(len(times)))
    for chunk in made:
        assert sum(len(message) + 26 for message in chunk.messages) <= 1_048_576
        assert chunk.times == sorted(chunk.times)
        assert chunk.times[-1] - chunk.times[0] < 24 * _HOUR_MS


def test_a_line_with_raw_control_characters_and_one_that_is_no_json_arrive_as_they_are():
    batch = lines(0, 3)
    batch.documents[1] = b'{"event":"\t\x01 torn \\'

    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(batch)

    assert answer.stored == 3
    assert batch.documents[1].decode() in fake.messages()
