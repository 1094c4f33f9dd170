"""The canary DAG in a real Airflow, for more rounds than two, and when its way is slow or broken."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from airflow_platform import clean_environment

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib, json, sys, threading
sys.path[:0] = [{root!r}, {dags!r}]
from observability.relay.relay import Relay
from observability.settings import get_settings
from observability.store.store import Query, open_store
canary = importlib.import_module("canary")
dag = canary.canary()

def play(relay=True):
    if not relay:
        return str(dag.test().state)
    carrier = Relay(get_settings(), statsd=False)
    running = threading.Thread(target=carrier.run)
    running.start()
    run = dag.test()
    carrier.stop()
    running.join()
    return str(run.state)

states = [play() for _ in range(4)]
canary.WAITED_FOR_S, canary.ARRIVES_WITHIN_S = 0.2, 0
states.append(play(relay=False))
import observability.canary as ours
real = ours.open_store
def down(_):
    raise ConnectionError("the store is away")
ours.open_store = down
states.append(play())
ours.open_store = real
canary.WAITED_FOR_S, canary.ARRIVES_WITHIN_S = 30, 120
states.append(play())
assert Relay(get_settings(), statsd=False).run(once=True)
store = open_store(get_settings())
events = list(store.documents(Query("etl.event")))
names = [one["event.action"] for one in events]
print(json.dumps({{
    "states": states,
    "found": [name for name in names if name.startswith("canary.")],
    "lost": list(store.documents(Query("contrail.alert", {{"event.action": "telemetry.lost"}}))),
    "failed": [name for name in names if name in ("task.failed", "dag_run.failed", "task.retried")],
    "doubled": len(events) - len({{one["event.id"] for one in events}}),
}}))
"""


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    home = tmp_path_factory.mktemp("canary")
    environment = clean_environment(
        AIRFLOW_HOME=str(home / "airflow"),
        CONTRAIL_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "dags"),
    )
    migrated = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"], env=environment, capture_output=True, text=True, check=False
    )
    assert migrated.returncode == 0, migrated.stderr[-2000:]
    program = PROGRAM.format(root=str(ROOT), dags=str(ROOT / "dags"))
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_each_of_many_rounds_is_verified_and_a_slow_or_absent_store_fails_no_run(played):
    assert played["states"] == ["success"] * 7
    rounds = ["canary.verified"] * 4 + ["canary.missing"] * 2 + ["canary.verified"]
    assert played["found"] == rounds


def test_its_rounds_are_no_failed_tasks_no_losses_and_nothing_twice(played):
    assert (played["failed"], played["lost"], played["doubled"]) == ([], [], 0)
