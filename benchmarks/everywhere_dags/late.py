"""DAGs that are late, stale or short of rows, one for each condition of a deadline, and a healthy one beside them."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG, Asset, DeadlineAlert, DeadlineReference, SyncCallback, task

from observability import measure
from observability.callbacks import on_deadline

BEGAN = datetime(2025, 1, 1, tzinfo=timezone.utc)
TOLD = {"name": "airflow-deadline"}


def late(name, **more):
    """A DAG called ``late_<name>``."""
    return DAG(f"late_{name}", schedule=None, start_date=BEGAN, catchup=False, default_args={"owner": "late"}, **more)


def waits(name):
    """A DAG whose only task takes as long as its run is told to."""
    with late(name):

        @task
        def work(dag_run=None):
            time.sleep(float((dag_run.conf or {}).get("seconds", 0)))

        work()


def loads(name):
    """A DAG whose only task writes as many rows as its run is told to."""
    with late(name):

        @task
        def work(dag_run=None):
            with measure("load", table=f"late_{name}") as step:
                if rejected := int((dag_run.conf or {}).get("rejected", 0)):
                    step.rejected(rejected, rule="air_time_positive")
                step.output(int((dag_run.conf or {}).get("rows", 0)))

        work()


for _name in ("run", "task", "start", "done", "publish", "slow", "success"):
    waits(_name)
for _name in ("few_rows", "odd_rows", "odd_rejects"):
    loads(_name)

with late("odd_start", max_active_runs=1):

    @task
    def work(dag_run=None):
        time.sleep(float((dag_run.conf or {}).get("seconds", 0)))

    work()

with late("odd_failures", max_active_runs=1):

    @task
    def work(dag_run=None):
        if (dag_run.conf or {}).get("fails"):
            raise ValueError("more often than usual")

    work()

with late("stale"):

    @task(outlets=[Asset("everywhere://late/stale")])
    def work():
        pass

    work()

with late("asset"):

    @task(outlets=[Asset("everywhere://late/asset")])
    def work():
        pass

    work()

with late("airflow", deadline=DeadlineAlert(
    reference=DeadlineReference.DAGRUN_QUEUED_AT,
    interval=timedelta(seconds=3),
    callback=SyncCallback(on_deadline, TOLD),
)):  # fmt: skip

    @task
    def work():
        time.sleep(15)

    work()

with late("drift"):

    @task
    def work():
        with measure("load", table="late_drift") as step:
            step.columns(["a", "gate"], ["a", "origin"])
            step.output(10)

    work()

with late("rejected"):

    @task
    def work():
        with measure("validate", table="late_rejected") as step:
            step.rejected(2000, rule="air_time_positive")
            step.output(10)

    work()

with late("waits"):

    @task(depends_on_past=True)
    def work(dag_run=None):
        raise ValueError("the next run waits for this one for ever")

    work()

with late("channel"):

    @task
    def work():
        raise ValueError("told by a channel that nobody answers")

    work()

with late("control"):

    @task(outlets=[Asset("everywhere://late/control")])
    def work():
        with measure("load", table="late_control") as step:
            step.output(2000)

    work()
