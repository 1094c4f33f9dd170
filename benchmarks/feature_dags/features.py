"""The features of Airflow 3.3 and later, a DAG each; every task prints lines that name it.

The benchmark ``versions`` runs them.
"""

from __future__ import annotations

import sys
import time
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import (
    Asset,
    ObjectStoragePath,
    PartitionedAssetTimetable,
    dag,
    get_current_context,
    setup,
    task,
    task_group,
    teardown,
)  # fmt: skip


def say(what, number=3):
    context = get_current_context()
    for line in range(number):
        print(f"MARK {what} map={context['ti'].map_index} try={context['ti'].try_number} line={line}")


@dag(schedule=None, catchup=False, tags=["features"])
def f_hitl():
    HITLOperator(task_id="asks", subject="yes or no?", options=["yes", "no"])
    HITLOperator(
        task_id="runs_out_with_default", subject="?", options=["yes", "no"], defaults=["yes"],
        response_timeout=timedelta(seconds=10),
    )  # fmt: skip
    HITLOperator(task_id="runs_out", subject="?", options=["yes", "no"], response_timeout=timedelta(seconds=10))
    ApprovalOperator(task_id="approves", subject="shall we?")


@dag(schedule=None, catchup=False, tags=["features"])
def f_trigger_child():
    @task
    def child(**context):
        say("child")
        if (context["dag_run"].conf or {}).get("fail"):
            raise ValueError("the child fails because it was told to")

    child()


@dag(schedule=None, catchup=False, tags=["features"])
def f_trigger_parent():
    one = TriggerDagRunOperator(
        task_id="waits", trigger_dag_id="f_trigger_child", wait_for_completion=True, poke_interval=2
    )
    two = TriggerDagRunOperator(
        task_id="waits_for_a_failure", trigger_dag_id="f_trigger_child", conf={"fail": True}, wait_for_completion=True,
        poke_interval=2, failed_states=["failed"],
    )  # fmt: skip
    three = TriggerDagRunOperator(
        task_id="defers", trigger_dag_id="f_trigger_child", wait_for_completion=True, deferrable=True, poke_interval=2,
        trigger_rule="all_done",
    )  # fmt: skip
    one >> two >> three  # with two slots, two that wait at once leave none for the child


@dag(schedule=None, catchup=False, tags=["features"])
def f_setup_teardown():
    @setup
    def begin():
        say("begin")

    @task
    def work():
        say("work")
        raise ValueError("between set-up and tear-down")

    @teardown
    def end():
        say("end")

    begin() >> work() >> end()


@dag(schedule=None, catchup=False, tags=["features"])
def f_teardown_fails():
    """The tear-down fails and on_failure_fail_dagrun is off: the run succeeds."""

    @setup
    def begin():
        say("begin")

    @task
    def work():
        say("work")

    @teardown
    def end():
        raise RuntimeError("only the tear-down fails")

    begin() >> work() >> end()


@dag(schedule=None, catchup=False, tags=["features"])
def f_branches():
    @task.branch
    def choose():
        say("choose")
        return "left"

    left, right = EmptyOperator(task_id="left"), BashOperator(task_id="right", bash_command="echo right")

    @task.short_circuit
    def stop():
        say("stop")
        return False

    @task
    def never():
        say("never")

    @task(trigger_rule="none_failed_min_one_success")
    def joined():
        say("joined")

    choose() >> [left, right] >> joined()
    stop() >> never()


@dag(schedule=None, catchup=False, tags=["features"])
def f_externals():
    @task.external_python(python=sys.executable, expect_airflow=False)
    def outside():
        for line in range(3):
            print(f"MARK outside line={line}")
        return 1

    @task.external_python(python=sys.executable, expect_airflow=False)
    def outside_fails():
        raise ValueError("raised in another interpreter")

    @task.virtualenv(requirements=[], system_site_packages=False)
    def own_environment():
        print("MARK virtualenv")

    outside()
    outside_fails()
    own_environment()


@dag(schedule=None, catchup=False, tags=["features"])
def f_mapped_groups():
    """Three copies of a group of two mapped tasks; in the second copy the second task fails."""

    @task_group
    def group(value):
        @task
        def first(value):
            say("first")
            return value

        @task
        def second(value):
            say("second")
            if value == 2:
                raise ValueError("two is bad")

        second(first(value))

    group.expand(value=[1, 2, 3])


@dag(schedule=None, catchup=False, tags=["features"])
def f_object_storage():
    @task
    def writes():
        path = ObjectStoragePath("file:///tmp") / "contrail-feature-object.txt"
        path.write_text("hello")
        say("writes")
        return path

    @task
    def reads(path):
        print("MARK read", path.read_text())

    reads(writes())


@dag(schedule=None, catchup=False, tags=["features"], default_args={"retries": 0})
def f_slots():
    """Eight mapped tasks of one at a time, and six in a pool of one: they wait, and rightly."""

    @task(max_active_tis_per_dag=1)
    def narrow(n):
        say("narrow")
        time.sleep(3)

    @task(pool="feature_one", priority_weight=5)
    def pooled(n):
        say("pooled")
        time.sleep(3)

    narrow.expand(n=list(range(8)))
    pooled.expand(n=list(range(6)))


@dag(schedule=None, catchup=False, tags=["features"])
def f_deferrable():
    TimeDeltaSensor(task_id="defers", delta=timedelta(seconds=5), deferrable=True)
    TimeDeltaSensor(task_id="defers_and_times_out", delta=timedelta(seconds=300), deferrable=True, timeout=5, retries=0)
    TimeDeltaSensor(
        task_id="reschedules", delta=timedelta(seconds=5), deferrable=False, mode="reschedule", poke_interval=3
    )


asset = Asset(uri="file://feature/asset.csv", name="asset")
parts = Asset(uri="file://feature/parts.csv", name="parts")


@dag(schedule=None, catchup=False, tags=["features"])
def f_asset_producer():
    @task(outlets=[asset])
    def produce():
        say("produce")

    produce()


@dag(schedule=[asset], catchup=False, tags=["features"], is_paused_upon_creation=False)
def f_asset_consumer():
    @task
    def consume():
        say("consume")
        raise ValueError("the consumer fails")

    consume()


@dag(schedule=None, catchup=False, tags=["features"])
def f_partition_producer():
    @task(outlets=[parts])
    def produce():
        say("produce")

    produce()


@dag(schedule=PartitionedAssetTimetable(assets=parts), catchup=False, tags=["features"], is_paused_upon_creation=False)
def f_partition_consumer():
    @task
    def consume():
        print("MARK partition", get_current_context()["dag_run"].partition_key)

    consume()


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    tags=["features"],
    is_paused_upon_creation=True,
)
def f_backfilled():
    """To be back-filled over five days; the third fails."""

    @task
    def day(**context):
        say("day")
        if context["logical_date"].day == 3:
            raise ValueError("the third is bad")

    day()


@dag(schedule=None, catchup=False, tags=["features"])
def f_two_executors():
    @task(executor="LocalExecutor")
    def one():
        say("one")

    @task
    def two():
        say("two")
        raise ValueError("by the default executor")

    one()
    two()


f_hitl()
f_trigger_child()
f_trigger_parent()
f_setup_teardown()
f_teardown_fails()
f_branches()
f_externals()
f_mapped_groups()
f_object_storage()
f_slots()
f_deferrable()
f_asset_producer()
f_asset_consumer()
f_partition_producer()
f_partition_consumer()
f_backfilled()
f_two_executors()
