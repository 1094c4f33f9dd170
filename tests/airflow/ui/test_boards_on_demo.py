"""The numbers on the boards, after a demo, are those that can be counted in its journal files by hand."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from datetime import datetime, timezone

import pytest

from observability.airflow.ui import boards
from observability.settings import load_settings
from observability.store import open_store

pytestmark = pytest.mark.airflow

ENDS = {"task.succeeded", "task.failed", "task.skipped"}
BAD = {"task.failed", "task.retried"}


@pytest.fixture(scope="module")
def journal(demo):
    """The events of the demo's journal files, each once, without the canary's samples."""
    found = {}
    for path in sorted((demo.home / "journal").glob("*.journal")):
        for line in path.read_bytes().splitlines():
            document = json.loads(line[line.index(b"{") :])
            if "event.id" in document and "canary.probe" not in document:
                found[document["event.id"]] = document
    return list(found.values())


@pytest.fixture(scope="module")
def panel(demo):
    """A function that answers what a panel shows of the demo, over a time that holds all of it."""
    store = open_store(load_settings(environ={"CONTRAIL_CORE__HOME": str(demo.home)}))

    def shown(board, key, hours=24):
        found = boards.find_board(board)
        view = boards.View.of(found, hours, {})
        return boards.shown(store, view, boards.find_panel(found, key))

    yield shown
    store.close()


def counted(journal, *actions):
    return [event for event in journal if event.get("event.action") in actions]


def test_runs_and_failed_runs(journal, panel):
    runs, failed = counted(journal, "dag_run.succeeded", "dag_run.failed"), counted(journal, "dag_run.failed")

    assert (panel("dag", "runs").value, panel("dag", "failed").value) == (len(runs), len(failed))
    assert len(failed) > 0


def test_failed_share_of_tasks(journal, panel):
    assert panel("operations", "failed-share").value == len(counted(journal, "task.failed")) / len(
        counted(journal, *ENDS)
    )


def test_attempts_retried(journal, panel):
    assert panel("operations", "retries").value == len(counted(journal, "task.retried"))


def test_failing_tasks_count_an_attempt_once_however_many_saw_it_end(journal, panel):
    attempts = {
        (event["airflow.dag_id"], event["airflow.run_id"], event["airflow.task_id"], event["airflow.try_number"])
        for event in counted(journal, *BAD, "task.killed")
    }

    rows = panel("operations", "failing-tasks").rows
    assert {key[:2]: values[0] for key, values in rows} == Counter((dag, task) for dag, _, task, _ in attempts)


def test_median_and_p95_of_the_runs(journal, panel):
    durations = [event["event.duration"] for event in counted(journal, "dag_run.succeeded", "dag_run.failed")]

    assert panel("dag", "median").value == statistics.median(durations)
    assert sorted(durations)[-2] <= panel("dag", "p95").value <= max(durations)


def test_rows_of_all_steps(journal, panel):
    steps = counted(journal, "step.measured")

    for key, field in (("rows-out", "etl.rows_out"), ("rows-in", "etl.rows_in"), ("rejected", "etl.rows_rejected")):
        assert panel("data", key).value == sum(step.get(field) or 0 for step in steps)


def test_rejected_rows_by_rule(journal, panel):
    expected = Counter()
    for event in counted(journal, "rows.rejected"):
        expected[event["etl.rule"]] += event["etl.rows_rejected"]

    assert {key[0]: values[0] for key, values in panel("data", "by-rule").rows} == expected


def test_peak_memory_by_task(journal, panel):
    expected = {}
    for event in counted(journal, *ENDS, "task.retried"):
        if event.get("airflow.peak_rss") is not None:
            task = event["airflow.task_id"]
            expected[task] = max(expected.get(task, 0), event["airflow.peak_rss"])

    largest = sorted(expected.values(), reverse=True)[:10]
    assert [values[0] for _, values in panel("run", "memory").rows] == largest


def test_task_outcomes_over_time_add_up(journal, panel):
    expected = Counter(event["airflow.state"] for event in counted(journal, *ENDS))

    for hours in (24, 168):
        lines = panel("operations", "task-outcomes", hours).lines
        assert {line.label: sum(line.values) for line in lines} == expected


def test_task_outcomes_stand_in_their_own_stretch_of_time(journal, panel):
    shown = panel("operations", "task-outcomes")
    step = shown.times[1] - shown.times[0]
    moments = [
        datetime.fromisoformat(event["@timestamp"].replace("Z", "+00:00")).astimezone(timezone.utc).timestamp()
        for event in counted(journal, *ENDS)
    ]

    expected = Counter(int(moment) // step * step for moment in moments)
    totals = {time: sum(line.values[place] for line in shown.lines) for place, time in enumerate(shown.times)}
    assert {time: number for time, number in totals.items() if number} == expected


def test_incidents_and_deliveries(journal, panel):
    assert panel("alerts", "opened").value == len(counted(journal, "incident.opened"))
    rows = panel("alerts", "deliveries").rows
    assert {key: values[0] for key, values in rows} == Counter(
        (event["notification.channel"], event["notification.state"])
        for event in counted(journal, "notification.sent", "notification.failed")
    )


def test_updated_assets(journal, panel):
    expected = Counter(event["airflow.asset"] for event in counted(journal, "asset.updated"))

    assert {key[0]: values[0] for key, values in panel("data", "assets").rows} == expected


def test_lines_by_level_are_those_of_the_log_files(demo, panel):
    levels = Counter()
    for path in (demo.home / "airflow" / "logs").rglob("dag_id=*/**/*.log"):
        for line in path.read_bytes().splitlines():
            levels[json.loads(line).get("level")] += 1

    assert panel("logs", "components", 24).rows
    tasks = {key[0]: values[0] for key, values in panel("logs", "components", 24).rows}["task"]
    assert tasks == sum(levels.values())
