"""A task that waits for a file, and fails because it is empty, unless it is full."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path

from airflow.sdk import dag, get_current_context, task


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
def waiting():
    @task
    def load():
        file = Path(get_current_context()["dag_run"].conf["file"])
        while not file.exists():
            time.sleep(0.1)
        if not file.read_text():
            raise ValueError("the file of today is empty")

    load()


waiting()
