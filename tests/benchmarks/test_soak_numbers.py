"""The soak's own count: what boards and metrics show is held against Airflow's account, both ways."""

from __future__ import annotations

from datetime import datetime, timezone

import orjson
import pytest

from benchmarks.soak_numbers import Account, Number, numbers
from observability import catalog
from observability.events import DagRunSucceeded, Identity, TaskFailed, TaskSucceeded
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import open_store

NOW = datetime.now(timezone.utc).timestamp()


@pytest.fixture
def store(tmp_path):
    """A store with a run of two tasks, one of which failed, and the metrics of all but the failed one."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path)})
    sink, when = open_sink(options), datetime.fromtimestamp(NOW - 60, timezone.utc)

    def who(task=None):
        return Identity(dag_id="d", run_id="r", task_id=task, try_number=1 if task else None)

    events = [
        DagRunSucceeded(identity=who(), time=when, discriminator="x"),
        TaskSucceeded(identity=who("a"), time=when),
        TaskFailed(identity=who("b"), time=when, cause="app", reason="no"),
    ]
    metrics = [
        {"@timestamp": when.isoformat(), "metric.name": name, "metric.type": "counter", "metric.value": 1.0,
         "metric.count": 1, "airflow.state": "success", "airflow.dag_id": "d"}
        for name in ("contrail.dag_run.outcomes", "contrail.task.outcomes")
    ]  # fmt: skip
    for dataset, ids, documents in (
        ("etl.event", [event.id for event in events], [_recorded(event) for event in events]),
        ("airflow.statsd", ["m0", "m1"], metrics),
    ):
        encoded = [orjson.dumps({"host.name": "h", **document}) for document in documents]
        sink.send(Batch(dataset, "journal", "journal", [name.encode() for name in ids], encoded))
    opened = open_store(options)
    yield opened
    opened.close()
    sink.close()


def _recorded(event):
    """The document as the journal has it: with what the catalogue says of its kind."""
    return {**event.document(), "event.outcome": catalog.EVENTS[event.action].outcome}


def faults(store, *states, disputed=0):
    tasks = [{"state": state} for state in states]
    account = Account([{"state": "success"}], tasks, tasks, disputed, NOW - 3600, NOW)
    return [one.fault for one in numbers(store, account) if one.fault]


def test_what_is_right_is_no_fault_and_a_series_that_lacks_one_is(store):
    assert faults(store, "success", "failed") == ["metric contrail.task.outcomes, failed is 0, Airflow has 1"]


def test_a_number_that_is_too_high_or_too_low_is_named(store):
    assert faults(store, "success", "success", "success") == [
        "board operations, panel task-outcomes, success is 1, Airflow has 3",
        "metric contrail.task.outcomes, success is 1, Airflow has 3",
        "board operations, panel task-outcomes, failed is 1, Airflow has 0",
    ]


def test_a_disputed_attempt_may_be_counted_under_both_words(store):
    assert "panel task-outcomes, failed" not in "".join(faults(store, "success", disputed=1))
    assert Number("x", 3, 1, 2).fault == "x is 3, Airflow has 1 to 2"
