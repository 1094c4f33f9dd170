"""Histories of DAG runs with planted delays, for forecasts to be judged by.

Each history is made from a seed alone; ``SHAPES`` holds the graphs. Runs differ by weekday, by a slow growth, by level
shifts, as a whole and task by task. Of a hundred runs, five have one task that takes two to six times as long, and
three are slow as a whole. Tasks wait for a scheduler, and for slots where a history has few.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

from observability.watch.run_times import RunTimes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SHAPES", "RunHistory", "graph_of", "run_histories", "seen_at"]

_BEGIN = 1_704_067_200.0
_DAY_S = 86_400.0
_SLOW_TASK, _SLOW_RUN = 0.05, 0.03
SHAPES = ("chain", "long chain", "fan", "layers", "two branches", "wide", "single")


@dataclass(frozen=True, slots=True)
class RunHistory:
    """Runs of one DAG, oldest first, its graph, how long a run may take, and which runs had a planted delay.

    ``delayed`` gives the second of its run at which the planted delay began: when the slow task should have ended.
    """

    name: str
    runs: tuple[RunTimes, ...]
    graph: dict[str, set[str]]
    allowed_s: float
    delayed: dict[str, float]


def run_histories(seed: int, count: int, runs: int = 40) -> Iterator[RunHistory]:
    """So many histories, of each shape in turn."""
    for number in range(count):
        shape = SHAPES[number % len(SHAPES)]
        yield _history(f"{shape} {number}", shape, Random(f"{seed}/{number}"), runs)


def graph_of(shape: str, dice: Random) -> dict[str, set[str]]:
    """The tasks that follow each task, in a shape."""
    if shape == "single":
        return {"load": set()}
    if shape in {"chain", "long chain"}:
        names = [f"t{one}" for one in range(dice.randint(3, 6) if shape == "chain" else dice.randint(12, 20))]
        return {name: {after} for name, after in zip(names, [*names[1:], None], strict=True) if after} | {
            names[-1]: set()
        }
    if shape in {"fan", "wide"}:
        middle = [f"part{one}" for one in range(dice.randint(4, 12) if shape == "fan" else dice.randint(30, 60))]
        return {"extract": set(middle), **{one: {"load"} for one in middle}, "load": set()}
    if shape == "two branches":
        left, right = [f"a{one}" for one in range(4)], [f"b{one}" for one in range(dice.randint(2, 6))]
        graph = {"begin": {left[0], right[0]}, "end": set()}
        for branch in (left, right):
            graph |= {one: {after} for one, after in zip(branch, [*branch[1:], "end"], strict=True)}
        return graph
    layers = [[f"l{layer}_{one}" for one in range(dice.randint(2, 5))] for layer in range(4)]
    graph = {name: set() for layer in layers for name in layer}
    for above, below in pairwise(layers):
        for name in below:
            for one in dice.sample(above, dice.randint(1, len(above))):
                graph[one].add(name)
    return graph


def seen_at(run: RunTimes, now: float) -> RunTimes:
    """The part of a run that can be known at a moment."""
    found = RunTimes(run.dag_id, run.run_id, run.begun)
    for name, one in run.tasks.items():
        start, end = run.begun + one.start, run.begun + float(one.end or 0)
        if start <= now:
            found.add(name, start, end if end <= now else None)
    return found


def _history(name: str, shape: str, dice: Random, count: int) -> RunHistory:
    graph = graph_of(shape, dice)
    levels = {one: dice.uniform(math.log(20), math.log(900)) for one in graph}
    noise = {one: dice.uniform(0.04, 0.25) for one in graph}
    whole, weekend, growth = dice.uniform(0.03, 0.15), math.log(dice.uniform(0.4, 1.0)), dice.uniform(-0.1, 0.4) / 365
    shift_at, shift = dice.randrange(10, 4 * count), dice.choice((-1, 1)) * dice.uniform(0.2, 0.5)
    slots = dice.choice((2, 4, 16, 64, 64))
    runs, delayed = [], {}
    for number in range(count):
        begun = _BEGIN + number * _DAY_S + dice.uniform(0, 30)
        factor = dice.gauss(0, whole) + (weekend if number % 7 >= 5 else 0.0) + growth * number  # noqa: PLR2004
        factor += shift if number >= shift_at else 0.0
        times = {one: math.exp(levels[one] + factor + dice.gauss(0, noise[one])) for one in graph}
        luck, slow, usual = dice.random(), "", 0.0
        if luck < _SLOW_TASK:
            slow = dice.choice(sorted(graph))
            usual = times[slow]
            times[slow] *= dice.uniform(2, 6)
        elif luck < _SLOW_TASK + _SLOW_RUN:
            by = dice.uniform(1.4, 2.2)
            times = {one: value * by for one, value in times.items()}
        run = _played(name, f"scheduled__{number}", begun, graph, times, slots, dice)
        runs.append(run)
        if luck < _SLOW_TASK + _SLOW_RUN:
            delayed[run.run_id] = run.tasks[slow].start + usual if slow else 0.0
    lasted = sorted(float(run.ended or 0) - run.begun for run in runs)
    allowed = lasted[int(0.5 * len(lasted))] * dice.uniform(1.15, 1.6)
    return RunHistory(name, tuple(runs), graph, allowed, delayed)


def _played(  # noqa: PLR0913, PLR0917 - what a run is made of
    dag_id: str,
    run_id: str,
    begun: float,
    graph: dict[str, set[str]],
    times: dict[str, float],
    slots: int,
    dice: Random,
) -> RunTimes:
    """A run whose tasks begin when those before them have ended and a slot is free."""
    run = RunTimes(dag_id, run_id, begun, succeeded=True)
    waiting = dict.fromkeys(graph, 0)
    for following in graph.values():
        for one in following:
            waiting[one] += 1
    ready = [(dice.uniform(0.5, 3), one) for one in sorted(graph) if not waiting[one]]
    heapq.heapify(ready)
    busy: list[tuple[float, str]] = []
    now = 0.0
    while ready or busy:
        while ready and len(busy) < slots and (ready[0][0] <= now or not busy):
            at, one = heapq.heappop(ready)
            now = max(now, at)
            run.add(one, begun + now, begun + now + times[one])
            heapq.heappush(busy, (now + times[one], one))
        nearest = busy[0][0] if busy else now
        if ready and len(busy) < slots and ready[0][0] < nearest:
            now = ready[0][0]
            continue
        if busy:
            now, done = heapq.heappop(busy)
            for one in sorted(graph[done]):  # the order of a set differs from process to process
                waiting[one] -= 1
                if not waiting[one]:
                    heapq.heappush(ready, (now + dice.uniform(0.5, 6), one))
    run.ended = begun + now + dice.uniform(0.2, 3)
    return run
