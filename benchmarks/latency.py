"""From a failure in a real Airflow to its delivery, over 200 failures: told by a callback, and by Airflow's API alone.

Two watchers look at the same platform: the platform's own, and one that knows nothing but the address of the API.
Airflow runs on PostgreSQL where Debian's package is installed, as in production: on SQLite its API now and then
answers after five seconds, the time that SQLite waits for a lock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.failing_platform import failing_platform
from benchmarks.figure import Figure, Options, Sample, Target
from observability.local.keys import USER, password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.failing_platform import Failing

_RULES = """\
timing: {storm_messages: 100000, flap_messages: 100000}
channels: {file: {type: file, rate_per_minute: 1000000}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
"""


def run(options: Options) -> list[Figure]:
    """Fail, half by an exception and half by SIGKILL, and compare the task's end with the message's time."""
    number = 20 if options.quick else 200
    with (
        tempfile.TemporaryDirectory() as folder,
        _database() as (kind, address),
        failing_platform(Path(folder), database=address) as failing,
    ):
        (Path(folder) / "rules.yaml").write_text(_RULES)
        outsider, process = _outsider(failing, Path(folder) / "outside")
        try:
            runs = _fail(failing, number)
            ends = _ends(failing, runs)
            inside = _wait(failing.layout.home / "alerts.jsonl", ends, 60)
            outside = _wait(outsider / "alerts.jsonl", ends, 60)
        finally:
            process.terminate()
            process.wait(timeout=20)
    return [
        *_figures(f"seen by a callback or the relay, on {kind}", inside, ends, 3.0),
        *_figures(f"seen by the API alone, on {kind}", outside, ends, 20.0),
    ]


@contextmanager
def _database() -> Iterator[tuple[str, str]]:
    """The database of Airflow's state, and its address; "" for the platform's own SQLite."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
    import postgresql

    programs = postgresql.programs()
    if programs is None:
        yield "SQLite", ""
        return
    server, stop = postgresql.start(programs)
    try:
        known = server.database()
        login = f"{known['login']}:{known['password']}"
        yield "PostgreSQL", f"postgresql+psycopg2://{login}@{known['host']}:{known['port']}/{known['schema']}"
    finally:
        stop()


def _outsider(failing: Failing, home: Path) -> tuple[Path, subprocess.Popen[bytes]]:
    home.mkdir()
    (home / "alerts.yaml").write_text(_RULES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
    environment = {
        **kept,
        "CONTRAIL_HOME": str(home),
        "CONTRAIL_WATCH__API_URL": failing.url,
        "CONTRAIL_API_USERNAME": USER,
        "CONTRAIL_API_PASSWORD": password(failing.layout),
        "CONTRAIL_RELAY__LOG_FOLDER": str(home / "no-logs-here"),
        "CONTRAIL_STATSD__ENABLED": "false",
    }
    with (home / "watcher.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "observability.cli.watch"], env=environment, stdout=log, stderr=log
        )
    return home, process


def _fail(failing: Failing, number: int) -> list[tuple[str, str]]:
    with failing.api() as api:
        while len(list(api.pages("/dags", "dags"))) < 20:  # noqa: PLR2004 - parsed
            time.sleep(0.5)
        runs = []
        for count in range(number):
            name = "exception" if count % 2 else "sigkill"
            runs.append((f"way_{name}", failing.trigger(api, name)))
            time.sleep(0.5)
    return runs


def _ends(failing: Failing, runs: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
    ends: dict[tuple[str, str], float] = {}
    with failing.api() as api:
        until = time.monotonic() + 120
        while len(ends) < len(runs) and time.monotonic() < until:
            for dag_id in {dag_id for dag_id, _ in runs}:
                for one in api.pages(f"/dags/{dag_id}/dagRuns/~/taskInstances", "task_instances"):
                    if one["state"] == "failed":
                        moment = datetime.fromisoformat(one["end_date"].replace("Z", "+00:00"))
                        ends[dag_id, one["dag_run_id"]] = moment.timestamp()
            time.sleep(1)
    return ends


def _wait(path: Path, ends: dict[tuple[str, str], float], within_s: float) -> dict[tuple[str, str], list[float]]:
    until = time.monotonic() + within_s
    while True:
        told = _told(path)
        if ends.keys() <= told.keys() or time.monotonic() > until:
            return told
        time.sleep(0.5)


def _told(path: Path) -> dict[tuple[str, str], list[float]]:
    """The times at which each failure was notified, as often as it was."""
    found: dict[tuple[str, str], list[float]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        one: dict[str, Any] = json.loads(line)
        if one["kind"] == "opened":
            moment = datetime.fromisoformat(one["written"].replace("Z", "+00:00")).timestamp()
            found.setdefault((one["dag_id"], one["run_id"]), []).append(moment)
    return found


def _figures(
    what: str, told: dict[tuple[str, str], list[float]], ends: dict[tuple[str, str], float], target_s: float
) -> list[Figure]:
    waits = {key: told[key][0] - ends[key] for key in ends if key in told}
    missing, again = len(ends) - len(waits), sum(len(moments) - 1 for moments in told.values())
    by_dag = {dag: [wait for key, wait in waits.items() if key[0] == dag] for dag in sorted({key[0] for key in ends})}
    notes = {
        dag: {"failures": len(mine), "p99_s": round(_share(mine, 0.99), 2)} for dag, mine in by_dag.items() if mine
    }
    every = list(waits.values())
    counted = [
        Figure(f"not told of, {what}", "failures", Sample((missing,)), targets=(Target(at_most=0),)),
        Figure(f"told again, {what}", "messages", Sample((again,)), targets=(Target(at_most=0),)),
    ]
    if not every:
        return counted
    return [
        Figure(f"p50, {what}", "s", Sample((_share(every, 0.5),)), notes={"failures": len(ends)}),
        Figure(f"p99, {what}", "s", Sample((_share(every, 0.99),)), targets=(Target(at_most=target_s),), notes=notes),
        *counted,
    ]


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
