"""The demo, played once: what it promises is in what it prints."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing

import psutil
import pytest
from airflow_platform import CONTRAIL

pytestmark = pytest.mark.airflow


def test_it_succeeds(demo):
    assert demo.status == 0, demo.stderr


def test_its_last_line_has_exactly_the_promised_keys(demo):
    expected = ["runs", "tasks", "causes", "rows", "logs", "metrics", "events", "alerts", "seconds", "open"]
    assert list(demo.result) == expected
    assert demo.stdout.count("\n") == 1


def test_every_row_that_came_in_went_out_or_into_quarantine(demo):
    rows = demo.result["rows"]
    assert rows["in"] == rows["out"] + rows["rejected"]
    assert rows["rejected"] == 18


def test_every_line_that_was_written_is_stored(demo):
    assert demo.result["logs"]["emitted"] == demo.result["logs"]["stored"] > 0
    assert demo.result["metrics"]["series"] > 100


def test_it_tells_its_five_cases_apart(demo):
    events = demo.result["events"]
    assert demo.result["runs"] == {"failed": 2, "success": 5}
    assert demo.result["causes"] == {"app": 1, "killed": 1}
    assert (events["task.retried"], events["task.failed"], events["task.killed"]) == (1, 2, 1)
    assert events["rows.rejected"] == 5
    for words in ("clean day 2013-01-01", "bad rows 2013-01-02", "fails once", "fails for good", "killed by SIGKILL"):
        assert words in demo.stderr


def test_each_failed_task_is_told_once(demo):
    told = sorted((alert["task_id"], alert["cause"], alert["state"]) for alert in demo.result["alerts"])
    assert told == [("exception", "app", "sent"), ("sigkill", "killed", "sent")]


def test_a_platform_that_is_started_on_its_home_later_loads_no_further_days(demo):
    database = next((demo.home / "airflow").glob("*.db"))
    with closing(sqlite3.connect(database)) as airflow:
        paused = dict(airflow.execute("select dag_id, is_paused from dag"))
    assert paused["flights_daily"] == 1


def test_nothing_was_lost_on_the_way(demo):
    assert "telemetry.lost" not in demo.result["events"]


def test_it_leaves_nothing_running(demo):
    state = json.loads((demo.home / "run" / "platform.json").read_text())
    assert [pid for pid in (state["guardian"], state["supervisor"]) if psutil.pid_exists(pid)] == []
    assert state["phase"] == "stopped"


def test_what_it_says_to_look_at_shows_the_events(demo):
    shown = subprocess.run(
        [*CONTRAIL, "events", "--json"], env=demo.environment(), capture_output=True, check=True, text=True, timeout=60
    )
    kinds = {json.loads(line)["event.action"] for line in shown.stdout.splitlines() if line.startswith("{")}
    assert {"task.failed", "task.killed", "step.measured"} <= kinds
