"""A line written while a task runs, until it can be read in the store, at 100 lines a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.elasticsearch import node, prepare
from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.task_log import NAME
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

_RATE = 100
_SECONDS = 20
_PATIENCE_S = 30


def run(options: Options) -> list[Figure]:
    """Write at the rate, ask the store again and again, and take the time from the line's own stamp to its sight."""
    seconds = 3 if options.quick else _SECONDS
    figures = _figures("embedded", [_round({}, seconds) for _ in range(options.rounds)])
    if options.quick:
        return figures
    with node() as url:
        prepare(url)
        rounds = [
            _round(
                {
                    "CONTRAIL_RELAY__SINKS": "elasticsearch",
                    "CONTRAIL_STORE__BACKEND": "elasticsearch",
                    "CONTRAIL_ELASTICSEARCH__URL": url,
                    "CONTRAIL_CORE__ENVIRONMENT": f"live{os.getpid()}r{number}",
                },
                seconds,
            )
            for number in range(options.rounds)
        ]
    return figures + _figures("Elasticsearch", rounds)


def _figures(store: str, rounds: list[list[float]]) -> list[Figure]:
    def at(part: float) -> Sample:
        return Sample(tuple(sorted(one)[int(len(one) * part)] for one in rounds))

    note = {"peer_does": "Airflow's writer: nothing before the task has ended; watchtower: within 60 s"}
    return [
        Figure(f"line written to readable, {store}, p50", "ms", at(0.50), notes=note),
        Figure(
            f"line written to readable, {store}, p99", "ms", at(0.99), targets=(Target(at_most=2500.0),), notes=note
        ),
    ]


def _round(options: dict[str, str], seconds: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder, _relay(Path(folder), options) as environ:
        store = open_store(load_settings(environ=environ))
        log = Path(folder, "logs", NAME)
        log.parent.mkdir(parents=True)
        query = Query("airflow.task", {"airflow.dag_id": "flights"})
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(log), str(_RATE), str(seconds)])
        seen: dict[int, float] = {}
        deadline = time.monotonic() + seconds + _PATIENCE_S
        while len(seen) < _RATE * seconds and time.monotonic() < deadline:
            since = datetime.fromtimestamp(time.time() - _PATIENCE_S, timezone.utc)
            for document in store.documents(Query(query.dataset, query.where, since=since)):
                seen.setdefault(document["n"], (time.time() - document["at"]) * 1000)
            time.sleep(0.02)
        writer.wait()
        store.close()
        if len(seen) < _RATE * seconds:
            raise RuntimeError(f"only {len(seen)} of {_RATE * seconds} lines arrived")
        return list(seen.values())


_WRITER = """
import json, sys, time
path, rate, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
begin = time.time()
with open(path, "ab", buffering=0) as log:
    for number in range(rate * seconds):
        time.sleep(max(0.0, begin + number / rate - time.time()))
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06}Z"
        log.write(json.dumps({"timestamp": stamp, "level": "info", "event": "x" * 200, "n": number, "at": now},
                             separators=(",", ":")).encode() + b"\\n")
"""


@contextmanager
def _relay(folder: Path, options: dict[str, str]) -> Iterator[dict[str, str]]:
    environ = {
        "CONTRAIL_CORE__HOME": str(folder / "home"),
        "CONTRAIL_RELAY__LOG_FOLDER": str(folder / "logs"),
        "CONTRAIL_RELAY__STATSD_PORT": "0",
        **options,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTRAIL_", "AIRFLOW"))}
    relay = subprocess.Popen(
        [sys.executable, "-m", "observability.cli", "relay"],
        env={**clean, "AIRFLOW_HOME": str(folder), **environ},
        stderr=subprocess.DEVNULL,
    )
    try:
        status = folder / "home" / "relay.status.json"
        while not status.exists() or json.loads(status.read_bytes())["state"] != "running":
            if relay.poll() is not None:
                raise RuntimeError("the relay did not start")
            time.sleep(0.05)
        if "CONTRAIL_STORE__BACKEND" not in options:
            while not (folder / "home" / "store.db").exists():
                time.sleep(0.05)
        yield environ
    finally:
        relay.terminate()
        relay.wait(20)
