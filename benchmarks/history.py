"""Reading Airflow's past into the ledger: time and memory for a million task instances, beside a stand-in API.

The reader runs in a process of its own, as in the watcher, with its rests: it waits after each request for as long as
the answer took. The stand-in serves rows of Airflow's size. ``--quick`` reads 20,000. ``--kinds real`` reads 20,000
runs of a real Airflow, and says what Airflow's own pages take meanwhile; ``--kinds real,turns`` ends with the last
question about that, and does not read to the end.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Sample, Target
from benchmarks.history_airflow import beside_airflow, p95

if TYPE_CHECKING:
    from benchmarks.figure import Options

__all__ = ["read_past", "run"]

_TASKS, _DAYS = 20, 90
_REAL, _TURNS = "real", "turns"
_READER = """
import json, os, resource, sys, time
from observability.watch.history_import import HistoryImport
from observability.watch.ledger.database import Ledger
from observability.watch.sources.api import AirflowApi

os.environ.setdefault("CONTRAIL_API_TOKEN", "none")
url, path, days, gate, most_s = sys.argv[1:]
ledger, rested, held = Ledger(f"sqlite:///{path}"), [], []
def rest(seconds):
    rested.append(seconds)
    time.sleep(seconds)
    while os.path.exists(gate):
        held.append(-time.monotonic())
        time.sleep(0.02)
        held.append(time.monotonic())
def say(words):
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {words}\\n")
reader = HistoryImport(AirflowApi(url), ledger, int(days), rest)
began = time.monotonic()
progress = reader.begin(time.time())
def ends():
    return progress.is_done or os.path.exists(gate + ".end") or time.monotonic() - began - sum(held) > float(most_s)
while not ends():
    progress = reader.step(progress)
    say(f"read {progress.runs:,} runs, {progress.tasks:,} tasks; {progress.share:.0%} of the time")
print(json.dumps({
    "seconds": time.monotonic() - began - sum(held), "rested_s": sum(rested),
    "runs": progress.runs, "tasks": progress.tasks,
    "requests": progress.requests, "left_out": progress.left_out,
    "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "cpu_s": time.process_time(),
    "disk_mb": sum(os.stat(path + end).st_size for end in ("", "-wal") if os.path.exists(path + end)) / 1e6,
}))
"""


def run(options: Options) -> list[Figure]:
    """Seconds, megabytes of the process and of the ledger; each row must have been read."""
    if _REAL in options.only:
        return _beside_airflow(options)
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


def _beside_airflow(options: Options) -> list[Figure]:
    """The same of a real Airflow, and the answers that its UI waits for, without the reader and during it."""
    runs = 1_000 if options.quick else 20_000
    turns, turn_s = (2, 5.0) if options.quick else (3 * options.rounds, 15.0)
    is_whole = _TURNS not in options.only
    found = beside_airflow(runs, turns, turn_s, _READER, to_the_end=is_whole)
    notes = {name: found[name] for name in ("tasks", "requests", "rested_s", "cpu_s", "left_out", "disk_mb")}
    during, without = found["during"], found["without"]
    counts = {"answers": len(during), "answers without": len(without)}
    middle = [statistics.median(taken) for taken in (during, without)]
    slow = [p95(taken) for taken in (during, without)]
    least = runs if is_whole else 1
    return [
        Figure(f"read runs of a real Airflow that has {runs:,}", "s", Sample((found["seconds"],)), notes=notes),
        Figure("memory of the whole process", "MB", Sample((found["rss_mb"],)), targets=(Target(at_most=200),)),
        Figure("runs that were read", "runs", Sample((float(found["runs"]),)), targets=(Target(at_least=least),)),
        Figure("answers of Airflow's UI, median", "ms", Sample((middle[0],)), ("without", Sample((middle[1],)))),
        Figure("answers of Airflow's UI, p95", "ms", Sample((slow[0],)), ("without", Sample((slow[1],))), notes=counts),
    ]


def read_past(runs: int) -> dict[str, Any]:
    """The reader's figures for reading so many runs of twenty tasks, in 89 days."""
    serve = [sys.executable, "-m", "benchmarks.past_api", str(runs), str(_TASKS), str((_DAYS - 1) * 86_400)]
    with tempfile.TemporaryDirectory() as folder, subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = str(server.stdout.readline()).strip() if server.stdout else ""
            ledger, gate = (str(Path(folder, name)) for name in ("ledger.db", "no gate"))
            read = [sys.executable, "-c", _READER, url, ledger, str(_DAYS), gate, "inf"]
            done = subprocess.run(read, capture_output=True, text=True, check=True)
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        finally:
            server.terminate()
