"""A watcher that is given nothing but variables, beside an Airflow that does not know Contrail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from benchmarks.two_airflows import plain

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(400)]

DAGS = """
import os, signal
from datetime import timedelta
from airflow.sdk import DAG, task

with DAG("raises", default_args={"owner": "ann"}):
    @task
    def work():
        raise ValueError("bad input 17")
    work()

with DAG("killed"):
    @task
    def work():
        os.kill(os.getpid(), signal.SIGKILL)
    work()

with DAG("recovers", default_args={"retries": 1, "retry_delay": timedelta(seconds=1)}):
    @task
    def work(ti=None):
        if ti.try_number == 1:
            raise ValueError("only the first attempt")
    work()
"""
RULES = """
channels: {people: {type: file, path: told.jsonl}}
receivers: {all: {channels: [people]}}
routes: [{receiver: all}]
"""
PROMISED = {"dag_id", "task_id", "run_id", "map_index", "kind", "cause", "severity", "channel", "time"}


def until(holds, within):
    deadline = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)
    return found


def test_each_failure_is_told_once_with_its_cause_and_what_recovers_is_not(tmp_path):
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "three.py").write_text(DAGS)
    (tmp_path / "routes.yaml").write_text(RULES)
    (tmp_path / "airflow").mkdir()
    with plain(tmp_path / "airflow", tmp_path / "dags") as airflow, airflow._http:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
        given = {
            **kept,
            "CONTRAIL_HOME": str(tmp_path / "watcher"),
            "CONTRAIL_WATCH__API_URL": str(airflow._http.base_url).removesuffix("/api/v2/"),
            "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path / "airflow" / "logs"),
            "CONTRAIL_WATCH__LEDGER_URL": f"sqlite:///{tmp_path / 'anywhere' / 'ledger.db'}",
            "CONTRAIL_WATCH__RULES_FILE": str(tmp_path / "routes.yaml"),
            "CONTRAIL_WATCH__RECONCILE_S": "3",
        }

        def sent(*arguments):
            asked = [sys.executable, "-m", "observability.cli", "alerts", "sent", "--json", *arguments]
            return json.loads(subprocess.run(asked, env=given, capture_output=True, check=True).stdout)

        assert sent("--since", "1h") == []
        with (tmp_path / "watcher.log").open("wb") as log:
            watcher = subprocess.Popen(
                [sys.executable, "-m", "observability.cli", "watch"], env=given, stderr=log, stdout=log
            )
        try:
            for dag_id in ("raises", "killed", "recovers"):
                until(lambda dag_id=dag_id: airflow.ready(dag_id), 120)
            runs = {
                dag_id: airflow._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None}).json()["dag_run_id"]
                for dag_id in ("raises", "killed", "recovers")
            }
            path = f"/dags/recovers/dagRuns/{runs['recovers']}"
            until(lambda: airflow._http.get(path).json()["state"] == "success", 120)
            told = until(lambda: len(found := sent("--since", "1h")) >= 2 and found, 60)
        finally:
            watcher.send_signal(signal.SIGTERM)
            assert watcher.wait(20) == 0
    assert all(one.keys() >= PROMISED for one in told)
    assert Counter((one["dag_id"], one["run_id"], one["task_id"], one["kind"], one["cause"]) for one in told) == {
        ("raises", runs["raises"], "work", "opened", "app"): 1,
        ("killed", runs["killed"], "work", "opened", "killed"): 1,
    }
    assert {one["summary"] for one in told} == {"ValueError: bad input 17", "its process was ended by SIGKILL"}
