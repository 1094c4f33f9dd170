"""15,000 small logs to each store, and what 100,000 finished ones cost a relay that has nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.elasticsearch import node, prepare
from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.task_log import AIRFLOW_TO_ELASTICSEARCH, measured, write_task_log

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES, _LINES, _FINISHED = 15_000, 30, 100_000
_IDLE_S = 30.0

_OURS = """
from observability.relay.relay import Relay
from observability.settings import load_settings
settings = load_settings(environ={
    "CONTRAIL_CORE__HOME": home, "CONTRAIL_CORE__ENVIRONMENT": environment,
    "CONTRAIL_RELAY__LOG_FOLDER": folder, "CONTRAIL_ELASTICSEARCH__URL": url,
    "CONTRAIL_RELAY__SINKS": "elasticsearch" if url else "embedded",
})
began = begin()
assert Relay(settings, statsd=False).run(once=True)
end(began, lines)
"""
_SQLITE = """
import sqlite3
from pathlib import Path
store = sqlite3.connect(os.path.join(home, "peer.db"))
store.execute("pragma journal_mode = wal")
store.execute("pragma synchronous = normal")
store.execute("create table logs (id text primary key, dag_id text, run_id text, at text, document text)")
store.execute("create index by_run on logs (dag_id, run_id, at)")
names = list(Path(folder).rglob("*.log"))
began = begin()
for number, name in enumerate(names):
    rows, offset = [], 0
    for line in name.read_bytes().splitlines(keepends=True):
        fields = json.loads(line)
        rows.append((f"{number}-{offset}", fields["dag_id"], fields["run_id"], fields["timestamp"], line.decode()))
        offset += len(line)
    with store:
        store.executemany("insert into logs values (?, ?, ?, ?, ?) on conflict do nothing", rows)
end(began, lines)
"""


def run(options: Options) -> list[Figure]:
    """Each contender in a process of its own over the same files; then a relay beside files that are all sent."""
    files, finished = (_FILES // 50, _FINISHED // 100) if options.quick else (_FILES, _FINISHED)
    rounds = 1 if options.quick else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder, "logs")
        _write(logs, files, _LINES)
        figures = _compare("embedded", ("json.loads into SQLite", _SQLITE), "", logs, rounds)
        if not options.quick:
            with node() as url:
                prepare(url)
                figures += _compare("Elasticsearch", ("airflow", AIRFLOW_TO_ELASTICSEARCH), url, logs, rounds)
    return figures + _idle(finished)


def _compare(store: str, peer: tuple[str, str], url: str, logs: Path, rounds: int) -> list[Figure]:
    contenders = {"ours": _OURS, peer[0]: peer[1]}
    files = sum(1 for _ in logs.rglob("*.log"))
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name, code in contenders.items():
            environment = f"s{os.getpid()}r{number}{name[0]}"
            taken[name].append(measured(code, logs, files * _LINES, url=url, environment=environment))

    def figure(unit: str, *targets: Target) -> Figure:
        mine, theirs = (Sample(tuple(one[unit] for one in taken[name])) for name in contenders)
        return Figure(f"{files:,} logs of {_LINES} lines, {store}", unit, mine, (peer[0], theirs), targets)

    return [figure("docs/s"), figure("us"), figure("MB", Target(at_most=80.0))]


def _idle(finished: int) -> list[Figure]:
    """A relay that starts beside logs which an earlier one has sent, and then has nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(folder, "logs")
        _write(logs, finished, 1, age_s=172_800.0)
        env = _clean() | {
            "AIRFLOW_HOME": folder,
            "CONTRAIL_CORE__HOME": str(Path(folder, "home")),
            "CONTRAIL_RELAY__LOG_FOLDER": str(logs),
            "CONTRAIL_RELAY__STATSD_PORT": "0",
        }
        relay = [sys.executable, "-m", "observability.cli", "relay"]
        first = subprocess.Popen([*relay, "--once"], env=env, stderr=subprocess.DEVNULL)
        took = psutil.Process(first.pid)
        spent = 0.0
        while first.poll() is None:
            spent = sum(took.cpu_times()[:2]) if took.status() != psutil.STATUS_ZOMBIE else spent
            time.sleep(0.1)
        again = subprocess.Popen(relay, env=env, stderr=subprocess.DEVNULL)
        try:
            start, busy, rss = _watch(psutil.Process(again.pid))
        finally:
            again.terminate()
            again.wait(30)
    what = f"beside {finished:,} finished logs"
    return [
        Figure(f"sending {finished:,} logs of one line, embedded", "CPU s", Sample((spent,))),
        Figure(f"start {what}", "CPU s", Sample((start,)), targets=(Target(at_most=5.0),)),
        Figure(f"nothing to do {what}", "% of a core", Sample((busy,)), targets=(Target(at_most=5.0),)),
        Figure(f"memory {what}", "MB", Sample((rss,)), targets=(Target(at_most=80.0),)),
    ]


def _watch(relay: psutil.Process) -> tuple[float, float, float]:
    """CPU seconds of the first ten seconds; share of a core afterwards; memory at the end."""
    time.sleep(10)
    start = sum(relay.cpu_times()[:2])
    time.sleep(_IDLE_S)
    return start, (sum(relay.cpu_times()[:2]) - start) / _IDLE_S * 100, relay.memory_info().rss / 1e6


def _write(logs: Path, files: int, lines: int, age_s: float = 0.0) -> None:
    template = logs / "template.log"
    write_task_log(template, lines)
    content = template.read_bytes()
    template.unlink()
    for name in _names(files):
        path = logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if age_s:
            _age(path, age_s)
    for path in logs.rglob("*=*") if age_s else ():
        if path.is_dir():
            _age(path, age_s)


def _names(files: int) -> Iterator[str]:
    for number in range(files):
        run, task = divmod(number, 10)
        yield f"dag_id=d{run % 20}/run_id=manual__{run}/task_id=t{task}/attempt=1.log"


def _age(path: Path, age_s: float) -> None:
    when = time.time() - age_s
    os.utime(path, (when, when))


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("CONTRAIL_", "AIRFLOW"))}
