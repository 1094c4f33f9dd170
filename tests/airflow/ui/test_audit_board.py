"""The board of Airflow's event log: what it counts on a real store, and for whom."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.airflow.ui import boards
from observability.airflow.ui.readable_store import ReadableStore
from observability.airflow.ui.scope import AuditedDags, Reader
from observability.relay.sinks import Batch
from observability.relay.sinks.embedded import open_sink
from observability.settings import load_settings
from observability.store import Query, open_store
from observability.watch.sources.audit import recorded

NOW = datetime.now(timezone.utc)
DAGS = frozenset({"flights", "secret"})
ROWS = [
    ("trigger_dag_run", "ann", "flights", '{"conf": {"day": "said-of-flights"}}'),
    ("post_clear_task_instances", "ann", "flights", None),
    ("delete_dag_run", "bob", "secret", "said-of-secret"),
    ("patch_connection", "bob", None, '{"connection_id": "warehouse", "password": "x"}'),
]
"""As Airflow's API lists them: the event, who, the DAG, and what stands beside it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the entries above, and one that can be asked."""
    options = load_settings(environ={"CONTRAIL_CORE__HOME": str(tmp_path_factory.mktemp("audit"))})
    sink = open_sink(options)
    for number, (event, owner, dag, extra) in enumerate(ROWS, 1):
        when = (NOW - timedelta(minutes=number)).isoformat()
        row = {"event_log_id": number, "event": event, "when": when, "owner": owner, "dag_id": dag, "extra": extra}
        made = recorded(row)
        batch = ("airflow.audit", f"journal-{number}", "journal")
        sink.send(Batch(*batch, [made.id.encode()], [orjson.dumps(made.document())]))
    sink.close()
    store = open_store(options)
    yield store
    store.close()


def reader(*audited, logs=DAGS, whole=True):
    """A reader of all DAGs, who may read the event log of some."""
    return Reader(DAGS, DAGS, logs, whole=whole, audited=AuditedDags(lambda dags: dags & {*audited}))


def rows(store, who, panel, **chosen):
    board = boards.find_board("audit")
    view = boards.View.of(board, None, chosen)
    shown = boards.shown(ReadableStore(store, who), view, boards.find_panel(board, panel))
    return shown.documents or {key: values[0] for key, values in shown.rows}


def test_the_board_says_who_did_what_how_often(store):
    everything = reader(*DAGS)

    assert rows(store, everything, "people") == {("ann",): 2, ("bob",): 2}
    assert rows(store, everything, "dags") == {("flights",): 2, ("secret",): 1}
    assert rows(store, everything, "deeds")["bob", "patch_connection", "unknown"] == 1
    assert rows(store, everything, "people", **{"airflow.dag_id": "secret"}) == {("bob",): 1}
    assert rows(store, everything, "people", **{"event.category": "process"}) == {("ann",): 2, ("bob",): 1}
    assert [one["user.name"] for one in rows(store, everything, "entries", **{"event.category": "configuration"})] == [
        "bob"
    ]
    assert store.count(Query("airflow.audit"), "event.category") == {"configuration": 1, "process": 3}


def test_the_entries_by_kind_are_counted_by_each_of_their_ecs_categories(store):
    board = boards.find_board("audit")
    panel = boards.find_panel(board, "kinds")
    shown = boards.shown(ReadableStore(store, reader(*DAGS)), boards.View.of(board, 1, {}), panel)

    assert {line.label: sum(filter(None, line.values)) for line in shown.lines} == {"process": 3, "configuration": 1}


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (reader(*DAGS), {"flights", "secret", None}),
        (reader("flights"), {"flights"}),
        (reader(*DAGS, whole=False), DAGS),
        (reader(), set()),
    ],
)
def test_each_reader_is_shown_and_counted_what_airflow_lets_them_audit(store, who, expected):
    readable = ReadableStore(store, who)

    assert {one.get("airflow.dag_id") for one in readable.documents(Query("airflow.audit"))} == expected
    assert sum(rows(store, who, "people").values()) == sum(dag in expected for _, _, dag, _ in ROWS)
    assert {dag for (dag,) in rows(store, who, "dags")} == set(expected) - {None}
    assert rows(store, who, "people", **{"airflow.dag_id": "secret"}) == ({("bob",): 1} if "secret" in expected else {})


def test_what_was_written_beside_an_entry_is_for_readers_of_the_tasks_logs(store):
    who = reader(*DAGS, logs=frozenset({"flights"}), whole=False)

    extras = {one["airflow.dag_id"]: one.get("airflow.audit_extra") for one in rows(store, who, "entries")}

    assert extras["secret"] is None
    assert "said-of-flights" in str([one.get("airflow.audit_extra") for one in rows(store, who, "entries")])


def test_a_value_of_a_connection_is_on_no_entry(store):
    assert "password" in (text := str(rows(store, reader(*DAGS), "entries")))
    assert "'x'" not in text
