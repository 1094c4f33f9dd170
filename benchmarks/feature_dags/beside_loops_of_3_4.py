"""A deadline, a DAG to drain, partitions that a task names, a plain failure: what Airflow 3.4 has beside loops."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from airflow.sdk import (
    Asset,
    DeadlineAlert,
    DeadlineReference,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    SyncCallback,
    dag,
    get_current_context,
    task,
)

from observability import callbacks


@dag(
    schedule=None,
    catchup=False,
    tags=["features"],
    deadline=[
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(seconds=5),
            callback=SyncCallback(callbacks.on_deadline, {"name": "feature deadline"}),
            name="sync",
        ),
    ],
)
def deadline():
    @task
    def slow():
        time.sleep(12)

    slow()


@dag(
    schedule=timedelta(seconds=20),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    tags=["features"],
    params={"contrail_deadlines": [{"success_within": "1m"}]},
    max_active_runs=3,
)
def drained():
    @task
    def slow():
        time.sleep(8)

    slow()


parts = Asset(uri="file://feature/parts.csv", name="parts")


@dag(schedule=PartitionedAtRuntime(), catchup=False, tags=["features"])
def partition_producer():
    @task(outlets=[parts])
    def produce(*, outlet_events):
        outlet_events[parts].add_partitions(["2026-11-01", "2026-11-02", "2026-11-03"])

    produce()


@dag(schedule=PartitionedAssetTimetable(assets=parts), catchup=False, tags=["features"])
def partition_consumer():
    @task
    def consume():
        print("MARK partition", get_current_context()["dag_run"].partition_key)

    consume()


@dag(schedule=None, catchup=False, tags=["features", "env:prod", "plain tag", "größe"])
def plain():
    @task
    def works():
        for line in range(5):
            print(f"MARK plain line={line}")

    @task
    def breaks():
        raise ValueError("plain and broken")

    works() >> breaks()


deadline()
drained()
partition_producer()
partition_consumer()
plain()
