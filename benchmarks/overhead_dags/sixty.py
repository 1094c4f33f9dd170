"""Sixty tasks that do nothing."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import DAG, task

with DAG("sixty", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):

    @task
    def nothing() -> None:
        """Nothing."""

    for _ in range(60):
        nothing()
