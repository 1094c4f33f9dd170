"""The cluster policies, on DAGs as Airflow parses them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from airflow import settings
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, Asset, TaskGroup, setup, task, teardown
from airflow.serialization.serialized_objects import DagSerialization

from observability import callbacks
from observability.airflow import policy

KINDS = {
    "on_execute_callback": callbacks.on_execute,
    "on_success_callback": callbacks.on_success,
    "on_failure_callback": callbacks.on_failure,
    "on_retry_callback": callbacks.on_retry,
    "on_skipped_callback": callbacks.on_skipped,
}


def theirs(context):
    """A callback of the DAG's author."""


def apply(dag):
    policy.dag_policy(dag)
    for each in dag.tasks:
        policy.task_policy(each)
    return dag


@pytest.fixture
def dag():
    with DAG("mixed", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:

        @setup
        def begin():
            """Set up."""

        @teardown
        def end():
            """Tear down."""

        @task
        def each(number):
            return number

        with TaskGroup("group"):
            own = BashOperator(
                task_id="own", bash_command="true", on_failure_callback=theirs, on_success_callback=[theirs, theirs]
            )
        sensor = DateTimeSensorAsync(task_id="sensor", target_time="{{ ts }}", end_from_trigger=True)
        begin() >> sensor >> each.expand(number=[1, 2]) >> own >> EmptyOperator(task_id="empty") >> end()
    return dag


def test_airflow_finds_the_policies_by_their_entry_point():
    assert policy in settings.get_policy_plugin_manager().get_plugins()


def test_every_kind_of_task_gets_every_callback(dag):
    for each in [each for each in apply(dag).tasks if each.task_id != "empty"]:
        assert {kind: getattr(each, kind)[0] for kind in KINDS} == KINDS


def test_an_empty_operator_is_not_made_to_run(dag):
    empty = apply(dag).get_task("empty")
    assert not empty.has_on_execute_callback
    assert not empty.has_on_success_callback
    assert empty.on_failure_callback == [callbacks.on_failure]


def test_an_empty_operator_that_runs_all_the_same_is_observed():
    with DAG("empties", schedule=None) as dag:
        EmptyOperator(task_id="asset", outlets=[Asset("contrail://empty")])
        EmptyOperator(task_id="own", on_execute_callback=theirs)
    assert [callbacks.on_success in each.on_success_callback for each in apply(dag).tasks] == [True, True]


def test_the_authors_callbacks_stay_behind_ours(dag):
    own = apply(dag).get_task("group.own")
    assert own.on_failure_callback == [callbacks.on_failure, theirs]
    assert own.on_success_callback == [callbacks.on_success, theirs, theirs]


def test_a_second_time_changes_nothing(dag):
    before = {each.task_id: [list(getattr(each, kind)) for kind in KINDS] for each in apply(dag).tasks}
    assert {each.task_id: [list(getattr(each, kind)) for kind in KINDS] for each in apply(dag).tasks} == before


def test_a_dag_that_uses_default_args_gets_nothing_twice():
    with DAG("named", schedule=None, default_args=callbacks.default_args()) as dag:
        EmptyOperator(task_id="one")
        EmptyOperator(task_id="two")
    assert [each.on_failure_callback for each in apply(dag).tasks] == [[callbacks.on_failure]] * 2


def test_callbacks_shared_by_tasks_are_not_added_to_each_other():
    shared = [theirs]
    with DAG("shared", schedule=None, default_args={"on_failure_callback": shared}) as dag:
        EmptyOperator(task_id="one")
        EmptyOperator(task_id="two")
    apply(dag)
    assert shared == [theirs]


def test_the_dag_still_serializes_and_says_that_it_has_callbacks(dag):
    back = DagSerialization.from_dict(DagSerialization.to_dict(apply(dag)))
    assert sorted(back.task_dict) == sorted(dag.task_dict)
    assert all(each.has_on_failure_callback for each in back.task_dict.values())


def test_no_run_level_callback_is_added_as_each_would_cost_a_parse_per_run(dag):
    apply(dag)
    assert not dag.has_on_failure_callback
    assert not dag.has_on_success_callback


def test_a_task_that_would_end_in_its_trigger_ends_on_a_worker(dag):
    assert apply(dag).get_task("sensor").end_from_trigger is False


def test_a_mapped_task_keeps_its_callbacks_when_it_is_unmapped(dag):
    mapped = apply(dag).get_task("each")
    unmapped = mapped.unmap({"op_kwargs": {"number": 1}})
    assert callbacks.on_failure in unmapped.on_failure_callback


OVERRIDING = """
def theirs(context):
    pass

def task_policy(task):
    task.on_failure_callback = theirs
    task.on_execute_callback = None
"""
ASKED = """
from airflow import settings  # reads airflow_local_settings and the policies of packages
from airflow.providers.standard.operators.bash import BashOperator
task = BashOperator(task_id="t", bash_command="true")
settings.task_policy(task)
print([each.__name__ for each in task.on_failure_callback], [each.__name__ for each in task.on_execute_callback])
"""


def test_what_local_settings_set_on_every_task_stands_beside_ours(tmp_path):
    (tmp_path / "airflow_local_settings.py").write_text(OVERRIDING)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    done = subprocess.run(
        [sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "['on_failure', 'theirs'] ['on_execute']"
