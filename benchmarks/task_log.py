"""A task log as Airflow writes it, and how a contender that sends it is measured."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.sampling import python

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["AIRFLOW_TO_ELASTICSEARCH", "NAME", "measured", "write_task_log"]

NAME = "dag_id=flights/run_id=manual__2026-01-31T00:00:00+00:00/task_id=load/attempt=1.log"

_MEASURE = """
import json, os, resource, time
def begin():
    return time.perf_counter(), time.process_time()
def end(began, lines):
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"docs/s": lines / wall, "us": cpu / lines * 1e6, "MB": rss}))
url, environment, folder, lines = os.environ["URL"], os.environ["ENV"], os.environ["FOLDER"], int(os.environ["LINES"])
home = os.environ["AIRFLOW_HOME"]
"""
AIRFLOW_TO_ELASTICSEARCH = """
from pathlib import Path
from types import SimpleNamespace
from airflow.providers.elasticsearch.log.es_task_handler import ElasticsearchRemoteLogIO
ti = SimpleNamespace(id="x", dag_id="flights", task_id="load", run_id="r", try_number=1, map_index=-1)
writer = ElasticsearchRemoteLogIO(
    host=url, base_log_folder=folder, write_to_es=True, target_index=f"airflow-logs-{environment}",
)
names = [str(path.relative_to(folder)) for path in Path(folder).rglob("*.log")]
began = begin()
for name in names:
    writer.upload(name, ti)
end(began, lines)
"""
"""Airflow's own writer as a contender: it sends every log of the folder."""


def measured(  # noqa: PLR0913 - a process
    code: str, logs: Path, lines: int, *, url: str = "", environment: str = "bench", more: dict[str, str] | None = None
) -> dict[str, float]:
    """Run a contender in a process and a home of its own; its documents per second, processor time and memory.

    The code finds ``url``, ``environment``, ``folder``, ``lines`` and ``home``, and calls ``begin()`` and
    ``end(began, lines)``; ``more`` are variables of its process.
    """
    foreign = ("CONTRAIL_", "AIRFLOW", "AWS", "OTEL")
    with tempfile.TemporaryDirectory() as home:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
            "AIRFLOW_HOME": home,
            "URL": url,
            "ENV": environment,
            "FOLDER": str(logs),
            "NAME": NAME,
            "LINES": str(lines),
            **(more or {}),
        }
        found: dict[str, float] = json.loads(python(_MEASURE + code, env=env, timeout_s=280).splitlines()[-1])
        return found


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
