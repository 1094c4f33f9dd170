"""The store is away for a minute while 5,000 lines a second are written: the caller's cost, requests, the way back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.elasticsearch import node, prepare
from benchmarks.figure import Figure, Options, Sample, Target
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fault_proxy import FaultProxy

_RATE = 5_000
_AWAY_S, _BEFORE_S = 60.0, 10.0
_QUERY = Query("airflow.task", {"airflow.dag_id": "outage"})
_WRITER = """
import json, os, sys, time
path, rate = sys.argv[1], int(sys.argv[2])
os.makedirs(os.path.dirname(path))
n, begin, spent, since = 0, time.time(), 0, time.time()
with open(path, "ab", buffering=0) as log:
    while not os.path.exists(path + ".stop"):
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06}Z"
        lines = [{"timestamp": stamp, "level": "info", "event": "x" * 150, "n": n + step} for step in range(50)]
        encoded = [json.dumps(line, separators=(",", ":")).encode() + b"\\n" for line in lines]
        before = time.thread_time_ns()
        for line in encoded:
            log.write(line)
        spent += time.thread_time_ns() - before
        n += 50
        if now - since >= 1.0:
            print(json.dumps({"at": now, "us": spent / 1000 / rate, "n": n}), flush=True)
            spent, since = 0, now
        time.sleep(max(0.0, begin + n / rate - time.time()))
"""


def run(options: Options) -> list[Figure]:
    """One outage in a real Elasticsearch, reached through a proxy that cuts every connection while it lasts."""
    away_s, before_s = (4.0, 3.0) if options.quick else (_AWAY_S, _BEFORE_S)
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
    from fault_proxy import FaultProxy

    away = threading.Event()
    with node() as url, tempfile.TemporaryDirectory() as folder:
        prepare(url)
        faults: Iterator[str | None] = iter(lambda: "reset before" if away.is_set() else None, "never")
        with FaultProxy(url, faults) as proxy:
            return _trial(Path(folder), proxy, away, away_s, before_s)


def _trial(folder: Path, proxy: FaultProxy, away: threading.Event, away_s: float, before_s: float) -> list[Figure]:
    seen, url = proxy.seen, proxy.url
    environ = {
        "CONTRAIL_CORE__HOME": str(folder / "home"),
        "CONTRAIL_CORE__ENVIRONMENT": f"outage{os.getpid()}",
        "CONTRAIL_RELAY__LOG_FOLDER": str(folder / "logs"),
        "CONTRAIL_RELAY__STATSD_PORT": "0",
        "CONTRAIL_RELAY__SINKS": "elasticsearch",
        "CONTRAIL_STORE__BACKEND": "elasticsearch",
        "CONTRAIL_ELASTICSEARCH__URL": url,
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTRAIL_", "AIRFLOW"))}
    log = folder / "logs" / "dag_id=outage/run_id=r/task_id=t/attempt=1.log"
    command = [sys.executable, "-m", "observability.cli", "relay"]
    relay = subprocess.Popen(command, env=clean | environ | {"AIRFLOW_HOME": str(folder)}, stderr=subprocess.DEVNULL)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(log), str(_RATE)], stdout=subprocess.PIPE, text=True)
    store = open_store(load_settings(environ=environ))
    try:
        _wait(lambda: seen["passed"] > 0)
        time.sleep(before_s)
        began = time.time()
        away.set()
        time.sleep(away_s)
        requests, passed, over = seen["reset before"], seen["passed"], time.time()
        away.clear()
        _wait(lambda: seen["passed"] > passed)
        first_s = time.time() - over
        Path(f"{log}.stop").touch()
        told = [json.loads(line) for line in writer.communicate(timeout=30)[0].splitlines()]
        written = log.read_bytes().count(b"\n")
        _wait(lambda: store.count(_QUERY)[""] >= written)
        drained_s = time.time() - over
        numbers = [document["n"] for document in store.documents(_QUERY)]
    finally:
        Path(f"{log}.stop").touch()
        relay.terminate()
        relay.wait(30)
        writer.wait(30)
        store.close()
    up = Sample(tuple(one["us"] for one in told if one["at"] < began))
    down = Sample(tuple(one["us"] for one in told if began < one["at"] < over))
    what = f"{away_s:g} s without Elasticsearch at {_RATE:,} lines/s"
    none = (Target(at_most=0),)
    return [
        Figure(f"{what}: CPU of a write", "us", down, ("before", up), (Target(ratio_at_most=1.2),)),
        Figure(f"{what}: requests a minute", "", Sample((requests / away_s * 60,)), targets=(Target(at_most=90),)),
        Figure(f"{what}: first document after it", "s", Sample((first_s,)), targets=(Target(at_most=2.0),)),
        Figure(f"{what}: drained", "docs/s", Sample((away_s * _RATE / drained_s,))),
        Figure(f"{what}: lost", "lines", Sample((written - len(set(numbers)),)), targets=none),
        Figure(f"{what}: doubled", "lines", Sample((len(numbers) - len(set(numbers)),)), targets=none),
    ]


def _wait(true: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise RuntimeError("it did not happen in time")
        time.sleep(0.01)
