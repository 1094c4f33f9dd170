"""A DAG that is always late, and tells so by the shared callback."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from airflow.sdk import DeadlineAlert, DeadlineReference, SyncCallback, dag, task

from observability.callbacks import on_deadline


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=SyncCallback(on_deadline, {"name": "one second"}),
    ),
)
def deadline():
    @task
    def sleeping():
        time.sleep(60)

    @task
    def after():
        """Never reached."""

    sleeping() >> after()


deadline()
