"""Samples are added up in bounded memory, and a series becomes one document."""

import math

import pytest

from observability.relay.sources.statsd import series as module
from observability.relay.sources.statsd.series import (
    FOLDED,
    FOLDED_METRICS,
    Aggregate,
    Room,
    Series,
    bounded,
    metric_document,
)


def timer(values, room=1 << 30, weight=1.0):
    made = Series("timer", Room(room))
    for value in values:
        made.timing(value, weight)
    return made


def test_room_is_taken_down_to_nothing_and_not_beyond():
    room = Room(10)
    assert [room.take(6), room.take(5), room.take(4), room.take(1)] == [True, False, True, False]
    assert room.left == 0


@pytest.mark.parametrize(
    ("samples", "room", "kept", "left"),
    [
        (63, 10_000, 63, 10_000),
        (64, 10_000, 64, 10_000 - 8 * 64),
        (65, 511, 64, 511),
        (65, 512, 65, 0),
        (129, 8 * 64 + 8 * 128, 129, 0),
        (129, 8 * 64 + 8 * 128 - 1, 128, 8 * 128 - 1),
        (5000, 1 << 20, 4096, (1 << 20) - 8 * 4032),
    ],
)
def test_a_timer_keeps_twice_as_many_samples_each_time_while_there_is_room_for_them(samples, room, kept, left):
    made = timer(range(samples), room)
    assert (len(made.samples), made.room.left, made.count) == (kept, left, samples)


@pytest.mark.parametrize(
    ("place", "first", "last"), [(0, 999.0, 63.0), (63, 0.0, 999.0), (64, 0.0, 63.0), (129, 0.0, 63.0)]
)
def test_a_sample_above_what_is_kept_takes_a_random_place_among_all_of_them(monkeypatch, place, first, last):
    asked = []
    monkeypatch.setattr(module.random, "randrange", lambda end: asked.append(end) or place)
    made = timer(range(64), room=0, weight=2.0)
    assert asked == []
    made.timing(999.0, 2.0)
    assert (asked, made.samples[0], made.samples[63], len(made.samples)) == ([131], first, last, 64)


def test_a_timer_weighs_each_sample_and_knows_the_least_and_the_most():
    made = timer([], room=0)
    made.timing(5.0, 10.0)
    made.timing(2.0, 0.5)
    made.timing(3.0, 1.5)
    assert (made.count, made.total, made.least, made.most) == (12.0, 55.5, 2.0, 5.0)


@pytest.mark.parametrize(
    ("sizes", "room", "members", "left"),
    [
        ([64], 1000, {64}, 1000 - 164),
        ([65], 1000, {16}, 1000 - 116),
        ([5, 5], 1000, {5}, 1000 - 105),
        ([5, 6], 105, {5}, 0),
        ([5, 6], 210, {5}, 105),
        ([5, 6], 211, {5, 6}, 0),
    ],
)
def test_a_set_keeps_what_it_has_room_for_and_of_a_long_member_its_hash(sizes, room, members, left):
    made = Series("set", Room(room))
    for size in sizes:
        made.member(b"x" * size)
    assert ({len(one) for one in made.members}, made.room.left, made.count) == (members, left, len(sizes))


def test_a_set_has_no_more_than_the_most_members(monkeypatch):
    monkeypatch.setattr(module, "_MOST_MEMBERS", 3)
    made = Series("set", Room(10_000))
    for number in range(5):
        made.member(b"%d" % number)
    assert (made.members, made.count) == ({b"0", b"1", b"2"}, 5)


def add(aggregate, name, *tags, kind="counter", always=False):
    """The key under which a sample of this series is added up."""
    key = (name, kind, tags)
    found = aggregate.series(key, always=always)
    found.count += 1
    return next(one for one, kept in aggregate._series.items() if kept is found)


def test_a_metric_has_as_many_series_as_its_budget_and_the_samples_of_the_others_are_counted_as_folded():
    aggregate = Aggregate(budget=2)
    keys = [add(aggregate, "x", ("t", str(number))) for number in (1, 2, 3, 1, 4, 3)]
    assert [key[2] for key in keys] == [(("t", "1"),), (("t", "2"),), FOLDED, (("t", "1"),), FOLDED, FOLDED]
    assert add(aggregate, "y", ("t", "3")) == ("y", "counter", (("t", "3"),))
    assert aggregate.folded == 3
    assert [(key[0], found.count) for key, found in aggregate.take()] == [("x", 2), ("x", 1), ("x", 3), ("y", 1)]


ONE = 700 + 2 * len("ab") + 200 + 2 * len("txy")
"""The bytes of a series ``ab`` with the tag ``t:xy``, or of another as long."""


@pytest.mark.parametrize(("bytes_", "fit"), [(2 * ONE - 1, 1), (2 * ONE, 2), (2 * ONE + 1, 2), (3 * ONE, 3)])
def test_series_take_their_bytes_and_those_without_memory_become_one_of_each_kind(monkeypatch, bytes_, fit):
    monkeypatch.setattr(module, "_MOST_BYTES", bytes_)
    aggregate = Aggregate()
    keys = [add(aggregate, name, ("t", "xy")) for name in ("ab", "cd", "ef", "gh")]
    assert keys[:fit] == [(name, "counter", (("t", "xy"),)) for name in ("ab", "cd", "ef")[:fit]]
    assert set(keys[fit:]) == {(FOLDED_METRICS, "counter", FOLDED)}
    assert aggregate.folded == 4 - fit
    assert add(aggregate, "ij", ("t", "xy"), always=True)[0] == "ij"
    assert add(aggregate, "kl", ("t", "xy"), kind="gauge") == (FOLDED_METRICS, "gauge", FOLDED)


def test_what_is_folded_twice_is_counted_once():
    aggregate = Aggregate(budget=1)
    add(aggregate, "ab", ("t", "xy"))
    aggregate._room.left = 0
    assert add(aggregate, "ab", ("t", "zz")) == (FOLDED_METRICS, "counter", FOLDED)
    assert aggregate.folded == 1


def test_an_interval_begins_with_nothing_of_the_one_before_but_its_gauges(monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", ONE)
    aggregate = Aggregate(budget=1)
    for _ in range(2):
        assert add(aggregate, "ab", ("t", "xy"))[0] == "ab"
        assert add(aggregate, "ab", ("t", "zz"))[0] == FOLDED_METRICS
        assert (len(aggregate.take()), aggregate.folded) == (2, 0)
    aggregate.series(("g", "gauge", ()))
    assert aggregate.take() == []  # one that was asked for and got no sample


@pytest.mark.parametrize(("bytes_", "kept"), [(304, ["g0"]), (607, ["g0"]), (608, ["g0", "g1"]), (303, [])])
def test_gauges_are_remembered_in_bounded_memory_and_the_known_ones_go_on(monkeypatch, bytes_, kept):
    monkeypatch.setattr(module, "_MOST_GAUGES_BYTES", bytes_)
    aggregate = Aggregate()
    for value in (5.0, 6.0):
        for name in ("g0", "g1"):
            found = aggregate.series((name, "gauge", ()))
            found.count, found.last = 1, value
        counted = aggregate.series(("c", "counter", ()))
        counted.count = 1
        aggregate.take()
    assert aggregate.gauges() == [((name, "gauge", ()), 6.0) for name in kept]
    assert [aggregate.series((name, "gauge", ())).last for name in kept] == [6.0] * len(kept)


def test_gauges_come_back_from_json_as_they_were():
    aggregate = Aggregate()
    aggregate.remember([[["g", "gauge", [["t", "x"], ["u", "y"]]], 3.5]])
    assert aggregate.gauges() == [(("g", "gauge", (("t", "x"), ("u", "y"))), 3.5)]
    assert aggregate.series(("g", "gauge", (("t", "x"), ("u", "y")))).last == 3.5


def test_tags_are_sorted_and_those_that_name_a_run_or_nothing_are_left_out():
    tags = [("b", "2"), ("run_id", "r"), ("", "x"), ("a", "1"), ("ti_id", "i"), ("job_id", "7"), ("pid", "1")]
    assert bounded(iter(tags)) == (("a", "1"), ("b", "2"))


COMMON = {"host.name": "h", "service.environment": "dev"}


def document(key, made, interval="i", common=COMMON):
    return metric_document(key, made, interval, 10_000, "2026-01-31T12:00:00.000000Z", common)


def counter(count, total):
    return Series("counter", Room(0), count=count, total=total)


def test_a_document_says_what_was_measured_where_and_for_how_long():
    found = document(("x", "counter", (("dag_id", "d"), ("other", "o"))), counter(2.6, 7.5))
    assert len(found.pop("event.id")) == 32
    assert found == {
        "@timestamp": "2026-01-31T12:00:00.000000Z",
        "event.kind": "metric",
        "metric.name": "x",
        "metric.type": "counter",
        "metric.interval": 10_000,
        "metric.value": 7.5,
        "metric.count": 3,
        "metric.sum": 7.5,
        "host.name": "h",
        "service.environment": "dev",
        "airflow.dag_id": "d",
        "metric.tags": {"other": "o"},
    }


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (counter(1.5, 4.0), {"value": 4.0, "count": 2, "sum": 4.0}),
        (Series("gauge", Room(0), count=3, last=-2.5), {"value": -2.5, "count": 3}),
        (Series("set", Room(0), count=3, members={b"a", b"b"}), {"value": 2, "count": 3}),
        (
            timer([40.0, 10.0, 30.0, 20.0], weight=2.0),
            {"value": 25.0, "count": 8, "sum": 200.0, "min": 10.0, "max": 40.0, "p50": 25.0, "p95": 38.5, "p99": 39.7},
        ),
        (
            timer([7.0]),
            {"value": 7.0, "count": 1, "sum": 7.0, "min": 7.0, "max": 7.0, "p50": 7.0, "p95": 7.0, "p99": 7.0},
        ),
    ],
    ids=["counter", "gauge", "set", "timer", "timer of one"],
)
def test_each_kind_has_its_values(made, values):
    found = document(("x", made.kind, ()), made)
    said = {name.removeprefix("metric."): value for name, value in found.items() if name.startswith("metric.")}
    assert {name: said[name] for name in said if name not in {"name", "type", "interval"}} == {
        name: pytest.approx(value) for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("ordered", "part", "value"),
    [
        ([5.0], 0.99, 5.0),
        ([0.0, 10.0], 0.5, 5.0),
        ([0.0, 10.0, 30.0], 0.5, 10.0),
        ([0.0, 10.0, 30.0], 0.75, 20.0),
        ([0.0, 10.0, 30.0], 1.0, 30.0),
        ([0.0, 10.0, 30.0], 0.0, 0.0),
    ],
)
def test_a_percentile_lies_between_the_two_samples_next_to_it(ordered, part, value):
    assert module._percentile(ordered, part) == value


def test_the_id_is_the_same_for_the_same_interval_host_and_series_only():
    key, made = ("x", "counter", (("t", "1"),)), counter(1, 1.0)
    ids = [
        document(key, made)["event.id"],
        document(key, counter(2, 5.0))["event.id"],
        document(key, made, interval="j")["event.id"],
        document(key, made, common={**COMMON, "host.name": "other"})["event.id"],
        document(("x", "counter", (("t", "2"),)), made)["event.id"],
        document(("x", "counter", (("t", "\udcff"),)), made)["event.id"],
    ]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 5


@pytest.mark.parametrize(
    ("name", "ours", "tags"),
    [
        ("mine", {"service.environment": "prod", "airflow.team": "t"}, {"z": "1"}),
        ("contrail.relay.lag_bytes", {"service.environment": "prod", "airflow.team": "t"}, {"z": "1"}),
        ("dagrun.mine", {"service.environment": "dev"}, {"env": "prod", "team": "t", "z": "1"}),
        ("dagrun_mine", {"service.environment": "dev"}, {"env": "prod", "team": "t", "z": "1"}),
        ("pool.open_slots", {"service.environment": "dev"}, {"env": "prod", "team": "t", "z": "1"}),
        ("scheduler_heartbeat", {"service.environment": "dev"}, {"env": "prod", "team": "t", "z": "1"}),
    ],
)
def test_a_tag_becomes_a_field_of_ours_unless_a_dag_of_airflow_may_have_it_as_its_own(name, ours, tags):
    found = document((name, "counter", (("env", "prod"), ("team", "t"), ("z", "1"))), counter(1, 1.0))
    assert {field: found.get(field) for field in ours} == ours
    assert ("airflow.team" in found, found["metric.tags"]) == ("airflow.team" in ours, tags)


@pytest.mark.parametrize(("env", "tags"), [("dev", None), ("prod", {"env": "prod"})])
def test_the_environment_that_is_ours_too_is_not_said_twice(env, tags):
    found = document(("dagrun.mine", "counter", (("env", env),)), counter(1, 1.0))
    assert found.get("metric.tags") == tags


def test_a_series_without_a_sample_has_no_least_and_no_most():
    assert (timer([]).least, timer([]).most, timer([]).last) == (math.inf, -math.inf, 0.0)
