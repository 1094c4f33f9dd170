"""A DAG that never imports us emits its events, on a real Airflow."""

from __future__ import annotations

import subprocess
import sys

import orjson
import pytest
from airflow_platform import wait_until
from airflow_runs import DONE, journal_of, pause, trigger

from observability.local.environment import environment
from observability.settings import load_settings

pytestmark = pytest.mark.airflow

ATTEMPTS = ("task.started", "task.succeeded", "task.failed", "task.retried", "task.skipped")
IDENTITY = (
    "dag_id", "task_id", "run_id", "try_number", "map_index", "ti_id", "operator", "owner", "pool", "queue", "run_type",
    "tags", "bundle", "component",
)  # fmt: skip


@pytest.fixture(scope="module")
def api(platform):
    with platform.api() as api:
        yield api


@pytest.fixture(scope="module")
def observed(platform, api):
    """One finished run of the DAG that never heard of us."""
    run = trigger(platform, api, "observed")
    wait_until(lambda: run.state() in DONE, within=180)
    wait_until(lambda: run.events("dag_run.failed"), within=10)
    return run


def story(run, task_id):
    """The events of a task, attempt by attempt."""
    told = run.events(task_id=task_id)
    return [
        (event["event.action"], event["airflow.try_number"])
        for event in told
        if event["event.action"] != "asset.updated"
    ]


def test_every_event_of_an_attempt_says_who_it_is(observed):
    events = [event for event in observed.events() if event["event.action"] in ATTEMPTS]
    assert len(events) >= 18
    for event in events:
        from_outside = "reconciler" in event.get("event.provider", "")  # of a process that could say nothing
        wanted = ("dag_id", "task_id", "run_id", "try_number", "map_index", "operator", "owner")
        assert [name for name in (wanted if from_outside else IDENTITY) if f"airflow.{name}" not in event] == []
        assert len(event["trace.id"]) == 32


def test_the_run_and_its_tasks_share_one_trace(observed):
    events = [event for event in observed.events() if "trace.id" in event]
    assert {event["event.action"] for event in events} >= {"dag_run.started", "dag_run.failed", *ATTEMPTS}
    assert len({event["trace.id"] for event in events}) == 1


def test_a_task_that_recovers_tells_the_failed_attempt_and_the_success(observed):
    assert story(observed, "flaky") == [
        ("task.started", 1), ("task.retried", 1), ("task.started", 2), ("task.succeeded", 2),
    ]  # fmt: skip
    [retried] = observed.events("task.retried", "flaky")
    assert (retried["airflow.cause"], retried["airflow.owner"]) == ("dependency", "ada")


def test_a_task_that_fails_for_good_tells_why_and_where(observed):
    [failed] = observed.events("task.failed", "failing")
    assert failed["airflow.cause"] == "app"
    assert failed["event.reason"] == "KeyError: 'a key that is not there'"
    assert failed["error.frame"].startswith("observed.py:")
    assert failed["error.frame"].endswith(" in failing")
    assert failed["event.duration"] > 0
    assert failed["airflow.peak_rss"] > 10_000_000


def test_the_authors_callbacks_run_beside_ours_and_a_broken_one_breaks_none(observed):
    for task_id in ("failing", "well"):
        said = [line["event"] for line in observed.log(task_id)]
        assert f"the author's own callback saw {task_id}" in said
        assert "Failed to run task callback" in said
    assert story(observed, "well") == [("task.started", 1), ("task.succeeded", 1)]


def test_a_killed_task_is_told_by_the_relay_and_its_outcome_by_the_watcher(observed):
    wait_until(lambda: observed.events("task.failed", "killed"), within=30)
    assert sorted(story(observed, "killed")) == [("task.failed", 1), ("task.killed", 1), ("task.started", 1)]
    assert observed.events("task.failed", "killed")[0]["event.provider"] == "relay+reconciler"
    [killed] = observed.events("task.killed", "killed")
    assert (killed["airflow.signal"], killed["process.exit_code"]) == ("SIGKILL", -9)


def test_each_instance_of_a_mapped_task_tells_of_itself(observed):
    assert {event["airflow.map_index"] for event in observed.events("task.succeeded", "each")} == {0, 1}


def test_a_deferred_task_began_once_and_ended_once(observed):
    assert story(observed, "deferring") == [("task.started", 1), ("task.succeeded", 1)]
    assert observed.events("task.succeeded", "deferring")[0]["event.duration"] > 7_500_000_000


def test_setup_teardown_skips_groups_and_assets_are_told(observed):
    for task_id in ("begin", "end", "group.bash"):
        assert ("task.succeeded", 1) in story(observed, task_id)
    assert story(observed, "skipped") == [("task.started", 1), ("task.skipped", 1)]
    [updated] = observed.events("asset.updated")
    assert updated["airflow.asset"] == "contrail://observed/"
    assert updated["airflow.task_id"] == "group.bash"


def test_a_run_tells_its_beginning_and_its_end_once(observed):
    runs = [event["event.action"] for event in observed.events() if event["event.action"].startswith("dag_run.")]
    assert runs == ["dag_run.started", "dag_run.failed"]


def test_nothing_of_ours_was_lost_on_the_way(observed, platform):
    assert [event for event in journal_of(platform) if event["event.action"] == "telemetry.lost"] == []


@pytest.mark.parametrize("task_id", ["failing", "killed", "group.bash"])
def test_the_ui_shows_a_log_as_airflow_wrote_it_also_when_the_file_is_gone(task_id, observed, platform):
    file = platform.layout.log_folder / f"dag_id=observed/run_id={observed.run_id}/task_id={task_id}/attempt=1.log"
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines()]
    written = sorted(lines, key=lambda line: line["timestamp"][:23])  # as the UI does, by milliseconds
    assert observed.log(task_id) == written
    aside = file.rename(file.with_suffix(".aside"))
    try:
        wait_until(lambda: len(observed.log(task_id)) == len(written), within=15)
        assert observed.log(task_id) == written
    finally:
        aside.rename(file)


def test_a_line_is_shown_once_while_the_task_runs_and_a_person_who_ends_it_is_the_cause(platform, api):
    run = trigger(platform, api, "deadline")
    wait_until(lambda: run.events("task.started", "sleeping"), within=60)
    wait_until(lambda: any("::endgroup::" in line["event"] for line in run.log("sleeping")), within=15)
    lines = [orjson.dumps(line, option=orjson.OPT_SORT_KEYS) for line in run.log("sleeping")]
    assert len(lines) == len(set(lines))

    wait_until(lambda: run.events("deadline.missed"), within=30)
    run.api.call("PATCH", f"{run.path}/taskInstances/sleeping", json={"new_state": "failed"})
    [failed] = wait_until(lambda: run.events("task.failed"), within=15)
    assert (failed["airflow.cause"], failed["event.reason"]) == ("cancelled", "set to failed by a person")
    assert failed["airflow.component"] == "api-server"
    [missed] = run.events("deadline.missed")
    assert missed["deadline.name"] == "one second"


def test_dags_test_is_observed_as_well(platform, api):
    pause(api, "small")  # or the scheduler beside it may take the run's tasks: it takes every run of an unpaused DAG
    settings = load_settings(environ=platform.environment)
    played = subprocess.run(
        [sys.executable, "-m", "airflow", "dags", "test", "small"],
        check=False, env=environment(platform.layout, settings), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert played.returncode == 0, played.stderr
    told = [
        (event["event.action"], event.get("airflow.task_id"))
        for event in journal_of(platform)
        if event.get("airflow.dag_id") == "small" and event["event.action"] != "audit.recorded"
    ]
    assert sorted(told, key=str) == [
        ("dag_run.succeeded", None), ("task.retried", "flaky"), ("task.started", "flaky"), ("task.started", "flaky"),
        ("task.succeeded", "flaky"),
    ]  # fmt: skip
