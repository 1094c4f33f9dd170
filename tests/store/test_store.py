"""A store's answers are the same whatever is behind it: one body, every backend."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from stores import EVERY_STORE, NOW, at, environ_of, fill, journal

from observability.relay.sinks.sink import Batch
from observability.settings import load_settings
from observability.store import cluster, search
from observability.store.search import matcher, newest_matches, with_context
from observability.store.store import Query, StoreError, open_store


def name_of(dag, try_number):
    return f"dag_id={dag}/run_id=r1/task_id=load/attempt={try_number}.log"


def task_log(dag, try_number, count, start=0, first=0):
    prefix = (
        f'{{"airflow.dag_id":"{dag}","airflow.task_id":"load","airflow.run_id":"r1","airflow.try_number":{try_number},'
        f'"airflow.map_index":-1,"log_id":"{dag}-load-r1--1-{try_number}","log.file.path":"{name_of(dag, try_number)}",'
    ).encode()
    documents = [
        prefix
        + b'"offset":%d,"@timestamp":"%b","timestamp":"%b","level":"%b","event":"line %d of %b","rows":%d}'
        % (start + n, at(n).encode(), at(n).encode(), b"error" if n % 10 == 0 else b"info", n, dag.encode(), n)
        for n in range(first, first + count)
    ]
    ids = [b"%b%d-%d" % (dag.encode(), try_number, n) for n in range(first, first + count)]
    name = name_of(dag, try_number)
    return Batch("airflow.task", name, name, ids, documents, prefix=prefix)


EVENTS = [
    {"event.action": "task.started", "airflow.dag_id": "a", "message": "Attempt 1 began"},
    {
        "event.action": "task.failed",
        "airflow.dag_id": "a",
        "message": "Task failed for good: app: boom",
        "airflow.cause": "app",
    },
    {"event.action": "task.started", "airflow.dag_id": "b", "message": "Attempt 1 began"},
    {
        "event.action": "task.succeeded",
        "airflow.dag_id": "b",
        "message": "Task succeeded on attempt 1",
        "airflow.tags": ["x", "y"],
    },
]
METRICS = [
    {"metric.name": "contrail.task.outcomes", "metric.type": "counter", "metric.value": 1, "airflow.dag_id": "a"},
    {"metric.name": "contrail.task.outcomes", "metric.type": "counter", "metric.value": 2, "airflow.dag_id": "a"},
    {"metric.name": "contrail.task.outcomes", "metric.type": "counter", "metric.value": 1, "airflow.dag_id": "b"},
    {"metric.name": "pool.open_slots", "metric.type": "gauge", "metric.value": 7.5, "metric.tags": {"pool_name": "p"}},
    {"metric.name": "pool.open_slots", "metric.type": "gauge", "metric.value": 8.5, "metric.tags": {"pool_name": "q"}},
]


@pytest.fixture(scope="module", params=EVERY_STORE)
def settings(request, tmp_path_factory):
    """The settings of a store of that kind that holds two tries, four events and five metric documents."""
    environ = environ_of(request, tmp_path_factory)
    settings = load_settings(environ=environ)
    batches = [task_log("a", 1, 25), task_log("a", 2, 5, start=1000), task_log("b", 1, 10)]
    fill(settings, *batches, journal("etl.event", EVENTS), journal("airflow.statsd", METRICS))
    return settings


@pytest.fixture
def store(settings):
    store = open_store(settings)
    yield store
    store.close()


TRY = {"airflow.dag_id": "a", "airflow.task_id": "load", "airflow.run_id": "r1", "airflow.try_number": 1}


def test_the_lines_of_one_try_come_in_the_order_they_were_written(store):
    found = list(store.documents(Query("airflow.task", TRY)))

    assert [line["event"] for line in found] == [f"line {n} of a" for n in range(25)]


def test_every_field_of_a_line_is_kept(store):
    line = next(store.documents(Query("airflow.task", TRY)))

    expected = {"log_id": "a-load-r1--1-1", "level": "error", "rows": 0, "airflow.map_index": -1, "@timestamp": at(0)}
    assert {key: line[key] for key in expected} == expected


def test_a_search_finds_lines_and_those_around_them_in_the_same_log(store):
    lines = with_context(store.documents(Query("airflow.task", TRY)), matcher("line 1[01] of|LINE 20"), 1, 2)

    expected = [("line 9 of a", False), ("line 10 of a", True), ("line 11 of a", True)]
    expected += [("line 12 of a", False), ("line 13 of a", False)]
    assert [(line.document["event"], line.is_match) for line in lines] == expected


def test_a_search_backwards_finds_each_line_once_however_small_its_steps(store, monkeypatch):
    monkeypatch.setattr(search, "_PAGE", 7)
    query = Query("airflow.task", {"airflow.dag_id": ("a", "b")})
    found = newest_matches(store, query, matcher("line"), most=1000, seconds=60)
    fewer = newest_matches(store, query, matcher("LINE 24 OF A", is_text=True, ignore_case=True), most=1, seconds=60)

    assert (found.matches, found.searched, found.is_whole) == (40, 40, True)
    times = [line.document["@timestamp"] for line in found.lines]
    assert times == sorted(times)
    assert [line.document["event"] for line in fewer.lines] == ["line 24 of a"]
    assert (fewer.searched < 40, fewer.is_whole) == (True, False)


def test_a_search_asks_for_fewer_lines_where_they_are_long(store, monkeypatch):
    monkeypatch.setattr(search, "_PAGE_BYTES", 60)  # five lines
    query = Query("airflow.task", {"airflow.dag_id": ("a", "b")})

    assert newest_matches(store, query, matcher("line"), most=1000, seconds=60).matches == 40


def test_a_search_ends_in_its_time_however_slow_its_pattern(store):
    def slow(_document):
        time.sleep(0.02)
        return True

    found = newest_matches(store, Query("airflow.task", TRY), slow, most=1000, seconds=0.05)

    assert (found.matches, found.is_whole) == (0, False)


def test_a_page_that_is_too_large_for_an_answer_is_read_in_smaller_ones(store, monkeypatch):
    monkeypatch.setattr(cluster, "_MOST_ANSWER", 8_192)  # of Elasticsearch: some lines with their fields
    every = list(store.documents(Query("airflow.task", {"airflow.dag_id": ("a", "b")})))
    newest = list(store.documents(Query("airflow.task", TRY, limit=20, newest=True)))

    assert (len(every), [line["rows"] for line in newest]) == (40, list(range(5, 25)))


def test_limit_keeps_the_first_and_newest_the_last_both_oldest_first(store):
    first = store.documents(Query("airflow.task", TRY, limit=3))
    last = store.documents(Query("airflow.task", TRY, limit=3, newest=True))

    assert [line["rows"] for line in first] == [0, 1, 2]
    assert [line["rows"] for line in last] == [22, 23, 24]


def test_a_period_includes_its_start_and_excludes_its_end(store):
    query = Query("airflow.task", TRY, since=NOW + timedelta(seconds=3), until=NOW + timedelta(seconds=6))

    assert [line["rows"] for line in store.documents(query)] == [3, 4, 5]


def test_a_field_may_have_one_of_several_values(store):
    found = store.documents(Query("etl.event", {"event.action": ("task.failed", "task.succeeded")}))

    assert [event["event.action"] for event in found] == ["task.failed", "task.succeeded"]


def test_lines_are_found_by_the_ecs_names_of_airflows_fields(store):
    found = store.documents(Query("airflow.task", {**TRY, "log.level": "error"}))

    assert [line["rows"] for line in found] == [0, 10, 20]


def test_nothing_matches_nothing(store):
    assert list(store.documents(Query("airflow.task", {"airflow.dag_id": "none"}))) == []
    assert list(store.documents(Query("contrail.alert"))) == []


def test_counts_are_by_the_value_of_a_field(store):
    both = {"airflow.dag_id": ("a", "b")}
    assert store.count(Query("airflow.task", both)) == {"": 40}
    assert store.count(Query("airflow.task", both), "airflow.dag_id") == {"a": 30, "b": 10}
    assert store.count(Query("airflow.task", TRY), "log.level") == {"error": 3, "info": 22}
    assert store.count(Query("etl.event"), "airflow.cause") == {"": 3, "app": 1}


def test_a_series_is_a_name_with_its_tags(store):
    assert store.series() == 4


def test_metrics_come_back_as_they_were_sent(store):
    found = list(store.documents(Query("airflow.statsd", {"metric.name": "pool.open_slots"})))

    assert [(one["metric.value"], one["metric.tags"]) for one in found] == [
        (7.5, {"pool_name": "p"}),
        (8.5, {"pool_name": "q"}),
    ]


def test_a_healthy_store_has_nothing_to_say(store):
    assert store.health() is None


def test_follow_yields_what_is_there_and_then_what_arrives(settings, store):
    dag = f"f{uuid.uuid4().hex[:6]}"
    fill(settings, task_log(dag, 1, 3))
    later = threading.Timer(0.5, fill, (settings, task_log(dag, 1, 2, first=3)))
    later.start()

    lines = store.follow(Query("airflow.task", {"airflow.dag_id": dag}), poll_s=0.2)
    found = [next(lines)["rows"] for _ in range(5)]
    lines.close()
    later.join()

    assert found == [0, 1, 2, 3, 4]


def test_a_search_that_follows_finds_what_arrives_with_the_lines_around_it(settings, store):
    dag = f"f{uuid.uuid4().hex[:6]}"
    fill(settings, task_log(dag, 1, 3))
    later = threading.Timer(0.3, fill, (settings, task_log(dag, 1, 4, first=3)))
    later.start()

    lines = store.follow(Query("airflow.task", {"airflow.dag_id": dag}), poll_s=0.2)
    searched = with_context(lines, matcher("line 4 of"), 1, 1)
    found = [next(searched) for _ in range(3)]
    lines.close()
    later.join()

    assert [(line.document["rows"], line.is_match) for line in found] == [(3, False), (4, True), (5, False)]


def test_an_unknown_backend_is_refused_by_name(settings):
    other = replace(settings, store=replace(settings.store, backend="floppy"))

    with pytest.raises(StoreError, match="'floppy'; it must be one of embedded, elasticsearch, cloudwatch"):
        open_store(other)


def test_the_last_line_of_a_file_is_found_by_the_file_and_by_the_whole_identity_of_the_try(store):
    path = {"log.file.path": name_of("a", 1)}
    whole = {**TRY, "airflow.map_index": -1}

    assert [line["rows"] for line in store.documents(Query("airflow.task", whole, limit=1, newest=True))] == [24]
    assert [line["rows"] for line in store.documents(Query("airflow.task", path, limit=1, newest=True))] == [24]
