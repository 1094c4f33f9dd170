"""Reading Airflow's past into the ledger: time and memory for a million task instances, beside a stand-in API.

The reader runs in a process of its own, as in the watcher, with its rests: it waits after each request for as long as
the answer took. The stand-in serves rows of Airflow's size. ``--quick`` reads 20,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Sample, Target

if TYPE_CHECKING:
    from benchmarks.figure import Options

__all__ = ["read_past", "run"]

_TASKS, _DAYS = 20, 90
_READER = """
import json, os, resource, sys, time
from observability.watch.history_import import HistoryImport
from observability.watch.ledger.database import Ledger
from observability.watch.sources.api import AirflowApi

os.environ["CONTRAIL_API_TOKEN"] = "none"
url, path, days = sys.argv[1:]
ledger, rested = Ledger(f"sqlite:///{path}"), []
def rest(seconds):
    rested.append(seconds)
    time.sleep(seconds)
reader = HistoryImport(AirflowApi(url), ledger, int(days), rest)
began = time.monotonic()
progress = reader.begin(time.time())
while not progress.is_done:
    progress = reader.step(progress)
print(json.dumps({
    "seconds": time.monotonic() - began, "rested_s": sum(rested), "runs": progress.runs, "tasks": progress.tasks,
    "requests": progress.requests, "left_out": progress.left_out,
    "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "cpu_s": time.process_time(),
    "disk_mb": sum(os.stat(path + end).st_size for end in ("", "-wal") if os.path.exists(path + end)) / 1e6,
}))
"""


def run(options: Options) -> list[Figure]:
    """Seconds, megabytes of the process and of the ledger; each row must have been read."""
    runs = 1_000 if options.quick else 50_000
    found = read_past(runs)
    complete = found["runs"] == runs and found["tasks"] == runs * _TASKS
    what = f"{found['tasks']:,} task instances of {found['runs']:,} runs"
    notes = {name: found[name] for name in ("requests", "rested_s", "cpu_s", "left_out")}
    return [
        Figure(f"read {what}", "s", Sample((found["seconds"],)), targets=(Target(at_most=300),), notes=notes),
        Figure("memory of the whole process", "MB", Sample((found["rss_mb"],)), targets=(Target(at_most=200),)),
        Figure("disk of the ledger", "MB", Sample((found["disk_mb"],))),
        Figure("every run and task is there", "1 if so", Sample((float(complete),)), targets=(Target(at_least=1),)),
    ]


def read_past(runs: int) -> dict[str, Any]:
    """The reader's figures for reading so many runs of twenty tasks, in 89 days."""
    serve = [sys.executable, "-m", "benchmarks.past_api", str(runs), str(_TASKS), str((_DAYS - 1) * 86_400)]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = str(server.stdout.readline()).strip() if server.stdout else ""
            read = [sys.executable, "-c", _READER, url, str(Path(folder, "ledger.db")), str(_DAYS)]
            done = subprocess.run(read, capture_output=True, text=True, check=True)
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        finally:
            server.terminate()
