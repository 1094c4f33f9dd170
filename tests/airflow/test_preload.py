"""The parent makes the first event ready, and loads no heavy library for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

INSIDE = """
import json, sys
import airflow.models, airflow.sdk.execution_time.task_runner, airflow.executors.local_executor
from airflow import settings
before = set(sys.modules)
import observability.airflow.plugin, observability.airflow.policy
ours = set(sys.modules)
import observability.airflow.logging_config
print(json.dumps([sorted({name.partition(".")[0] for name in found - before}) for found in (ours, set(sys.modules))]))
"""
HEAVY = {
    "pandas",
    "pyarrow",
    "numpy",
    "boto3",
    "botocore",
    "elasticsearch",
    "elastic_transport",
    "requests",
    "duckdb",
    "apprise",
}
CHILD = """
import json, sys
from types import SimpleNamespace
from airflow import settings
settings.initialize()
import airflow.sdk.execution_time.task_runner
from observability.airflow import listener
from observability import callbacks
names = dict.fromkeys(("id", "dag_id", "task_id", "run_id", "queue"), "x")
ti = SimpleNamespace(**names, try_number=1, map_index=-1, start_date=None, end_date=None)
loaded = set(sys.modules)
listener.on_task_instance_running(None, ti)
context = {"ti": ti, "exception": ValueError("no")}
callbacks.on_execute(context)
callbacks.on_failure(context)
listener.before_stopping(None)
print(json.dumps(sorted(set(sys.modules) - loaded)))
"""


def run(code, **more):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, **more)
    return json.loads(done.stdout.splitlines()[-1])


SUPERVISES = """
import json, sys
from airflow import settings
settings.initialize()
import observability.airflow.plugin, observability.airflow.logging_config
from airflow.executors import local_executor
print(json.dumps([name for name in sys.modules if name.startswith("observability.relay")]))
"""


@pytest.mark.parametrize("in_a_new_interpreter", [False, True])
def test_a_task_in_a_new_interpreter_loads_nothing_of_the_relay_and_what_supervises_tasks_has_it(in_a_new_interpreter):
    """Airflow 3.4 gives the variable to a task's process alone, which pays for each module at each start."""
    more = {"_AIRFLOW_CHILD_TARGET": "airflow.sdk.execution_time.supervisor:_subprocess_main"}
    found = run(SUPERVISES, env={**os.environ, **(more if in_a_new_interpreter else {})})
    assert ("observability.relay.relay" in found) is not in_a_new_interpreter
    assert not (found and in_a_new_interpreter)


def test_inside_airflow_we_load_no_heavy_library():
    plugin_and_policy, with_logging = run(INSIDE)
    assert "observability" in plugin_and_policy
    assert HEAVY.intersection(with_logging) == HEAVY.intersection(plugin_and_policy) == set()


def test_a_task_imports_nothing_for_its_events():
    assert run(CHILD) == []


def test_a_bad_setting_is_logged_with_its_remedy_and_harms_nobody(monkeypatch):
    monkeypatch.setenv("CONTRAIL_JOURNAL__FSINK", "true")
    code = "from airflow import settings; settings.initialize(); import observability.airflow.plugin; print('[]')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert "CONTRAIL_JOURNAL__FSINK" in done.stdout + done.stderr
    assert "did you mean" in done.stdout + done.stderr
