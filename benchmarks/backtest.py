"""Replaying 90 days of a thousand DAGs against a rules file: seconds, and the notifications that were planted.

The runs are written into a ledger as the watcher writes them. Planted are failed runs, late runs and days without a
run; the replay must find each. ``--quick`` replays fifty DAGs.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample, Target
from observability.watch.backtest import Backtest, backtest
from observability.watch.ledger.database import Ledger
from observability.watch.rules.config import parse_rules
from observability.watch.run_times import RunTimes, save_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.figure import Options

__all__ = ["replayed", "run"]

_DAY_S, _HOUR_S = 86_400.0, 3600.0
_BEGIN = 1_767_571_200.0
_DAYS = 90
_PLANTED = {"late": 0.02, "failed": 0.03, "absent": 0.035}
"""The share of days up to which each kind of fault is planted."""
_RULES = """
channels: {file: {type: file}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
deadlines:
  - {name: takes-long, dag: "*", run_finishes_within: 1h}
  - {name: ready, dag: "*", run_finishes_by: "09:00", warn: 0.95}
  - {name: begins, dag: "*", starts_by: "07:00", warn: 1}
  - {name: fresh, dag: "*", success_within: 50h, warn: 1}
  - {name: usual, dag: "*", slower_than_usual: true, warn: 1}
"""


def run(options: Options) -> list[Figure]:
    """Seconds of the replay, and what was found of what was planted."""
    dags = 50 if options.quick else 1000
    seconds, found, planted = replayed(dags)
    missed = Counter({one.name: one.missed for one in found.deadlines})
    failures = sum(one.rule == "run failed" and one.kind == "opened" for one in found.sent)
    pairs = ((missed["takes-long"], "late"), (missed["begins"], "absent"), (failures, "failed"))
    right = [count == planted[what] for count, what in pairs]
    what = f"replay {_DAYS} days of {dags} DAGs"
    by_name = {f"missed {name}": count for name, count in missed.items()}
    notes = {"runs": found.runs, "sent": len(found.sent)} | by_name
    return [
        Figure(what, "s", Sample((seconds,)), targets=(Target(at_most=60),), notes=notes),
        Figure("what was planted is found", "of 3", Sample((float(sum(right)),)), targets=(Target(at_least=3),)),
    ]


def replayed(dags: int) -> tuple[float, Backtest, Counter[str]]:
    """The seconds of a replay, its result, and what was planted."""
    planted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder, 'ledger.db')}")
        try:
            for number in range(dags):
                with ledger.transaction(lock=True) as connection:
                    save_runs(connection, _runs(f"dag_{number:04d}", Random(number), planted))
            rules = parse_rules(_RULES, "rules")
            began = time.monotonic()
            with ledger.transaction() as connection:
                found = backtest(connection, rules, {}, _BEGIN, _BEGIN + _DAYS * _DAY_S - 1)
            return time.monotonic() - began, found, planted
        finally:
            ledger.close()


def _runs(dag_id: str, dice: Random, planted: Counter[str]) -> Iterator[RunTimes]:
    """A run each day at six; one in fifty is late, one in a hundred fails, one in two hundred never begins."""
    before = "good"
    for day in range(-10, _DAYS):
        luck = dice.random() if day >= 0 and before == "good" else 1.0
        before = next((name for name, share in _PLANTED.items() if luck < share), "good")
        planted[before] += day >= 0
        if before == "absent":
            continue
        run = RunTimes(dag_id, f"scheduled__{day}", _BEGIN + day * _DAY_S + 6 * _HOUR_S, succeeded=before != "failed")
        lasts = dice.uniform(5000, 9000) if before == "late" else dice.uniform(1500, 1900)
        at = run.begun
        for task in range(10):
            run.add(f"t{task}", at, at + lasts / 10)
            at += lasts / 10
        run.ended = at
        yield run
