"""Kill relay and store, and cut their connections, at random while lines flow: lost, doubled, out of order.

``--rounds N`` is the number of kills of the relay for each store; the seed is N. The Elasticsearch node is killed three
times meanwhile, unless it is ``ES_URL``'s, and its streams are rolled over after each fifth kill.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from benchmarks.elasticsearch import prepare
from benchmarks.figure import Figure, Options, Sample, Target
from observability.local.elasticsearch_node import ElasticsearchNode
from observability.settings import load_settings
from observability.store import Query, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FILES = 5
_RATE = 4000
_CUTS = ("reset before", "reset after", "cut", "invalid", "whole 500", "whole 429", "item 503", None, None, None)
_RELAY = [sys.executable, "-m", "observability.cli", "relay"]
_WRITER = """
import json, os, sys, time
root, rate, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
logs = []
for number in range(files):
    path = f"{root}/dag_id=chaos/run_id=r/task_id=t{number}/attempt=1.log"
    os.makedirs(os.path.dirname(path))
    logs.append(open(path, "ab", buffering=0))
n, begin = 0, time.time()
while not os.path.exists(f"{root}.stop"):
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000Z"
    for log in logs:
        lines = [{"timestamp": stamp, "level": "info", "event": "x" * (n % 300), "n": n + step} for step in range(50)]
        log.write(b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\\n" for line in lines))
    n += 50
    time.sleep(max(0.0, begin + n * files / rate - time.time()))
"""


def run(options: Options) -> list[Figure]:
    """Once with the embedded store, once with Elasticsearch behind a proxy that cuts (not in the short form)."""
    kills = 2 if options.quick else options.rounds
    figures = _figures("embedded", kills, _trial({}, kills))
    if options.quick:
        return figures
    with _store() as (url, kill):
        prepare(url)
        with _cutting(url, kills) as proxied:
            environment = f"chaos{os.getpid()}"
            options = {
                "CONTRAIL_RELAY__SINKS": "elasticsearch",
                "CONTRAIL_STORE__BACKEND": "elasticsearch",
                "CONTRAIL_ELASTICSEARCH__URL": proxied,
                "CONTRAIL_CORE__ENVIRONMENT": environment,
            }
            store_kills = {kills * part // 4 for part in (1, 2, 3)} if kill else set()

            def between(number: int) -> None:
                if number in store_kills and kill:
                    kill()
                elif number % 5 == 4:  # noqa: PLR2004 - now and then
                    urllib3.request("POST", f"{url}/logs-airflow.task-{environment}/_rollover", retries=False)

            found = _trial(options, kills, between)
            figures += _figures("Elasticsearch", kills, found | {"kills of the store": len(store_kills)})
    return figures


@contextmanager
def _store() -> Iterator[tuple[str, Callable[[], object] | None]]:
    """A node's address, and how to kill it and start it again on the same data; None where it is not ours."""
    if url := os.environ.get("ES_URL"):
        yield url, None
        return
    with ElasticsearchNode() as node:

        def kill() -> None:
            node.kill()
            node.start()

        yield node.url, kill


def _figures(store: str, kills: int, found: dict[str, int]) -> list[Figure]:
    none = (Target(at_most=0),)
    targets = {"lost": none, "doubled": none, "out of order": none}
    return [
        Figure(f"{store}, {kills} kills: {what}", "lines", Sample((float(number),)), targets=targets.get(what, ()))
        for what, number in found.items()
    ]


def _trial(
    options: dict[str, str], kills: int, between: Callable[[int], object] = lambda _number: None
) -> dict[str, int]:
    dice = random.Random(kills)
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            "CONTRAIL_CORE__HOME": str(Path(folder, "home")),
            "CONTRAIL_RELAY__LOG_FOLDER": str(Path(folder, "logs")),
            "CONTRAIL_RELAY__STATSD_PORT": "0",
            **options,
        }
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("CONTRAIL_", "AIRFLOW"))}
        env = {**clean, "AIRFLOW_HOME": folder, **environ}
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(Path(folder, "logs")), str(_RATE), str(_FILES)])
        try:
            for number in range(kills):
                relay = subprocess.Popen(_RELAY, env=env, stderr=subprocess.DEVNULL)
                try:
                    time.sleep(dice.uniform(0.5, 2.5))
                    between(number)
                finally:
                    relay.kill()
                    relay.wait()
        finally:
            Path(folder, "logs.stop").touch()
            writer.wait(20)
        subprocess.run([*_RELAY, "--once"], env=env, check=True, stderr=subprocess.DEVNULL, timeout=280)
        return _count(Path(folder, "logs"), environ)


def _count(logs: Path, environ: dict[str, str]) -> dict[str, int]:
    store = open_store(load_settings(environ=environ))
    totals = dict.fromkeys(("emitted", "stored", "lost", "doubled", "out of order"), 0)
    try:
        for path in sorted(logs.rglob("*.log")):
            emitted = path.read_bytes().count(b"\n")
            where = {"airflow.dag_id": "chaos", "airflow.task_id": path.parent.name.removeprefix("task_id=")}
            stored: list[Any] = [document["n"] for document in _settled(store, Query("airflow.task", where), emitted)]
            totals["emitted"] += emitted
            totals["stored"] += len(stored)
            totals["lost"] += len(set(range(emitted)) - set(stored))
            totals["doubled"] += len(stored) - len(set(stored))
            totals["out of order"] += sum(later < earlier for earlier, later in pairwise(stored))
    finally:
        store.close()
    return totals


def _settled(store: Any, query: Query, expected: int) -> list[Any]:
    """The documents of the store, after the time that a search may lag behind."""
    deadline = time.monotonic() + 10
    while store.count(query)[""] < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return list(store.documents(query))


@contextmanager
def _cutting(url: str, seed: int) -> Iterator[str]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
    from fault_proxy import FaultProxy

    dice = random.Random(seed)
    with FaultProxy(url, iter(lambda: dice.choice(_CUTS), "never")) as proxy:
        yield proxy.url
