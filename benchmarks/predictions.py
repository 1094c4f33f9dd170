"""Forecasts of runs under way: calibration, coverage, precision and recall of warnings, beside two simple rules.

A rolling backtest over histories that ``benchmarks/run_histories.py`` makes: each run is forecast from the runs before
it alone, from its fifth run on. Beside ours: the rule that warns when 80 % of the time is gone, and the mean of past
runs. ``--quick`` judges few.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from statistics import fmean, median
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Sample, Target
from benchmarks.run_histories import RunHistory, run_histories, seen_at
from observability.watch.forecast import LEAST_RUNS, WARN_AT, RunModel
from observability.watch.run_times import RunTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.figure import Options

__all__ = ["Score", "judge", "run", "update_ms"]

_SEEDS = (9201, 9202, 9203)
"""Seeds of the last look at the model; docs/figures.md says what earlier looks, at other seeds, changed."""
_ISSUE_LIMIT = 0.8
"""The limit that was first thought of; people are warned at ``WARN_AT``."""
_PARTS = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
_TICKS = 30


@dataclass
class Score:
    """The counts of one rule."""

    chances: list[tuple[float, bool]] = field(default_factory=list)
    inside: dict[float, list[bool]] = field(default_factory=lambda: defaultdict(list))
    warned: int = 0
    missed: int = 0
    both: int = 0
    leads: list[float] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """The share of the warnings after which the deadline was missed."""
        return self.both / self.warned if self.warned else 0.0

    @property
    def recall(self) -> float:
        """The share of the missed deadlines that were warned of before."""
        return self.both / self.missed if self.missed else 0.0

    @property
    def calibration_error(self) -> float:
        """The mean distance of what was said from what came, over ten classes of chances."""
        classes: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        for chance, came in self.chances:
            classes[min(9, int(chance * 10))].append((chance, came))
        away = [abs(sum(one for one, _ in rows) - sum(came for _, came in rows)) for rows in classes.values()]
        return sum(away) / max(1, len(self.chances))

    def warn(self, at: float | None, due: float, since: float, *, missed: bool) -> None:
        """Count a run: the moment of its warning, if any, and whether it missed its deadline."""
        self.missed += missed
        self.warned += at is not None
        if at is not None and missed:
            self.both += 1
            self.leads.append((due - at) / max(1e-9, due - since))


def run(options: Options) -> list[Figure]:
    """The figures of ours, and those of the two rules beside it."""
    count, judged = (14, 8) if options.quick else (105, 7)
    scores: dict[str, Score] = defaultdict(Score)
    for seed in _SEEDS[: 1 if options.quick else 3]:
        for history in run_histories(seed, count):
            judge(history, judged, scores)
    ours, rule, mean, early = scores["ours"], scores["80 %"], scores["mean"], scores["at 0.8"]
    inferred = scores["inferred graph"]
    half, most = (fmean(ours.inside[share]) for share in (0.5, 0.9))
    notes = {"histories": count * (1 if options.quick else 3), "misses": ours.missed, "warnings": ours.warned}

    def beside(name: str, value: Callable[[Score], float], **bounds: float) -> Figure:
        others = {
            "80 % of the time gone": rule, "mean of past runs": mean, f"ours at {_ISSUE_LIMIT}": early,
            "ours without Airflow's graph": inferred,
        }  # fmt: skip
        peers = {label: round(value(score), 3) for label, score in others.items()}
        return Figure(name, "share", Sample((value(ours),)), targets=(Target(**bounds),), notes=peers | notes)

    return [
        Figure(
            "calibration error",
            "share",
            Sample((ours.calibration_error,)),
            targets=(Target(at_most=0.05),),
            notes=notes,
        ),
        Figure("90 % intervals that held", "share", Sample((most,)), targets=(Target(at_least=0.86, at_most=0.94),)),
        Figure("50 % intervals that held", "share", Sample((half,))),
        beside("precision of warnings", lambda one: one.precision, at_least=0.90),
        beside("recall of warnings", lambda one: one.recall, at_least=0.80),
        beside("median lead, share of what remained", lambda one: median(one.leads or [0.0]), at_least=0.25),
        Figure("update of a run of 1,000 tasks", "ms", Sample((update_ms(),)), targets=(Target(at_most=5),)),
    ]


def judge(history: RunHistory, judged: int, scores: dict[str, Score]) -> None:
    """Forecast the runs of a history, spread over it, each from the runs before it."""
    count = len(history.runs)
    step = max(1, (count - LEAST_RUNS) // judged)
    for number in range(LEAST_RUNS, count, step):
        earlier, one = history.runs[:number], history.runs[number]
        end, due = float(one.ended or 0), one.begun + history.allowed_s
        late = end > due
        since = one.begun + history.delayed.get(one.run_id, 0.0)
        model = RunModel.learn(earlier, one.begun, history.graph)
        assert model is not None
        _check(model, one, due, scores["ours"])
        until = min(end, due)
        chances = [(at, model.forecast(seen_at(one, at), at).chance_after(due)) for at in _ticks(one.begun, until)]
        for name, limit in (("ours", WARN_AT), ("at 0.8", _ISSUE_LIMIT)):
            warned = next((at for at, chance in chances if chance >= limit), None)
            scores[name].warn(warned, due, min(since, due - 1), missed=late)
        if number % (3 * step) < step:  # a third of them: it takes its time
            other = RunModel.learn(earlier, one.begun)
            assert other is not None
            warned = next((at for at in _ticks(one.begun, until) if _says_late(other, one, at, due)), None)
            scores["inferred graph"].warn(warned, due, min(since, due - 1), missed=late)
        gone = one.begun + 0.8 * history.allowed_s
        scores["80 %"].warn(gone if gone < until else None, due, min(since, due - 1), missed=late)
        usual = fmean(float(run.ended or 0) - run.begun for run in earlier)
        scores["mean"].warn(one.begun if usual > history.allowed_s else None, due, min(since, due - 1), missed=late)


def _check(model: RunModel, one: RunTimes, due: float, score: Score) -> None:
    end = float(one.ended or 0)
    for part in _PARTS:
        now = one.begun + part * (min(end, due) - one.begun)
        found = model.forecast(seen_at(one, now), now)
        score.chances.append((found.chance_after(due), end > due))
        for share in (0.5, 0.9):
            low, high = found.interval(share)
            score.inside[share].append(low <= end <= high)


def _ticks(begin: float, until: float) -> Iterator[float]:
    """Moments at which a warning may be sent; the watcher itself looks each second."""
    parts = [*(number / _TICKS for number in range(1, _TICKS)), 0.98, 0.99, 0.995]
    return (begin + (until - begin) * part for part in parts)


def _says_late(model: RunModel, one: RunTimes, now: float, due: float) -> bool:
    return model.forecast(seen_at(one, now), now).chance_after(due) >= WARN_AT


def update_ms() -> float:
    """The median time of a forecast half-way through a run of 1,000 tasks in ten layers."""
    dice = Random(1)
    layers = [[f"l{layer}_{one}" for one in range(100)] for layer in range(10)]
    graph: dict[str, set[str]] = {name: set() for layer in layers for name in layer}
    for above, below in pairwise(layers):
        for name in below:
            for one in dice.sample(above, 3):
                graph[one].add(name)
    past = []
    for number in range(20):
        run = RunTimes("big", f"r{number}", 1e9 + number * 86_400, succeeded=True)
        for layer, names in enumerate(layers):
            for name in names:
                run.add(name, run.begun + layer * 100, run.begun + layer * 100 + dice.uniform(20, 90))
        run.ended = run.begun + 1000
        past.append(run)
    live = past.pop()
    model = RunModel.learn(past, live.begun, graph)
    assert model is not None
    took = []
    for number in range(20):
        now = live.begun + 500 + number
        seen = seen_at(live, now)
        began = time.perf_counter()
        model.forecast(seen, now)
        took.append((time.perf_counter() - began) * 1000)
    return median(took)
