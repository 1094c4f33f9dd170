"""Estimate the end of a run that is under way, and the chance that it misses a deadline, from its own history.

A model is learned once for a run: the usual duration of each task, how much whole runs differ (by weekday, and lately),
and how long each earlier run took from the end of each task to its own end, along the longest path of what was still to
run. Waits for pools and workers are part of those paths. A forecast then costs little: it follows only the tasks that
run or wait to begin, in sixty scenarios that each take one earlier run as their future.

Sources: Student's t with four degrees of freedom has its quantiles in closed form (Shaw 2006, "Sampling Student's T
distribution"). A duration that has exceeded the usual is drawn from what is left of the distribution.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from statistics import NormalDist, fmean, median
from typing import TYPE_CHECKING

from observability.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from observability.watch.run_times import RunTimes

__all__ = ["LEAST_RUNS", "MOST_RUNS", "WARN_AT", "Forecast", "RunModel", "inferred_graph"]

WARN_AT = 0.93
"""The chance to miss a deadline at which people are warned; ``benchmarks predictions`` says how many such runs miss."""

LEAST_RUNS, MOST_RUNS = 5, 60
"""A forecast needs so many earlier runs, and looks at no more than the second."""
_SCENARIOS = 60
_ORDERS = (7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47)
_FUTURES = 53
"""Numbers without a common divisor with the number of scenarios, so that each gives them another order."""
_FLOOR_S = 1.0
_LEAST_SPREAD, _LEAST_RUN_SPREAD = 0.03, 0.02
_LATELY = 0.25
"""The weight of the last run in what whole runs were like lately."""
_UNKNOWN_DAY = 0.35
"""The spread of a day of which no run is known, beside that of ordinary days (log)."""
_FOLLOWED = 12
"""Tasks under way that a forecast follows: those that can end the run, the latest first."""
_TWICE = 1.5
"""A task is named as slow where it takes so many times its usual time."""
_JUST_BEFORE_S = 0.5
_HANGS, _HANGS_FROM, _HANGS_TO = 0.01, math.log(1.5), math.log(4)
"""The share of tasks that hang; such a task takes 1.5 to 6 times its usual time."""
_SKIPPED_S, _SKIPPED = 120.0, 3.0
"""A task that has not begun so long, and so many times its longest wait, after it could have, is not waited for."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Forecast:
    """The likely ends of a run, sorted, in seconds since 1970; ``slow`` names the task that is late, and how much."""

    ends: tuple[float, ...]
    runs: int
    slow: tuple[str, float] | None = None

    @property
    def expected(self) -> float:
        """The end that is as likely passed as not."""
        return self.quantile(0.5)

    def interval(self, share: float) -> tuple[float, float]:
        """From when to when the run ends with this chance: 0.5 or 0.9."""
        return self.quantile((1 - share) / 2), self.quantile((1 + share) / 2)

    def quantile(self, part: float) -> float:
        """The moment before which the run ends with the chance ``part``."""
        place = part * len(self.ends) - 0.5
        low = min(len(self.ends) - 1, max(0, math.floor(place)))
        high = min(len(self.ends) - 1, low + 1)
        return self.ends[low] + (self.ends[high] - self.ends[low]) * min(1.0, max(0.0, place - low))

    def chance_after(self, due: float) -> float:
        """The chance that the run ends after ``due``."""
        return 1 - bisect_right(self.ends, due) / len(self.ends)


@dataclass(frozen=True, slots=True)
class _Usual:
    """A task's usual duration: the median of its logarithm, and its spread about it beside that of whole runs."""

    level: float
    spread: float
    instances: int


class RunModel:
    """The usual course of the runs of a DAG at a time; :meth:`learn` makes one."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a model
        self,
        usual: Mapping[str, _Usual],
        tails: Mapping[str, Sequence[float]],
        waits: Mapping[str, Sequence[float]],
        run_level: tuple[float, float],
        graph: Mapping[str, Collection[str]],
        runs: int,
    ) -> None:
        self._usual, self._tails, self._waits, self._graph, self.runs = usual, tails, waits, graph, runs
        self._mean, self._spread = run_level
        self._rests = {name: math.exp(one.level) + median(tails[name]) for name, one in usual.items()}
        self._longest_waits = {name: max(waits[name]) for name in usual}
        self._order = _from_the_end(graph, usual)[::-1]
        self._before: dict[str, list[str]] = {name: [] for name in usual}
        for name, following in graph.items():
            for one in following:
                if one in self._before and name in usual:
                    self._before[one].append(name)

    @classmethod
    def learn(
        cls, earlier: Sequence[RunTimes], begun: float, graph: Mapping[str, Collection[str]] | None = None
    ) -> RunModel | None:
        """The model for a run that began at ``begun``; None where too few earlier runs are known.

        ``earlier`` holds ordinary runs that succeeded, the oldest first. ``graph`` gives the tasks that follow each
        task; without it, it is inferred from which task began when which had ended.
        """
        runs = [one for one in earlier if one.tasks and one.ended is not None][-MOST_RUNS:]
        if len(runs) < LEAST_RUNS:
            return None
        graph = inferred_graph(runs) if graph is None else graph
        logs = [_durations(run) for run in runs]
        usual = _levels(runs, logs)
        factors = [_factor(one, usual) for one in logs]
        mean, spread, known = _run_level(runs, factors, begun)
        usual = _with_spreads(usual, logs, factors)
        tails, waits = _paths(runs, factors, graph, usual)
        return cls(usual, tails, waits, (mean, spread * known), graph, len(runs))

    @property
    def longest_start_s(self) -> float:
        """The time after which a run of which no task has begun is one whose tasks nobody hears of."""
        waits = [longest for name, longest in self._longest_waits.items() if not self._before[name]]
        return _SKIPPED_S + _SKIPPED * max(waits, default=0.0)

    def forecast(self, run: RunTimes, now: float) -> Forecast:
        """The likely ends of ``run``, seen from ``now``."""
        elapsed = now - run.begun
        live = [*self._under_way(run, elapsed), *self._ready(run, elapsed)]
        live.sort(key=lambda one: one[3] + self._rests[one[0]], reverse=True)
        live = live[:_FOLLOWED]
        factors = self._likely_factors(run, live)
        ends = [elapsed + 1.0] * _SCENARIOS
        for place, (name, start, gone, _) in enumerate(live):
            usual, tails = self._usual[name], self._tails[name]
            waits = None if gone is not None else self._waits[name]
            for number, factor in enumerate(factors):
                # Each task takes every part of its distribution once, in an order of its own.
                part = ((number * _ORDERS[place] + place) % _SCENARIOS + 0.5) / _SCENARIOS
                future = number * _FUTURES % _SCENARIOS % len(tails)
                began = start if waits is None else max(elapsed, start + waits[future])
                lasts = _lasts(part, usual.level + factor, usual.spread, gone or 0.0)
                ends[number] = max(ends[number], began + lasts + tails[future] * math.exp(factor))
        return Forecast(tuple(sorted(run.begun + one for one in ends)), self.runs, self._slow(run, elapsed))

    def _likely_factors(self, run: RunTimes, live: Sequence[tuple[str, float, float | None, float]]) -> list[float]:
        """By how much the whole run may be slower than usual, each as often as it is likely.

        A factor with which the tasks that still run would have ended is not likely.
        """
        mean, spread = self._run_factor(run)
        factors = [mean + spread * part for part in _T4]
        weights = [1.0] * _SCENARIOS
        for name, _, gone, _ in live:
            if gone:
                usual = self._usual[name]
                for number, factor in enumerate(factors):
                    weights[number] *= sum(_left(usual.level + factor, usual.spread, gone)[:2])
        return _weighed(factors, weights)

    def _under_way(self, run: RunTimes, elapsed: float) -> list[tuple[str, float, float | None, float]]:
        """(task, its start, how long it has run, its start) of each task that runs."""
        found: list[tuple[str, float, float | None, float]] = []
        for name, one in run.tasks.items():
            if name in self._usual and not self._is_done(name, run):
                found.append((name, one.start, max(0.0, elapsed - one.start), one.start))
        return found

    def _ready(self, run: RunTimes, elapsed: float) -> list[tuple[str, float, float | None, float]]:
        """The same of each task that has not begun and that nothing keeps from it.

        One that waits far longer than it ever did was skipped, mostly: nothing is heard of those.
        """
        found: list[tuple[str, float, float | None, float]] = []
        passed: dict[str, float] = {}
        for name in self._order:
            if name in run.tasks:
                continue
            ends = []
            for one in self._before[name]:
                if one in passed:
                    ends.append(passed[one])
                elif one not in run.tasks or not self._is_done(one, run):
                    break
                else:
                    ends.append(run.tasks[one].end or 0.0)
            else:
                ready = max(ends, default=0.0)
                if elapsed - ready > _SKIPPED_S + _SKIPPED * self._longest_waits[name]:
                    passed[name] = ready
                else:
                    found.append((name, ready, None, elapsed))
        return found

    def _is_done(self, name: str, run: RunTimes) -> bool:
        """True if a task has ended; a mapped one has as many instances as usual, or something after it has begun."""
        one = run.tasks[name]
        if not one.is_done:
            return False
        return one.ended >= self._usual[name].instances or any(
            after in run.tasks for after in self._graph.get(name, ())
        )

    def _run_factor(self, run: RunTimes) -> tuple[float, float]:
        """Return by how much this run is slower than usual (log), and how sure that is, from the tasks that ended."""
        precision = 1 / self._spread**2
        total = self._mean * precision
        for name, one in run.tasks.items():
            usual = self._usual.get(name)
            if usual is None or one.end is None or not one.is_done:
                continue
            away = math.log(max(0.0, one.end - one.start) + _FLOOR_S) - usual.level
            about = usual.spread**2 + _LEAST_SPREAD**2
            # One task that is far off is about itself; it moves the whole run by a bounded amount.
            most = 2 * math.sqrt(about + self._spread**2)
            away = self._mean + min(most, max(-most, away - self._mean))
            weight = 0.3 / about  # tasks of a run go together less than one factor says
            precision += weight
            total += away * weight
        return total / precision, math.sqrt(1 / precision)

    def _slow(self, run: RunTimes, elapsed: float) -> tuple[str, float] | None:
        """The task that has cost the most time beyond its usual, and how many times its usual it takes."""
        found: tuple[float, str, float] | None = None
        for name, one in run.tasks.items():
            if (usual := self._usual.get(name)) is None:
                continue
            lasted = (elapsed if one.end is None or not one.is_done else one.end) - one.start
            expected = math.exp(usual.level) - _FLOOR_S
            times = (lasted + _FLOOR_S) / (expected + _FLOOR_S)
            if times >= _TWICE and (found is None or lasted - expected > found[0]):
                found = (lasted - expected, name, times)
        return (found[1], found[2]) if found else None


def inferred_graph(runs: Sequence[RunTimes]) -> dict[str, set[str]]:
    """The tasks that follow each task: a task follows the one that had ended last when it began, in many runs."""
    counted: dict[tuple[str, str], int] = {}
    seen: dict[str, int] = {}
    for run in runs:
        ended = sorted((one.end, name) for name, one in run.tasks.items() if one.end is not None)
        times = [end for end, _ in ended]
        for name, one in run.tasks.items():
            seen[name] = seen.get(name, 0) + 1
            if place := bisect_right(times, one.start + _JUST_BEFORE_S):
                before = ended[place - 1][1]
                if before != name:
                    counted[before, name] = counted.get((before, name), 0) + 1
    graph: dict[str, set[str]] = {name: set() for name in seen}
    for (before, name), times_seen in counted.items():
        if times_seen >= max(2, 0.2 * seen[name]) and before not in graph[name]:
            graph[before].add(name)
    return graph


def _durations(run: RunTimes) -> dict[str, float]:
    return {
        name: math.log(max(0.0, one.end - one.start) + _FLOOR_S)
        for name, one in run.tasks.items()
        if one.end is not None
    }


def _levels(runs: Sequence[RunTimes], logs: Sequence[Mapping[str, float]]) -> dict[str, _Usual]:
    """The level of each task that the last half of the runs had; a task that is gone is not waited for."""
    lately = runs[-max(LEAST_RUNS, len(runs) // 2) :]
    found = {}
    for name in dict.fromkeys(name for run in lately for name in run.tasks):
        values = [one[name] for one in logs if name in one]
        if values and 2 * sum(name in run.tasks for run in lately) >= len(lately):
            instances = round(median([run.tasks[name].instances for run in lately if name in run.tasks]))
            found[name] = _Usual(median(values), _LEAST_SPREAD, instances)
    return found


def _factor(logs: Mapping[str, float], usual: Mapping[str, _Usual]) -> float:
    """Return how much slower than usual a run was as a whole: the median over its tasks, each by its length."""
    away = sorted(
        (value - usual[name].level, math.exp(usual[name].level)) for name, value in logs.items() if name in usual
    )
    half = sum(weight for _, weight in away) / 2
    for value, weight in away:
        half -= weight
        if half <= 0:
            return value
    return 0.0


def _run_level(runs: Sequence[RunTimes], factors: Sequence[float], begun: float) -> tuple[float, float, float]:
    """The likely factor of a run at this time, its spread, and by how much few runs widen that."""
    days = [_weekday(run.begun) for run in runs]
    day = _weekday(begun)
    alike = [one for one, at in zip(factors, days, strict=True) if at == day]
    kind = [one for one, at in zip(factors, days, strict=True) if (at >= 5) == (day >= 5)]  # noqa: PLR2004
    rest = [one for one, at in zip(factors, days, strict=True) if (at >= 5) != (day >= 5)]  # noqa: PLR2004

    def effect(at: int) -> float:
        same_kind = [one for one, other in zip(factors, days, strict=True) if (other >= 5) == (at >= 5)]  # noqa: PLR2004
        same = [one for one, other in zip(factors, days, strict=True) if other == at]
        of_kind = median(same_kind) * len(same_kind) / (len(same_kind) + 1.0) if rest and kind else 0.0
        of_day = (median(same) - of_kind) * len(same) / (len(same) + 4.0) if len(same) > 1 else 0.0
        return of_kind + of_day

    effects = {at: effect(at) for at in {*days, day}}
    lately, left = 0.0, []
    for one, at in zip(factors, days, strict=True):
        left.append(one - effects[at] - lately)
        lately += _LATELY * (one - effects[at] - lately)
    spread = max(_LEAST_RUN_SPREAD, _spread(left[2:] or left))
    if not alike:
        # Few runs of such a day (a first weekend) say little of the level of this one, until its own tasks do.
        spread = math.hypot(spread, _UNKNOWN_DAY / (1 + len(kind)))
    return effects[day] + lately, spread, math.sqrt(1 + 4 / len(runs))


def _with_spreads(
    usual: Mapping[str, _Usual], logs: Sequence[Mapping[str, float]], factors: Sequence[float]
) -> dict[str, _Usual]:
    found = {}
    for name, one in usual.items():
        left = [run[name] - factor - one.level for run, factor in zip(logs, factors, strict=True) if name in run]
        spread = max(_LEAST_SPREAD, _spread(left)) * math.sqrt(1 + 4 / len(left))
        found[name] = _Usual(one.level, spread, one.instances)
    return found


def _paths(
    runs: Sequence[RunTimes],
    factors: Sequence[float],
    graph: Mapping[str, Collection[str]],
    usual: Mapping[str, _Usual],
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """From each task's end to the end of each earlier run, along the longest path; and the wait of each task."""
    order = _from_the_end(graph, usual)
    before: dict[str, list[str]] = {name: [] for name in usual}
    for name in usual:
        for one in graph.get(name, ()):
            if one in before:
                before[one].append(name)
    tails: dict[str, list[float]] = {name: [] for name in usual}
    waits: dict[str, list[float]] = {name: [] for name in usual}
    for run, factor in zip(runs, factors, strict=True):
        scale = math.exp(-factor)
        last = max((one.end or 0.0) for one in run.tasks.values())
        closing = max(0.0, (run.ended or 0.0) - run.begun - last)
        tail: dict[str, float] = {}
        for name in order:
            longest = closing
            for one in graph.get(name, ()):
                if one in tail:
                    longest = max(longest, tail[one] + _step(run, one, before[one], scale))
            tail[name] = longest
            tails[name].append(longest)
            waits[name].append(_wait(run, name, before[name]))
    return tails, waits


def _step(run: RunTimes, name: str, before: Sequence[str], scale: float) -> float:
    """The wait and the duration of a task in a run, without what the whole run was slower; 0 where it was skipped."""
    one = run.tasks.get(name)
    if one is None or one.end is None:
        return 0.0
    return (_wait(run, name, before) + one.end - one.start) * scale


def _wait(run: RunTimes, name: str, before: Sequence[str]) -> float:
    """From the moment at which nothing kept a task from beginning until it began."""
    one = run.tasks.get(name)
    if one is None:
        return 0.0
    ready = max((run.tasks[other].end or 0.0 for other in before if other in run.tasks), default=0.0)
    return max(0.0, one.start - ready)


def _from_the_end(graph: Mapping[str, Collection[str]], usual: Mapping[str, _Usual]) -> list[str]:
    """The tasks, each after all that follow it; a circle, which only an inferred graph can have, is cut."""
    order: list[str] = []
    state: dict[str, int] = {}
    for root in usual:
        stack = [(root, iter(graph.get(root, ())))] if root not in state else []
        state.setdefault(root, 1)
        while stack:
            name, following = stack[-1]
            for one in following:
                if one in usual and one not in state:
                    state[one] = 1
                    stack.append((one, iter(graph.get(one, ()))))
                    break
            else:
                order.append(name)
                stack.pop()
    return order


def _spread(values: Sequence[float]) -> float:
    """The spread of what is usual: the median distance, with a part of the mean one so that faults count a little."""
    if len(values) < 2:  # noqa: PLR2004
        return 0.3
    middle = median(values)
    away = [abs(one - middle) for one in values]
    return 0.7 * 1.4826 * median(away) + 0.3 * 1.2533 * fmean(away)


def _weekday(moment: float) -> int:
    return utc(moment).weekday()


def _t4(part: float) -> float:
    """The quantile of Student's t with four degrees of freedom."""
    part = min(1 - 1e-9, max(1e-9, part))
    root = math.sqrt(4 * part * (1 - part))
    size = 2 * math.sqrt(max(0.0, math.cos(math.acos(root) / 3) / root - 1))
    return math.copysign(size, part - 0.5)


_T4 = tuple(_t4((number + 0.5) / _SCENARIOS) for number in range(_SCENARIOS))


def _weighed(factors: Sequence[float], weights: Sequence[float]) -> list[float]:
    """As many factors, in their order, each as often as its weight says; between two of them where one is heavy."""
    total = sum(weights) or 1.0
    middles, sofar = [], 0.0
    for weight in weights:
        middles.append((sofar + weight / 2) / total)
        sofar += weight
    found = []
    for number in range(len(factors)):
        part = (number + 0.5) / len(factors)
        place = min(len(factors) - 1, max(1, bisect_right(middles, part)))
        width = middles[place] - middles[place - 1]
        share = (part - middles[place - 1]) / width if width > 0 else 1.0
        found.append(factors[place - 1] + min(1.0, max(0.0, share)) * (factors[place] - factors[place - 1]))
    return found


def _left(level: float, spread: float, gone: float) -> tuple[float, float, float]:
    """The chances that a task still runs after ``gone`` seconds, as an ordinary and as a hanging one; its place."""
    done = math.log(gone + _FLOOR_S)
    low = _NORMAL.cdf((done - level) / spread) if gone > 0 else 0.0
    hangs = _HANGS * min(1.0, max(0.05, 1 - (done - level - _HANGS_FROM) / _HANGS_TO))
    return (1 - _HANGS) * (1 - low), hangs, low


def _lasts(part: float, level: float, spread: float, gone: float) -> float:
    """A duration of a task that has run for ``gone`` seconds; ``part`` chooses it.

    An ordinary duration is normal on the logarithm. The longer a task has exceeded it, the likelier it hangs; then it
    may take up to e times as long as it has taken already.
    """
    ordinary, hangs, low = _left(level, spread, gone)
    share = ordinary / (ordinary + hangs)
    if part < share:
        part = low + (1 - low) * (part / share)
        lasts = level + spread * _NORMAL.inv_cdf(min(1 - 1e-12, max(1e-12, part)))
    else:
        first = max(math.log(gone + _FLOOR_S), level + _HANGS_FROM)
        lasts = first + (part - share) / (1 - share) * max(1.0, level + _HANGS_FROM + _HANGS_TO - first)
    return max(gone, math.exp(min(700.0, lasts)) - _FLOOR_S)
