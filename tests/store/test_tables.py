"""A table is the same whatever store counts it: one body, every backend, against numbers counted by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from stores import EVERY_STORE, NOW, at, environ_of, fill, journal

from observability.relay.sinks import Batch
from observability.settings import load_settings
from observability.store import open_store
from observability.store.tables import Ask

SECOND = 10**9
EVENTS = [
    {"event.action": "task.failed", "airflow.dag_id": "a", "airflow.cause": "app", "event.duration": 1 * SECOND},
    {"event.action": "task.failed", "airflow.dag_id": "a", "airflow.cause": "oom", "event.duration": 2 * SECOND},
    {"event.action": "task.failed", "airflow.dag_id": "b", "airflow.cause": "app", "event.duration": 3 * SECOND},
    {"event.action": "task.succeeded", "airflow.dag_id": "b", "event.duration": 9 * SECOND},
    {"event.action": "task.failed", "airflow.dag_id": "a", "airflow.cause": "app", "canary.probe": 7},
    {"event.action": "schema.drifted", "airflow.dag_id": "a", "etl.columns_added": ["x", "y"]},
    {"event.action": "task.skipped", "airflow.dag_id": "[not a list]"},
    {"event.action": "component.silent", "airflow.component": "triggerer", "event.reason": '"canary.probe": 7'},
    {"event.action": "task.failed", "airflow.dag_id": 'it\'s "q" é', "airflow.cause": "app"},
]
METRICS = [
    {"metric.name": "pool.open_slots", "metric.type": "gauge", "metric.value": 8.0, "airflow.pool": "p"},
    {"metric.name": "pool.open_slots", "metric.type": "gauge", "metric.value": 6.0, "airflow.pool": "p"},
    {"metric.name": "pool.open_slots", "metric.type": "gauge", "metric.value": 1.5, "airflow.pool": "q"},
]
FAILED = {"event.action": ("task.failed",)}


@pytest.fixture(scope="module", params=EVERY_STORE)
def table(request, tmp_path_factory):
    """A function that asks a store of that kind, which holds the events and metrics above, a second apart."""
    environ = environ_of(request, tmp_path_factory)
    settings = load_settings(environ=environ)
    fill(settings, journal("etl.event", EVENTS), journal("airflow.statsd", METRICS))
    store = open_store(settings)

    def ask(where, **more):
        given = {"datasets": ("etl.event",), "since": NOW, "until": NOW + timedelta(seconds=60)} | more
        found = store.table(Ask(where=where, **given))
        return found if len(given.get("measures", ("one",))) > 1 else {key: value for key, (value,) in found.items()}

    yield ask
    store.close()


def test_documents_are_counted_by_the_values_of_a_field(table):
    found = table(FAILED, by=("airflow.dag_id",), without=("canary.probe",))

    assert found == {("a",): 2, ("b",): 1, ('it\'s "q" é',): 1}


def test_a_combination_that_lacks_a_value_is_no_row(table):
    found = table({"event.action": ("task.failed", "task.succeeded")}, by=("airflow.dag_id", "airflow.cause"))

    assert found == {("a", "app"): 2, ("a", "oom"): 1, ("b", "app"): 1, ('it\'s "q" é', "app"): 1}


def test_without_fields_there_is_one_number_and_none_where_nothing_matches(table):
    assert table(FAILED, without=("canary.probe",)) == {(): 4}
    assert table({"event.action": ("dag.vanished",)}) == {}


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [("sum", 6), ("average", 2), ("max", 3), ("min", 1), ("unique", 3), ("median", 2), ("last", 3)],
)
def test_a_field_is_added_up_in_every_way(table, aggregate, expected):
    unit = 1 if aggregate == "unique" else SECOND

    assert table(FAILED, measures=((aggregate, "event.duration"),)) == {(): expected * unit}


def test_several_measures_are_one_row_with_none_where_no_document_has_the_field(table):
    measures = (("count", ""), ("sum", "event.duration"), ("max", "etl.rows_in"))
    found = table({"event.action": ("task.failed", "schema.drifted")}, by=("airflow.dag_id",), measures=measures)

    assert found["a",] == (4, 3 * SECOND, None)
    assert found["b",] == (1, 3 * SECOND, None)


def test_the_95th_percentile_lies_between_the_largest_two(table):
    ((_, found),) = table(FAILED, measures=(("p95", "event.duration"),)).items()

    assert 2 * SECOND < found <= 3 * SECOND


def test_time_is_cut_into_stretches(table):
    found = table(FAILED, bucket_s=2, by=("airflow.cause",), without=("canary.probe",))

    start = int(NOW.timestamp())
    expected = {}
    for number, cause in ((0, "app"), (1, "oom"), (2, "app"), (8, "app")):
        key = ((start + number) // 2 * 2, cause)
        expected[key] = expected.get(key, 0) + 1
    assert found == expected


def test_a_name_that_looks_like_a_list_is_a_name(table):
    assert table({"event.action": ("task.skipped",)}, by=("airflow.dag_id",)) == {("[not a list]",): 1}


def test_each_member_of_a_list_is_a_value(table):
    assert table({"event.action": ("schema.drifted",)}, by=("etl.columns_added",)) == {("x",): 1, ("y",): 1}


def test_a_list_is_found_by_any_of_its_members(table):
    for wanted in (("x",), ("y", "nothing"), ("x", "y")):
        assert table({"etl.columns_added": wanted}) == {(): 1}
    assert table({"etl.columns_added": ("z",)}) == {}
    assert table({"etl.columns_added": ('["x","y"]',)}) == {}


def test_the_newest_moment_is_told_as_a_moment(table):
    ((_, found),) = table(FAILED, measures=(("max", "@timestamp"),)).items()

    assert found[:19] == at(8)[:19]


def test_only_what_the_reader_may_read_is_counted(table):
    everything = {"by": ("event.action",), "without": ("canary.probe",)}

    assert table({}, dags=("b",), homeless=False, **everything) == {("task.failed",): 1, ("task.succeeded",): 1}
    assert table({}, dags=("b",), **everything) == {
        ("task.failed",): 1,
        ("task.succeeded",): 1,
        ("component.silent",): 1,
    }
    assert table({}, dags=(), homeless=False, **everything) == {}


def test_the_last_value_of_each_series_is_known(table):
    found = table(
        {"metric.name": ("pool.open_slots",)},
        datasets=("airflow.statsd",),
        measures=(("last", "metric.value"),),
        by=("airflow.pool",),
    )

    assert found == {("p",): 6.0, ("q",): 1.5}


def test_two_datasets_are_one_table(table):
    found = table({"event.action": ("task.failed",)}, datasets=("etl.event", "contrail.alert"), dags=("b",))

    assert found == {(): 1}


def test_a_dataset_that_nothing_was_sent_to_is_an_empty_table(table):
    assert table({}, datasets=("airflow.component",), by=("level",)) == {}


def test_log_lines_are_counted_too(tmp_path):
    settings = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    lines = [b'{"airflow.dag_id":"a","@timestamp":"%b","level":"error","event":"x"}' % at(n).encode() for n in range(3)]
    fill(settings, Batch("airflow.task", "a.log", "a.log", [b"a-0", b"a-1", b"a-2"], lines))
    store = open_store(settings)

    found = store.table(
        Ask(("airflow.task", "airflow.component"), {}, NOW, NOW + timedelta(seconds=60), by=("level",), dags=("a",))
    )

    store.close()
    assert found == {("error",): (3,)}
