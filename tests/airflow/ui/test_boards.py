"""The boards' pages, asked of a real embedded store that real events were written to."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.airflow.ui import boards
from observability.airflow.ui.app import render
from observability.events import (
    DagRunFailed,
    DagRunSucceeded,
    Identity,
    RowsRejected,
    StepMeasured,
    TaskFailed,
    TaskRetried,
    TaskSucceeded,
)
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import open_store

NOW = datetime.now(timezone.utc)
HOSTILE = '<script>alert(1)</script> "q" it\'s é'


def task(dag="flights", task_id="load", run="r1", number=1):
    return Identity(dag_id=dag, task_id=task_id, run_id=run, try_number=number, map_index=-1, owner="data")


def at(minutes):
    return NOW - timedelta(minutes=minutes)


def failure(who, minutes, cause="app"):
    return TaskFailed(identity=who, time=at(minutes), cause=cause, reason="boom", fingerprint="f00d", duration_ns=10**9)


EVENTS = [
    failure(task(), 5),
    failure(task(run="r2"), 4, "oom"),
    failure(task("secret", run="r3"), 3),
    failure(task(HOSTILE, HOSTILE, HOSTILE), 2, "timeout"),
    TaskRetried(identity=task(run="r4"), time=at(6), cause="app", reason="boom"),
    TaskSucceeded(identity=task(run="r4", number=2), time=at(5), duration_ns=3 * 10**9),
    TaskSucceeded(identity=task("secret", run="r5"), time=at(5), duration_ns=3 * 10**9),
    StepMeasured(
        identity=task(run="r4"), time=at(5), step="load", table="t", rows_in=100, rows_out=90, rows_rejected=10
    ),
    RowsRejected(identity=task(run="r4"), time=at(5), step="load", table="t", rule="positive", rows_rejected=10),
    DagRunSucceeded(identity=Identity(dag_id="flights", run_id="r4"), time=at(5), duration_ns=4 * 10**9),
    DagRunFailed(identity=Identity(dag_id="flights", run_id="r1"), time=at(4), reason="x", duration_ns=2 * 10**9),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the events above, and log lines of two DAGs and of a component."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path_factory.mktemp("boards"))})
    sink = open_sink(options)
    documents = [orjson.dumps({"host.name": "here", **event.document()}) for event in EVENTS]
    sink.send(Batch("etl.event", "journal", "journal", [event.id.encode() for event in EVENTS], documents))
    for dataset, about in (
        ("airflow.task", {"airflow.dag_id": "flights", "airflow.task_id": "load", "airflow.run_id": "r1"}),
        ("airflow.task", {"airflow.dag_id": "secret", "airflow.task_id": "load", "airflow.run_id": "r3"}),
        ("airflow.component", {"airflow.component": "scheduler"}),
    ):
        line = {**about, "@timestamp": at(1).isoformat(), "level": "error", "logger": "x", "event": f"said by {about}"}
        name = f"{sorted(about.values())}.log"
        sink.send(Batch(dataset, name, name, [f"{name}-0".encode()], [orjson.dumps(line)]))
    sink.close()
    store = open_store(options)
    yield store
    store.close()


def shown(store, board, panel, dags=None, hours=None, **chosen):
    found = boards.find_board(board)
    drawn = boards.find_panel(found, panel)
    return boards.shown(store, boards.View.of(found, hours, chosen, dags), drawn)


def page(store, board, panel, dags=None, **chosen):
    found = boards.find_board(board)
    view = boards.View.of(found, None, chosen, dags)
    return render("panel.html", boards.shown(store, view, boards.find_panel(found, panel)), view=view)


def test_a_number_is_the_count_of_its_events(store):
    assert shown(store, "operations", "runs-failed").value == 1


def test_a_share_is_one_count_through_the_other(store):
    assert shown(store, "operations", "failed-share").value == 4 / 6


def test_a_table_has_a_row_for_each_combination_the_largest_first(store):
    rows = shown(store, "operations", "failing-tasks").rows

    assert [(key, values[0]) for key, values in rows] == [
        (("flights", "load"), 3),
        ((HOSTILE, HOSTILE), 1),
        (("secret", "load"), 1),
    ]


def test_a_line_adds_up_to_the_table_whatever_the_stretches(store):
    for hours in (1, 24, 168):
        lines = shown(store, "dag", "retries", hours=hours).lines
        assert {line.label: sum(line.values) for line in lines} == {"task.failed": 4, "task.retried": 1}


def test_a_median_is_of_the_values_themselves(store):
    assert shown(store, "dag", "median").value == 3 * 10**9


def test_a_filter_applies_to_every_panel_of_a_board_and_to_no_other_field(store):
    assert shown(store, "operations", "runs-failed", **{"airflow.dag_id": "secret"}).value == 0
    assert shown(store, "operations", "runs-failed", **{"airflow.dag_id": "flights"}).value == 1
    assert shown(store, "operations", "runs-failed", **{"host.name": "elsewhere"}).value == 1


def test_a_reader_counts_only_what_they_may_read(store):
    rows = shown(store, "operations", "failing-tasks", dags=("flights",)).rows

    assert {key[0] for key, _ in rows} == {"flights"}
    assert shown(store, "operations", "failing-tasks", dags=()).rows == []
    assert shown(store, "operations", "failing-tasks", dags=("flights",), **{"airflow.dag_id": "secret"}).rows == []


def test_a_reader_reads_only_the_lines_of_their_dags_and_none_of_the_components(store):
    def said(dags, **chosen):
        return {line["event"].count("secret") for line in shown(store, "logs", "lines", dags=dags, **chosen).documents}

    assert len(shown(store, "logs", "lines").documents) == 3
    assert len(shown(store, "logs", "lines", dags=("flights",)).documents) == 1
    assert said(("flights",)) == {0}
    assert shown(store, "logs", "lines", dags=("flights",), **{"airflow.dag_id": "secret"}).documents == []
    assert shown(store, "logs", "levels", dags=("flights",)).lines[0].values.count(1) == 1


@pytest.mark.parametrize(
    ("board", "panel"),
    [(key, panel["key"]) for key, board in boards.boards().items() for row in board["rows"] for panel in row["panels"]],
)
def test_every_panel_of_every_board_is_drawn_or_says_why_it_is_empty(store, board, panel):
    html = page(store, board, panel)

    assert "<script>alert(1)" not in html
    assert " style=" not in html
    assert any(part in html for part in ("<table", "data-series=", 'class="figure', 'class="nothing"'))


def test_a_hostile_name_is_shown_as_it_is_and_leads_to_its_own_page(store):
    html = page(store, "operations", "failing-tasks")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "airflow.dag_id=%3Cscript%3Ealert%281%29" in html


def test_an_empty_panel_says_that_empty_is_good(store):
    assert "No deadline was missed." in page(store, "operations", "deadlines-missed")


@pytest.mark.parametrize(("board", "panel"), [("alerts", "open-critical"), ("operations", "heartbeats")])
def test_a_panel_of_metrics_says_that_they_need_a_relay_where_there_are_none_and_not_that_all_is_well(
    store, tmp_path, board, panel
):
    assert "Metrics need <code>contrail relay</code>" in page(store, board, panel)
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    sink = open_sink(options)
    metric = {"@timestamp": at(1).isoformat(), "metric.name": "pool.open_slots", "metric.value": 1}
    sink.send(Batch("airflow.statsd", "journal", "journal", [b"m-0"], [orjson.dumps(metric)]))
    sink.close()
    with contextlib.closing(open_store(options)) as measured:
        html = page(measured, board, panel)
    assert "contrail relay" not in html
    assert 'class="nothing"' in html


def test_a_line_begins_where_its_gauge_begins_though_it_is_zero(tmp_path):
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    sink = open_sink(options)
    metric = {
        "@timestamp": at(1).isoformat(),
        "metric.name": "pool.queued_slots",
        "metric.value": 0,
        "airflow.pool": "p",
    }
    sink.send(Batch("airflow.statsd", "journal", "journal", [b"m-0"], [orjson.dumps(metric)]))
    sink.close()
    with contextlib.closing(open_store(options)) as filled:
        drawn = shown(filled, "platform", "pools-queued", hours=24)
    assert [value for line in drawn.lines for value in line.values if value is not None] == [0]
    assert drawn.times[-1] - drawn.times[0] < 3 * 3600


def test_the_pages_draw_what_is_generated():
    assert list(boards.boards()) == ["operations", "dag", "run", "data", "alerts", "logs", "audit", "platform"]
