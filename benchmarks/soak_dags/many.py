"""Forty DAGs of many shapes, twenty shapes twice, on schedules of minutes: what the soak keeps running.

Every task prints numbered lines, so that what is stored can be compared with what was written. ``fine_*`` never fails.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta, timezone

import pandas as pd
from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, Asset, BaseOperator, TaskGroup, task
from airflow.sdk.exceptions import AirflowSkipException

from observability import get_logger, measure

log = get_logger(__name__)
EVERY_MINUTES = int(os.environ.get("SOAK_EVERY_MINUTES", "6"))
SHAPES = {}


def shape(build):
    """Register a function that fills a DAG; its name is the DAG's, after ``fine_`` or ``bad_``."""
    SHAPES[build.__name__] = build
    return build


def say(lines=3):
    """Write numbered lines."""
    for number in range(lines):
        log.info("soak line", number=number, of=lines)


class Wait(BaseOperator):
    """Waits in the triggerer for a second."""

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=1)), method_name="resume")

    def resume(self, context, event=None):
        say()


@shape
def fine_chain(number):
    @task
    def first():
        say()

    @task
    def second():
        say(20)

    first() >> second()


@shape
def fine_mapped(number):
    @task
    def part(of):
        say(of)

    part.expand(of=[1, 2, 3])


@shape
def fine_bash(number):
    BashOperator(task_id="shell", bash_command="for i in 1 2 3; do echo soak line $i; done")


@shape
def fine_retried(number):
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def flaky(ti=None):
        say()
        if ti.try_number == 1:
            raise ValueError("only the first attempt fails")

    flaky()


@shape
def fine_skip(number):
    @task
    def never():
        say()
        raise AirflowSkipException("nothing to do")

    @task(trigger_rule="none_failed")
    def after():
        say()

    never() >> after()


@shape
def fine_branch(number):
    @task
    def left():
        say()

    @task
    def right():
        say()

    BranchPythonOperator(task_id="choose", python_callable=lambda: "left") >> [left(), right()]


@shape
def fine_deferred(number):
    Wait(task_id="wait")


@shape
def fine_sensor(number):
    PythonSensor(task_id="look", python_callable=lambda: True, mode="reschedule", poke_interval=5)


@shape
def fine_group(number):
    with TaskGroup("group"):

        @task
        def inside():
            say()

        inside()


@shape
def fine_rows(number):
    @task
    def load():
        with measure("load", table=f"table_{number}") as step:
            frame = step.input(pd.DataFrame({"value": range(100)}))
            step.rejected(3, rule="value_positive")
            step.output(frame[3:])
        say()

    load()


@shape
def fine_asset(number):
    @task(outlets=[Asset(f"soak_{number}")])
    def produce():
        say()

    produce()


@shape
def fine_many_lines(number):
    @task
    def talk():
        say(400)

    talk()


@shape
def fine_killed_retried(number):
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def dies_once(ti=None):
        say()
        if ti.try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    dies_once()


@shape
def bad_always(number):
    @task
    def load():
        say()
        raise ValueError("bad input")

    load()


@shape
def bad_sometimes(number):
    """Fails in two rounds of four."""

    @task
    def load():
        say()
        if int(time.time() / 60 / EVERY_MINUTES) % 4 >= 2:  # noqa: PLR2004 - two of four
            raise ConnectionError("the source does not answer")

    load()


@shape
def bad_killed(number):
    @task
    def dies():
        say()
        os.kill(os.getpid(), signal.SIGKILL)

    dies()


@shape
def bad_mapped(number):
    @task
    def part(of):
        say()
        if of == 2:  # noqa: PLR2004 - one of three
            raise KeyError("column")

    part.expand(of=[1, 2, 3])


@shape
def bad_upstream(number):
    @task
    def first():
        say()
        raise TypeError("no number")

    @task
    def second():
        say()

    first() >> second()


@shape
def bad_retried(number):
    @task(retries=1, retry_delay=timedelta(seconds=1))
    def load():
        say()
        raise RuntimeError("each attempt fails")

    load()


@shape
def late_slow(number):
    """Takes longer than its deadline allows, and ends well."""

    @task
    def slow():
        say()
        time.sleep(12)

    slow()


for position, (name, build) in enumerate(SHAPES.items()):
    for number in (1, 2):
        minute = (2 * position + number) % EVERY_MINUTES
        with DAG(
            f"{name}_{number}",
            schedule=f"{minute}-59/{EVERY_MINUTES} * * * *",
            start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
            catchup=False,
            max_active_runs=1,
            default_args={"retries": 0, "owner": f"team_{position % 3}"},
            tags=["soak", *(["run_finishes_within=6s"] if name.startswith("late") else [])],
        ) as made:
            build(number)
        globals()[made.dag_id] = made
