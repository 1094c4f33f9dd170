"""A DAG that never heard of Contrail: tasks of many kinds, and the ways in which they end."""

# ruff: noqa: T201 - tasks print

from __future__ import annotations

import os
import signal
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import Asset, dag, get_current_context, setup, task, task_group, teardown
from airflow.sdk.exceptions import AirflowSkipException


def own(context):
    print(f"the author's own callback saw {context['ti'].task_id}")


def broken(context):
    raise RuntimeError("the author's callback is broken")


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), tags=["unmodified", "all-kinds"])
def observed():  # noqa: C901 - a task of each kind
    @setup
    def begin():
        """Set up."""

    @teardown
    def end():
        """Tear down."""

    @task
    def each(number):
        print(f"number {number}")

    @task(retries=1, retry_delay=timedelta(seconds=1), owner="ada", on_retry_callback=own)
    def flaky():
        if get_current_context()["ti"].try_number == 1:
            raise ConnectionError("the source is away")

    @task(on_failure_callback=[broken, own], on_success_callback=broken)
    def failing():
        return {}["a key that is not there"]

    @task(on_success_callback=[broken, own])
    def well():
        print("well done")

    @task
    def killed():
        print("about to be killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def skipped():
        raise AirflowSkipException("not today")

    @task_group
    def group():
        BashOperator(task_id="bash", bash_command="echo from a shell", outlets=[Asset("contrail://observed")])

    # a trigger that is done before the scheduler has heard of the deferral makes Airflow give the task up
    soon = "{{ macros.datetime.now(macros.dateutil.tz.UTC) + macros.timedelta(seconds=8) }}"
    DateTimeSensorAsync(task_id="deferring", target_time=soon, end_from_trigger=True)
    begin() >> [each.expand(number=[1, 2]), flaky(), failing(), well(), killed(), skipped(), group()] >> end()


observed()


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
def small():
    @task(retries=1, retry_delay=timedelta(milliseconds=10))
    def flaky():
        if get_current_context()["ti"].try_number == 1:
            raise ConnectionError("the source is away")

    flaky()


small()
