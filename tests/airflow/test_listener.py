"""The listener, called by Airflow's own listener managers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import structlog
from airflow.listeners.listener import get_listener_manager
from airflow.listeners.types import AssetEvent
from airflow.sdk import Asset
from airflow.sdk.listener import get_listener_manager as get_task_listener_manager

from observability import identity
from observability.airflow import listener

BEGAN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
TRACE = "8cb019b032603ce96127316a7914670c"
MARKED = "TaskInstance's state was manually set to `failed`."
MISMATCH = "Executor LocalExecutor reported that the task instance finished with state failed, but it is running."


@pytest.fixture(autouse=True)
def nobody_bound(monkeypatch):
    monkeypatch.setattr(listener, "object_session", lambda _record: None)
    yield
    identity.bind(None)
    structlog.contextvars.clear_contextvars()


def carrier():
    return {"traceparent": f"00-{TRACE}-1234567890123456-01"}


def running(**more):
    about = {
        "id": "01a2", "dag_id": "flights", "task_id": "load", "run_id": "r1", "try_number": 1, "map_index": -1,
        "queue": "default", "pool": "default_pool", "operator": "BashOperator", "start_date": BEGAN, "end_date": None,
        "context_carrier": carrier(),
    }  # fmt: skip
    return SimpleNamespace(**{**about, **more})


def record(**more):
    """A task instance of the database, as far as the listener looks."""
    return running(**{"_sa_instance_state": None, "state": "failed", "end_date": BEGAN + timedelta(seconds=5), **more})


def run(**more):
    about = {
        "dag_id": "flights", "run_id": "r1", "run_type": "manual", "logical_date": None, "start_date": BEGAN,
        "end_date": BEGAN + timedelta(seconds=5), "dag": None, "context_carrier": carrier(),
    }  # fmt: skip
    return SimpleNamespace(**{**about, **more})


@pytest.mark.parametrize("manager", [get_listener_manager, get_task_listener_manager])
def test_both_of_airflows_managers_know_the_listener(manager):
    assert manager().pm.is_registered(listener)


def test_a_task_that_starts_binds_who_it_is_and_its_trace():
    get_task_listener_manager().hook.on_task_instance_running(previous_state=None, task_instance=running())
    assert identity.current().task_id == "load"
    assert structlog.contextvars.get_contextvars()["trace.id"] == TRACE


def test_a_failure_in_a_task_process_is_left_to_its_callback(told):
    get_task_listener_manager().hook.on_task_instance_failed(
        previous_state=None, task_instance=running(), error=ValueError()
    )
    assert told() == []


def test_a_person_who_marks_a_task_failed_is_the_cause(told):
    get_listener_manager().hook.on_task_instance_failed(previous_state=None, task_instance=record(), error=MARKED)
    [document] = told("task.failed")
    assert (document["event.action"], document["airflow.cause"]) == ("task.failed", "cancelled")
    assert document["airflow.component"] == "api-server"
    assert document["event.provider"] == "listener"
    assert document["event.duration"] == 5_000_000_000


def test_a_worker_that_vanished_is_told_by_the_scheduler(told):
    manager = get_listener_manager()
    manager.hook.on_task_instance_failed(previous_state=None, task_instance=record(), error=MISMATCH)
    retried = record(state="up_for_retry", try_number=2)
    manager.hook.on_task_instance_failed(previous_state=None, task_instance=retried, error=MISMATCH)
    assert [(d["event.action"], d["airflow.cause"]) for d in told()] == [
        ("task.failed", "lost_heartbeat"), ("task.retried", "lost_heartbeat"),
    ]  # fmt: skip


def test_airflow_at_odds_with_itself_is_a_fault_of_the_platform(told):
    error = MISMATCH.replace("finished with state failed", "finished with state success")
    get_listener_manager().hook.on_task_instance_failed(previous_state=None, task_instance=record(), error=error)
    assert told()[0]["airflow.cause"] == "platform"


def test_a_run_tells_its_beginning_and_its_end(told):
    hook = get_listener_manager().hook
    hook.on_dag_run_running(dag_run=run(), msg="started")
    hook.on_dag_run_success(dag_run=run(), msg="success")
    hook.on_dag_run_failed(dag_run=run(run_id="r2"), msg="task_failure")
    hook.on_dag_run_failed(dag_run=run(run_id="r3"), msg="Dag Run's state was manually set to `failed`.")
    started, succeeded, failed, cancelled = told()
    assert started["event.action"] == "dag_run.started"
    assert succeeded["event.duration"] == 5_000_000_000
    assert failed["airflow.cause"] == "upstream"
    assert cancelled["airflow.cause"] == "cancelled"
    assert {document["trace.id"] for document in told()} == {TRACE}


@pytest.mark.parametrize("behind", [timedelta(), timedelta(minutes=-5)], ids=["its clock is right", "it is behind"])
def test_each_state_that_a_person_sets_an_ended_run_to_is_a_fact_of_its_own(told, behind):
    """Airflow leaves the end of a run, and of a task, where it was."""
    hook, ended = get_listener_manager().hook, datetime.now(timezone.utc) - timedelta(minutes=1) - behind
    said = "Dag Run's state was manually set to `{}`."
    hook.on_dag_run_failed(dag_run=run(end_date=ended), msg="task_failure")
    hook.on_dag_run_success(dag_run=run(end_date=ended), msg=said.format("success"))
    hook.on_dag_run_failed(dag_run=run(end_date=ended), msg=said.format("failed"))
    hook.on_task_instance_failed(previous_state=None, task_instance=record(end_date=ended), error=MISMATCH)
    hook.on_task_instance_failed(previous_state=None, task_instance=record(end_date=ended), error=MARKED)
    times = [document["@timestamp"] for document in told()]
    at_end = ended.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert [time == at_end for time in times] == [True, False, False, True, False]
    assert min(times) == at_end
    assert len({document["event.id"] for document in told()}) == 5


def test_a_task_that_a_person_ends_while_it_runs_has_the_id_that_others_give_it(told):
    now = datetime.now(timezone.utc)
    hook = get_listener_manager().hook
    hook.on_task_instance_failed(previous_state=None, task_instance=record(end_date=now), error=MARKED)
    hook.on_task_instance_failed(previous_state=None, task_instance=record(), error=MISMATCH)
    assert [document["airflow.cause"] for document in told()] == ["cancelled"], "one fact, of which the first is told"


def test_the_events_of_a_run_name_the_version_of_its_dag_and_of_its_bundle(told):
    hook = get_listener_manager().hook
    about = {"created_dag_version": SimpleNamespace(version_number=7), "bundle_version": "9f1c2d"}
    hook.on_dag_run_running(dag_run=run(**about), msg="started")
    hook.on_dag_run_failed(dag_run=run(**about), msg="task_failure")
    assert [(one["airflow.dag_version"], one["airflow.bundle_version"]) for one in told()] == [(7, "9f1c2d")] * 2


def test_an_updated_asset_is_told_with_the_task_that_did_it(told):
    event = AssetEvent(
        asset=Asset(name="flights", uri="file:///flights"), extra={}, source_dag_id="flights", source_task_id="load",
        source_run_id="r1", source_map_index=-1, source_aliases=[], partition_key=None,
    )  # fmt: skip
    get_listener_manager().hook.on_asset_event_emitted(asset_event=event)
    [document] = told()
    assert document["airflow.asset"] == "file:///flights"
    assert document["airflow.task_id"] == "load"


def test_a_file_that_stops_parsing_is_told_once(told):
    trace = "Traceback (most recent call last):\n  File \"dags/x.py\", line 1\nNameError: name 'x' is not defined\n"
    for _ in range(2):
        get_listener_manager().hook.on_new_dag_import_error(filename="dags/x.py", stacktrace=trace)
    [document] = told()
    assert document["event.reason"] == "NameError: name 'x' is not defined"
    assert document["log.file.path"] == "dags/x.py"
    assert document["error.stack_trace"] == trace


_SEGFAULT = """
import ctypes, signal, sys
from airflow.dag_processing.dagbag import DagBag
from observability.airflow import listener

DagBag(sys.argv[1])
assert callable(signal.getsignal(signal.SIGSEGV)), "Airflow takes it off itself: ours can go"
listener.on_task_instance_running(None, None)
ctypes.string_at(0)
"""


def test_a_segfault_ends_the_process_of_a_task(tmp_path):
    (tmp_path / "empty.py").write_text("from airflow.sdk import DAG\nwith DAG('empty'):\n    pass\n", "utf-8")
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", _SEGFAULT, tmp_path], env=env, check=False, timeout=60)
    assert ended.returncode == -signal.SIGSEGV
