"""A backlog after an outage, 10 thousand to 1 million lines: rate, memory, and how the cost of a line grows."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.task_log import NAME, measured, write_task_log

_SIZES = (10_000, 100_000, 1_000_000)

_OURS = """
from observability.relay.relay import Relay
from observability.settings import load_settings
settings = load_settings(environ={"CONTRAIL_CORE__HOME": home, "CONTRAIL_RELAY__LOG_FOLDER": folder})
began = begin()
assert Relay(settings, statsd=False).run(once=True)
end(began, lines)
"""
_PEER = """
import sqlite3
store = sqlite3.connect(os.path.join(home, "peer.db"))
store.execute("pragma journal_mode = wal")
store.execute("pragma synchronous = normal")
store.execute("create table logs (id text primary key, dag_id text, run_id text, at text, document text)")
store.execute("create index by_run on logs (dag_id, run_id, at)")
def rows(log):
    offset = 0
    for line in log:
        fields = json.loads(line)
        yield f"f-{offset}", fields["dag_id"], fields["run_id"], fields["timestamp"], line.decode()
        offset += len(line)
def insert(batch):
    with store:
        store.executemany("insert into logs values (?, ?, ?, ?, ?) on conflict do nothing", batch)
began = begin()
with open(os.path.join(folder, os.environ["NAME"]), "rb") as log:
    batch = []
    for row in rows(log):
        batch.append(row)
        if len(batch) == 3000:
            insert(batch)
            batch = []
    insert(batch)
end(began, lines)
"""
_CONTENDERS = {"ours": _OURS, "json.loads into SQLite": _PEER}


def run(options: Options) -> list[Figure]:
    """Drain each size into the embedded store; the largest once, the others in each round."""
    sizes = tuple(size // 50 for size in _SIZES) if options.quick else _SIZES
    taken: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for lines in sizes:
            logs = Path(folder, f"logs-{lines}")
            write_task_log(logs / NAME, lines)
            for _ in range(1 if lines == sizes[-1] else options.rounds):
                for name, code in _CONTENDERS.items():
                    taken.setdefault((name, lines), []).append(measured(code, logs, lines))
    return _figures(taken, sizes)


def _figures(taken: dict[tuple[str, int], list[dict[str, float]]], sizes: tuple[int, ...]) -> list[Figure]:
    peer = "json.loads into SQLite"

    def sample(name: str, lines: int, unit: str) -> Sample:
        return Sample(tuple(one[unit] for one in taken[name, lines]))

    def growth(name: str) -> Sample:
        return Sample((sample(name, sizes[-1], "us").median / sample(name, sizes[1], "us").median,))

    figures = []
    for lines in sizes:
        for unit, targets in (("docs/s", ()), ("us", ()), ("MB", (Target(at_most=80.0),))):
            ours, theirs = sample("ours", lines, unit), sample(peer, lines, unit)
            figures.append(Figure(f"backlog of {lines:,} lines", unit, ours, (peer, theirs), targets))
    grown = f"cost of a line at {sizes[-1]:,} lines, in multiples of that at {sizes[1]:,}"
    figures.append(Figure(grown, "x", growth("ours"), (peer, growth(peer)), (Target(at_most=1.3),)))
    return figures
