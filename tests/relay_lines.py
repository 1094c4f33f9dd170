"""Lines as Airflow writes them."""

from __future__ import annotations

import orjson

TASK = "dag_id=flights/run_id=manual__2026-01-31T00:00:00+00:00/task_id=load/attempt=1.log"


def line(event, second=0, **extra):
    """A line as Airflow writes it."""
    stamp = f"2026-01-31T12:{second // 60 % 60:02}:{second % 60:02}.000000Z"
    return orjson.dumps({"timestamp": stamp, "level": "info", "event": event, **extra}) + b"\n"
