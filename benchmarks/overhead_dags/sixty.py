"""Sixty tasks that do nothing; $OVERHEAD_TASKS of them where that is set."""

from __future__ import annotations

import os
from datetime import datetime, timezone

from airflow.sdk import DAG, task

with DAG("sixty", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):

    @task
    def nothing() -> None:
        """Nothing."""

    for _ in range(int(os.environ.get("OVERHEAD_TASKS", "60"))):
        nothing()
