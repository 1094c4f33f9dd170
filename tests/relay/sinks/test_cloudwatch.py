"""The CloudWatch sink against a server that is as strict as AWS, and what it may never do."""

from __future__ import annotations

import gc
import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path

import orjson
import pytest
import strict_cloudwatch
from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from iam import DeniedError, guarded
from strict_cloudwatch import FAULTS, StrictCloudWatch

from observability import catalog
from observability.relay.sinks import cloudwatch, put_log_events
from observability.relay.sinks.cloudwatch import CloudWatchSink
from observability.relay.sinks.put_log_events import MOST_BYTES, OVERHEAD, Chunk, chunks, in_order, milliseconds, sound
from observability.relay.sinks.sink import Batch, SendResult, SinkUnavailable
from observability.settings import load_settings
from observability.store.aws import CALLS, group_name, iam_policy, logs_client, metrics_part, stream_name

NAME = "dag_id=flights/run_id=scheduled__2026-03-01T00:00:00+00:00/task_id=load/attempt=1.log"


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")


def settings_for(url, home=""):
    return load_settings(
        environ={
            "CONTRAIL_CORE__HOME": str(home),
            "CONTRAIL_CORE__ENVIRONMENT": "test",
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": url,
        }
    )


def connected(url, timeout_s=5.0, without="", home=""):
    settings = settings_for(url, home)

    def connect():
        client = logs_client(settings)
        client.meta.config.read_timeout = timeout_s
        client._endpoint.http_session._timeout = timeout_s
        return guarded(client, settings, "ContrailRelayWrites", without=without)

    return CloudWatchSink(connect, settings, settle_s=0.0)


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

    assert answer == SendResult(stored=100)
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


def test_what_the_client_is_made_of_is_left_out_of_collections_until_it_is_closed():
    with StrictCloudWatch() as fake:
        sink = connected(fake.url)
        sink.send(lines(0, 1))
        frozen = gc.get_freeze_count()
        sink.close()

    assert frozen > 10_000
    assert gc.get_freeze_count() == 0


def test_a_client_that_a_sink_gave_back_sends_what_it_is_told():
    with StrictCloudWatch() as fake:
        client = logs_client(settings_for(fake.url))
        sink = CloudWatchSink(lambda: client, settings_for(fake.url), settle_s=0.0)
        sink.send(lines(0, 1))
        sink.close()
        (group, stream) = next(iter(fake.streams))
        told = {"timestamp": int(time.time() * 1000), "message": '{"offset":7}'}
        client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[told])

    assert numbers(fake) == [0, 7]


def test_a_big_batch_is_cut_within_every_limit():
    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(lines(0, 25_000))
        assert answer == SendResult(stored=25_000)
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
def test_half_of_all_calls_throttled_and_a_twentieth_applied_but_timed_out_loses_and_doubles_nothing(seed):
    chance = random.Random(seed)
    faults = ("stall" if n % 20 == 10 else "throttle" if chance.random() < 0.5 else None for n in count())

    with StrictCloudWatch(faults, stall_s=1.2) as fake:
        sink = connected(fake.url, timeout_s=0.8)
        answers = [deliver(sink, lines(start, start + 500, padding="x" * 4000)) for start in range(0, 5000, 500)]

    assert fake.seen["throttle"] > 5
    assert fake.seen["stall"] >= 1
    assert sum(answer.stored + answer.duplicates for answer in answers) == 5000
    assert numbers(fake) == list(range(5000))


@pytest.mark.parametrize(
    ("hours", "reason"),
    [(3, "more than 2 hours in the future"), (-15 * 24, "older than 14 days or than the retention of its log group")],
)
def test_a_clock_that_is_wrong_costs_its_lines_with_the_reason_and_none_after_it_is_right(hours, reason):
    wrong = time.time() + hours * 3600
    settings = settings_for("")
    fake = StrictCloudWatch()
    sink = CloudWatchSink(fake.client, settings, settle_s=0.0, clock=lambda: wrong)

    refused = sink.send(lines(0, 50, at=lambda _: when(hours * 3600)))
    wrong = time.time()
    taken = sink.send(lines(50, 100))

    assert (refused.stored, [one.index for one in refused.rejected]) == (0, list(range(50)))
    assert {one.reason for one in refused.rejected} == {reason}
    assert taken == SendResult(stored=50)
    assert numbers(fake) == list(range(50, 100))
    assert fake.violations == []


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("day", ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"])
def test_the_hour_that_a_change_of_the_clock_leaves_out_or_repeats_is_an_hour_like_others(monkeypatch, zone, day):
    start = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp()) * 1000
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        stamps = [datetime.fromtimestamp(start / 1000 + minute * 60, timezone.utc) for minute in range(0, 1440, 10)]
        texts = [stamp.isoformat(timespec="microseconds").replace("+00:00", "Z") for stamp in stamps]
        documents = [b'{"offset":1,"@timestamp":"%b"}' % text.encode() for text in texts]
        found = milliseconds(documents, -1, 0)
    finally:
        monkeypatch.undo()
        time.tzset()

    assert found == [start + minute * 60_000 for minute in range(0, 1440, 10)]


@pytest.mark.parametrize("sets", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_random_sets_meet_every_limit_and_each_line_is_stored_once_or_rejected_with_a_reason(monkeypatch, sets):
    """The limits are a five-hundredth of the real ones on both sides, so that a set meets all of them often."""
    monkeypatch.setattr(strict_cloudwatch, "MOST_EVENTS", 20)
    monkeypatch.setattr(strict_cloudwatch, "MOST_BYTES", 2_048)
    monkeypatch.setattr(put_log_events, "MOST_EVENTS", 20)
    monkeypatch.setattr(put_log_events, "MOST_BYTES", 2_048)
    monkeypatch.setattr(cloudwatch, "MOST_BYTES", 2_048)
    chance, settings, met = random.Random(sets), settings_for(""), Counter()
    for number in range(sets):
        now = 1_772_366_400.0 + number
        fake = StrictCloudWatch(
            chance.choices([None, "throttle", "refuse", "lose"], [90, 5, 2, 3])[0] for _ in iter(int, 1)
        )
        fake.now_ms = int(now * 1000)
        sink = CloudWatchSink(fake.client, settings, settle_s=0.0, clock=lambda now=now: now, sleep=lambda _: None)
        batches = [random_batch(chance, now, part) for part in range(chance.choice((1, 1, 2)))]
        for part, batch in enumerate(batches):
            answer = deliver(sink, batch)
            rejected = {one.index for one in answer.rejected}
            assert answer.stored + answer.duplicates + len(rejected) == len(batch.ids)
            shown = sorted(fake.streams.get((group(settings), NAME.replace(":", "_")), []), key=at)
            mine = [event["message"] for event in shown if f'"batch":{part}' in event["message"]]
            kept = [one for place, one in enumerate(sound(batch.documents)) if place not in rejected]
            assert mine == [one.decode() for one in kept]
            met["rejected"] += len(rejected)
            met["stored"] += len(kept)
            met["duplicates"] += answer.duplicates
        met["requests"] += fake.seen["passed"]
        assert fake.violations == []
    assert min(met.values()) > 0
    assert met["rejected"] + met["stored"] > 10 * sets


def group(settings):
    return group_name(settings, "airflow.task")


def at(event):
    return event["timestamp"]


def random_batch(chance, now, part):
    """Documents whose times go back and forth, jump days and leave the bounds, of all sizes, some of them no UTF-8."""
    clock, documents = now - chance.choice((0, 3600, 10 * 86_400)), []
    for number in range(chance.randint(1, 50)):
        clock += chance.choice((0, 0.001, 1, -5, 3600, 90_000, -90_000)) if chance.random() < 0.7 else 0.02
        if chance.random() < 0.02:
            clock = now + chance.choice((-15 * 86_400, 3 * 3600, 7199, 7201))
        stamp = datetime.fromtimestamp(clock, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
        text = chance.choice(
            (b"x" * chance.choice((0, 10, 300, 1_900, 2_050)), b"\xc3\x28\xff", "é\\".encode() * 90, b"\t\x01")
        )
        when_ = b"" if chance.random() < 0.01 else b'"@timestamp":"%b",' % stamp.encode()
        documents.append(b'{"offset":%d,%b"batch":%d,"event":"%b"}' % (number, when_, part, text))
    ids = [b"f%d-%d" % (part, number) for number in range(len(documents))]
    return Batch("airflow.task", NAME, NAME[:-4], ids, documents)


def test_after_a_crash_what_the_stream_holds_is_not_sent_again():
    with StrictCloudWatch() as fake:
        connected(fake.url).send(lines_at_noon(0, 700))

        answer = connected(fake.url).send(replace(lines_at_noon(0, 1000), resent=True))

    assert answer == SendResult(stored=300, duplicates=700)
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


def write_everything(fake, without=""):
    """Have the relay make every call that it can make."""
    sink = connected(fake.url, without=without)
    sink.send(lines(0, 5))
    sink.send(replace(lines(0, 10), resent=True))
    sink.close()


def test_the_relay_makes_every_call_that_its_policy_allows_and_no_other():
    with StrictCloudWatch() as fake:
        write_everything(fake)

    assert set(fake.calls) == set(CALLS["ContrailRelayWrites"])


@pytest.mark.parametrize("call", CALLS["ContrailRelayWrites"])
def test_a_call_of_the_relay_that_the_policy_does_not_allow_is_found(call):
    with StrictCloudWatch() as fake, pytest.raises(DeniedError, match=call):
        write_everything(fake, without=call)


def test_a_call_on_a_log_group_of_somebody_else_is_found():
    with StrictCloudWatch() as fake:
        settings = settings_for(fake.url)
        client = guarded(logs_client(settings), settings, "ContrailRelayWrites")
        with pytest.raises(DeniedError, match="/aws/lambda/theirs"):
            client.create_log_group(logGroupName="/aws/lambda/theirs")


def test_the_committed_policy_allows_every_call_and_no_wildcard():
    committed = json.loads((Path(__file__).parents[3] / "config/cloudwatch/iam-policy.json").read_text("utf-8"))

    assert committed == iam_policy(load_settings(environ={}), "${Environment}"), "make generate"
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


@pytest.mark.parametrize("ended", ["failed", "killed"])
def test_a_group_whose_retention_could_not_be_set_gets_it_at_the_next_try(ended, tmp_path):
    with StrictCloudWatch() as fake:
        sink = connected(fake.url, home=tmp_path)
        real = sink._made
        calls = []

        def made(call, **named):
            calls.append(call)
            if call == "put_retention_policy" and calls.count(call) == 1:
                raise SinkUnavailable("it failed once") if ended == "failed" else KeyboardInterrupt
            return real(call, **named)

        sink._made = made
        with pytest.raises((SinkUnavailable, KeyboardInterrupt)):
            sink.send(lines(0, 3))
        assert list(fake.groups.values()) == [None]
        again = sink if ended == "failed" else connected(fake.url, home=tmp_path)
        again.send(replace(lines(0, 3), resent=True))

    assert list(fake.groups.values()) == [30]
    assert numbers(fake) == [0, 1, 2]


@pytest.mark.parametrize("started_anew", [False, True])
@pytest.mark.parametrize("event", ["before-call", "after-call"])  # not done, or done and the reply lost
@pytest.mark.parametrize("failing", range(1, 7))
def test_whichever_call_of_the_first_delivery_fails_the_next_try_finishes_it(tmp_path, failing, event, started_anew):
    calls = count(1)

    def fail(model, **_):
        if next(calls) == failing:
            raise EndpointConnectionError(endpoint_url=model.name)

    def connect():
        client = logs_client(settings_for(fake.url, tmp_path))
        client.meta.events.register_last(f"{event}.cloudwatch-logs", fail)
        return client

    def sink():
        return CloudWatchSink(connect, settings_for(fake.url, tmp_path), settle_s=0.0)

    with StrictCloudWatch() as fake:
        one, batch = sink(), lines(0, 3)
        with suppress(SinkUnavailable):
            one.send(batch)
        answer = (sink() if started_anew else one).send(replace(batch, resent=True))

    assert (answer.stored + answer.duplicates, answer.rejected) == (3, [])
    assert list(fake.groups.values()) == [30]
    assert numbers(fake) == [0, 1, 2]


def test_what_is_too_old_says_when_it_was_written():
    with StrictCloudWatch() as fake:
        answer = connected(fake.url).send(lines(0, 2, at=lambda number: when((number - 1) * 20 * 86_400)))

    [refused] = answer.rejected
    assert refused.index == 0
    assert abs(refused.written - (time.time() - 20 * 86_400)) < 60
