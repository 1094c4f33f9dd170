"""Ids with letters that mean something to an address, a pattern or a query: every store finds these, and no others."""

import time
from datetime import timedelta

import orjson
import pytest
from stores import EVERY_STORE, NOW, at, environ_of
from typer.testing import CliRunner

from observability.cli import app
from observability.journal import Journal
from observability.log_template import AIRFLOWS_OWN, LogTemplate
from observability.relay.relay import Relay
from observability.settings import get_settings, load_settings
from observability.store.store import Query, open_store
from observability.store.tables import Ask

RUNS = (
    "a", "a/b", "a/b/c", "a#b", "a?b=c&d", "a%2Fb", "a%b", "a b ", " a", "a'b", 'a"b', "a\\b", "a*", "*", "a:b", "a_b",
    "[a]", "{a}", "a|b", "a+b", "é", "e\u0301", "日本", "🛫", "-a", "--help", "a\tb", "$(a)", "a;b",
)  # fmt: skip


@pytest.fixture(scope="module", params=EVERY_STORE)
def environ(request, tmp_path_factory):
    """The variables of a store to which a relay has carried the log of a run of each id, and an event of it."""
    environ = environ_of(request, tmp_path_factory)
    folder = tmp_path_factory.mktemp("odd")
    environ |= {
        "CONTRAIL_CORE__HOME": environ.get("CONTRAIL_CORE__HOME", str(folder / "home")),
        "CONTRAIL_RELAY__LOG_FOLDER": str(folder / "logs"),
        "CONTRAIL_RELAY__SINKS": request.param,
    }
    load = load_settings(environ=environ)
    template = LogTemplate(AIRFLOWS_OWN)
    journals = Journal(load.journal_directory)
    for number, run in enumerate(RUNS):
        name = template.render({"dag_id": "d.é", "run_id": run, "task_id": "t é", "map_index": -1, "try_number": 1})
        path = load.log_folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(now_line(number, run))
        fact = {"event.id": f"{number:032}", "@timestamp": at(number), "event.action": "dag_run.failed"}
        asset = {"airflow.dag_id": "d.é", "airflow.run_id": run, "airflow.asset": f"s3://{run}"}
        journals.append("etl.event", orjson.dumps(fact | asset))
    journals.close()
    assert Relay(load, statsd=False).run(once=True)
    await_all(load)
    return environ


def await_all(load):
    """Wait until all that was sent is found: Elasticsearch shows it at its next refresh."""
    store, until = open_store(load), time.monotonic() + 60
    for dataset in ("airflow.task", "etl.event"):
        while len(list(store.documents(Query(dataset, {"airflow.dag_id": "d.é"})))) < len(RUNS):
            assert time.monotonic() < until, dataset
            time.sleep(0.1)
    store.close()


def now_line(number, run):
    return orjson.dumps({"timestamp": at(number), "level": "info", "event": f"said by {run}"}) + b"\n"


@pytest.fixture
def store(environ):
    store = open_store(load_settings(environ=environ))
    yield store
    store.close()


@pytest.mark.parametrize("run", RUNS)
def test_the_lines_and_events_of_a_run_are_found_by_its_id_and_no_others(store, run):
    where = {"airflow.dag_id": "d.é", "airflow.run_id": run}
    [one] = store.documents(Query("airflow.task", where | {"airflow.task_id": "t é", "airflow.try_number": 1}))
    assert (one["event"], one["airflow.run_id"]) == (f"said by {run}", run)
    assert [one["event"] for one in store.documents(Query("airflow.task", where))] == [f"said by {run}"]
    [event] = store.documents(Query("etl.event", {"airflow.asset": f"s3://{run}"}))
    assert event["airflow.run_id"] == run
    [last] = store.documents(Query("airflow.task", {"log.file.path": one["log.file.path"]}, limit=1, newest=True))
    assert last == one


def test_runs_are_counted_apart(store):
    for dataset in ("airflow.task", "etl.event"):
        assert store.count(Query(dataset), by="airflow.run_id") == dict.fromkeys(RUNS, 1)
    ask = Ask(
        ("airflow.task",), {}, NOW - timedelta(hours=1), NOW + timedelta(hours=1), (("count", ""),), ("airflow.run_id",)
    )
    assert {run for (run,) in store.table(ask)} == set(RUNS)


def test_the_command_line_asks_for_a_run_by_its_id(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    try:
        for run in RUNS if environ["CONTRAIL_STORE__BACKEND"] == "embedded" else RUNS[1::7]:  # it is one command line
            shown = CliRunner().invoke(app, ["logs", "d.é", "t é", f"--run={run}", "--json"])
            events = CliRunner().invoke(app, ["events", "--dag", "d.é", f"--run={run}", "--json"])
            said = [orjson.loads(line)["event"] for line in shown.stdout.splitlines()]
            assert said == [f"said by {run}"], (run, shown.output, shown.exception)
            assert [orjson.loads(line)["airflow.run_id"] for line in events.stdout.splitlines()] == [run], events.output
    finally:
        get_settings.cache_clear()
