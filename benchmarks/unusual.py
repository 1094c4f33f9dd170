"""Unusual rejected rows, starts, updates and failure rates: labelled histories, judged by a replay of the rules.

Each DAG has 120 days from a seed, of which the first 28 are only learned from. The replay judges as the watcher does.
``UNUSUAL_SEEDS=1,2`` tries other seeds than those that are published, which the rules were not shaped with.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Options, Sample, Target
from observability.watch.backtest import backtest
from observability.watch.ledger import schema
from observability.watch.ledger.database import Ledger, insert_new
from observability.watch.rules.config import parse_rules
from observability.watch.run_times import RunTimes, save_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["run"]

_SEEDS = tuple(int(seed) for seed in os.environ.get("UNUSUAL_SEEDS", "31,32,33").split(","))
_BEGIN, _DAY_S, _HOUR_S = 1_704_067_200.0, 86_400.0, 3600.0
_DAYS, _WARM_UP = 120, 28
_FAULTY = 0.03
_SATURDAY = 5
_RULES = """
channels: {file: {type: file}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
deadlines:
"""
Rows = list[dict[str, Any]]
Span = tuple[float, float]
"""From when until when a planted fault can be found."""


def run(options: Options) -> list[Figure]:
    """The recall of what was planted, and the false alarms, of each of the four rules."""
    dags = 4 if options.quick else 40
    figures = []
    for name, (make, rule) in _KINDS.items():
        found = [_judged(make, rule, seed, dags) for seed in _SEEDS[: 1 if options.quick else len(_SEEDS)]]
        hits, there, false, months = (sum(column) for column in zip(*found, strict=True))
        notes = {"planted": there, "false": false, "months": round(months)}
        figures += [
            Figure(f"{name}: recall", "share", Sample((hits / max(1, there),)), targets=(Target(at_least=0.9),)),
            Figure(f"{name}: false alarms", "a DAG and month", Sample((false / months,)),
                   targets=(Target(at_most=0.05),), notes=notes),
        ]  # fmt: skip
    return figures


def _judged(
    make: Callable[[str, Random], tuple[Rows, list[RunTimes], list[Span]]], rule: str, seed: int, dags: int
) -> tuple[int, int, int, float]:
    """The planted faults that were found, those that there are, the false alarms, and the months that were judged."""
    planted: dict[str, list[Span]] = {}
    told: dict[str, list[float]] = defaultdict(list)
    since, until = _BEGIN + _WARM_UP * _DAY_S, _BEGIN + _DAYS * _DAY_S
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"sqlite:///{Path(folder, 'ledger.db')}")
        try:
            with ledger.transaction(lock=True) as connection:
                for number in range(dags):
                    dag_id = f"dag_{number:02}"
                    rows, runs, planted[dag_id] = make(dag_id, Random(f"{seed}/{rule}/{number}"))
                    insert_new(connection, schema.history, rows)
                    save_runs(connection, runs)
            lines = [rule.format(dag=dag_id) for dag_id in planted]
            rules = parse_rules(_RULES + "\n".join(lines), "rules")
            with ledger.transaction() as connection:
                for one in backtest(connection, rules, {}, since, until).sent:
                    if one.kind == "opened" and one.rule.startswith("dag_"):
                        told[one.rule].append(one.at)
        finally:
            ledger.close()
    hits = false = 0
    for dag_id, spans in planted.items():
        hits += sum(any(first <= at <= last for at in told[dag_id]) for first, last in spans)
        false += sum(not any(first <= at <= last for first, last in spans) for at in told[dag_id])
    return hits, sum(map(len, planted.values())), false, dags * (_DAYS - _WARM_UP) / 30.4


def _row(  # noqa: PLR0913, PLR0917 - the columns
    measure: str, dag_id: str, subject: str, occasion: str, moment: float, value: float
) -> dict[str, Any]:
    about = {"measure": measure, "dag_id": dag_id, "subject": subject, "occasion": occasion}
    return {**about, "time": moment, "value": value}


def _daily(dice: Random) -> Iterator[tuple[int, float, bool]]:
    """Each day, the moment of its run, and whether a fault is planted; never two within four days."""
    last = -10
    for day in range(_DAYS):
        faulty = day >= _WARM_UP and day - last >= 4 and dice.random() < _FAULTY  # noqa: PLR2004
        last = day if faulty else last
        yield day, _BEGIN + day * _DAY_S + 6 * _HOUR_S + dice.uniform(0, 300), faulty


def _a_run(dag_id: str, day: int | str, begun: float, *, good: bool = True) -> RunTimes:
    return RunTimes(dag_id, f"r{day}", begun, begun + 600, good)


def _rejects(dag_id: str, dice: Random) -> tuple[Rows, list[RunTimes], list[Span]]:
    """Rejected rows: often none, some, or many; fewer at weekends. A fault is eight times as many and fifty more."""
    level, weekend = dice.choice((0.0, 0.5, 5.0, 50.0, 500.0)), dice.choice((1.0, 0.3))
    rows, runs, spans = [], [], []
    for day, at, faulty in _daily(dice):
        mean = level * (weekend if day % 7 >= _SATURDAY else 1.0) * dice.lognormvariate(0, 0.2)
        value = max(0, round(dice.gauss(mean, mean**0.5)))
        value = value * 8 + 50 if faulty else value
        rows.append(_row("rejects", dag_id, "t:load", f"r{day}", at + 600, float(value)))
        rows.append(_row("rows", dag_id, "t:load", f"r{day}", at + 600, 10_000.0))
        runs.append(_a_run(dag_id, day, at))
        spans += [(at, at + _HOUR_S)] if faulty else []
    return rows, runs, spans


def _starts(dag_id: str, dice: Random) -> tuple[Rows, list[RunTimes], list[Span]]:
    """The delays of starts: seconds to minutes. A fault is twenty minutes to two hours more."""
    level, noise = dice.uniform(2, 90), dice.uniform(0.2, 0.6)
    rows, runs, spans = [], [], []
    for day, at, faulty in _daily(dice):
        delay = level * dice.lognormvariate(0, noise) + (dice.uniform(1200, 7200) if faulty else 0.0)
        rows.append(_row("start_delay", dag_id, "", f"r{day}", at + delay, delay))
        runs.append(_a_run(dag_id, day, at + delay))
        spans += [(at, at + delay + _HOUR_S)] if faulty else []
    return rows, runs, spans


def _updates(dag_id: str, dice: Random) -> tuple[Rows, list[RunTimes], list[Span]]:
    """An asset that is updated each day, on working days, or each six hours. A fault is an update that is left out."""
    every, no_weekends = dice.choice(((1, False), (1, True), (4, False)))
    jitter = dice.uniform(60, 1500)
    rows: Rows = [_row("asset_of", dag_id, f"s3://{dag_id}", f"s3://{dag_id}", _BEGIN, _BEGIN)]
    runs, spans, missing = [], [], False
    for day, at, faulty in _daily(dice):
        if no_weekends and day % 7 >= _SATURDAY:
            continue
        for part in range(every):
            moment = at + part * _DAY_S / every + dice.uniform(0, jitter)
            if faulty and part == 0:
                spans.append((moment, moment + _DAY_S * (3 if no_weekends else 1)))
                missing = True
                continue
            if missing:
                spans[-1] = (spans[-1][0], moment)
                missing = False
            rows.append(_row("asset", "", f"s3://{dag_id}", f"r{day}:{part}", moment, moment))
        runs.append(_a_run(dag_id, day, at))
    return rows, runs, spans


def _failures(dag_id: str, dice: Random) -> tuple[Rows, list[RunTimes], list[Span]]:
    """Runs each three hours that fail now and then. A fault is two days in which most fail."""
    chance = dice.choice((0.0, 0.01, 0.03, 0.08, 0.15))
    runs, spans = [], []
    bad = dice.randrange(_WARM_UP + 10, _DAYS - 10)
    for number in range(_DAYS * 8):
        begun = _BEGIN + number * 3 * _HOUR_S
        worse = bad <= number // 8 < bad + 2
        runs.append(_a_run(dag_id, str(number), begun, good=dice.random() >= (0.7 if worse else chance)))
    spans.append((_BEGIN + bad * _DAY_S, _BEGIN + (bad + 4) * _DAY_S))
    return [], runs, spans


_KINDS: dict[str, tuple[Callable[[str, Random], tuple[Rows, list[RunTimes], list[Span]]], str]] = {
    "rejected rows": (_rejects, "  - {{name: {dag}, dag: {dag}, rejects_above_usual: true}}"),
    "starts": (_starts, "  - {{name: {dag}, dag: {dag}, starts_later_than_usual: true}}"),
    "updates of assets": (_updates, '  - {{name: {dag}, asset: "s3://{dag}", staler_than_usual: true, warn: 1}}'),
    "failure rates": (_failures, "  - {{name: {dag}, dag: {dag}, fails_more_than_usual: true}}"),
}
