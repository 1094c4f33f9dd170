"""A task log as Airflow writes it, and how a contender that sends it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MEASURE", "NAME", "write_task_log"]

NAME = "dag_id=flights/run_id=manual__2026-01-31T00:00:00+00:00/task_id=load/attempt=1.log"

MEASURE = """
import json, os, resource, time
def begin():
    return time.perf_counter(), time.process_time()
def end(began, lines):
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"docs/s": lines / wall, "us": cpu / lines * 1e6, "MB": rss}))
url, environment, folder, lines = os.environ["URL"], os.environ["ENV"], os.environ["FOLDER"], int(os.environ["LINES"])
"""
"""The beginning of a contender's process, which calls ``begin()`` and ``end(began, lines)``; prints figures."""


def write_task_log(path: Path, lines: int) -> None:
    """Write ``lines`` lines of about 350 bytes, of the last hour, in order."""
    from datetime import datetime, timedelta, timezone

    start = datetime.now(timezone.utc) - timedelta(hours=1)
    path.parent.mkdir(parents=True)
    with path.open("wb") as log:
        for number in range(lines):
            moment = start + timedelta(milliseconds=number)
            record: dict[str, Any] = {
                "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
                "level": "info",
                "event": f"loaded chunk {number} of flights into the warehouse",
                "logger": "flights.load",
                "filename": "load.py",
                "lineno": 42,
                "dag_id": "flights",
                "task_id": "load",
                "run_id": "manual__2026-01-31T00:00:00+00:00",
                "try_number": 1,
                "map_index": -1,
                "ti_id": "0198f0a4-7e5c-7d3a-9f2e-3f6a2b1c4d5e",
                "rows": number * 7,
            }
            log.write(orjson.dumps(record) + b"\n")
