"""Histories of ETL measures with labelled faults, for detectors to be judged by.

Each history is made from a seed alone. ``SHAPES`` holds every parameter. Three values in a hundred are faults, of seven
kinds. The first values after a shift are not judged: nobody can know yet that the level has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FAULTS", "SHAPES", "History", "Shape", "Value", "histories", "planted"]

FAULTS = {"zero": 0.0, "tenth": 0.1, "third": 1 / 3, "halved": 0.5, "doubled": 2.0, "tripled": 3.0, "tenfold": 10.0}
"""The factor by which each kind of fault multiplies the value."""
_FAULTY = 0.03
_AFTER_SHIFT = 4
_WIDE = 50
_BEGIN = datetime(2024, 1, 1, tzinfo=timezone.utc)
_HOLIDAYS = ((1, 1), (1, 15), (2, 19), (5, 27), (6, 19), (7, 4), (9, 2), (10, 14), (11, 11), (11, 28), (12, 25))
"""Month and day of a year's holidays; they are the same in every year of a history."""


@dataclass(frozen=True)
class Shape:
    """The parameters of one kind of history; pairs are the bounds of a uniform choice."""

    name: str
    per_day: int = 1
    days: int = 365
    level: tuple[float, float] = (1e3, 1e6)
    noise: tuple[float, float] = (0.03, 0.12)
    weekend: tuple[float, float] | None = None
    weekdays: float = 0.0
    """The standard deviation of each weekday's own factor, on the logarithm."""
    no_weekends: bool = False
    month_end: tuple[float, float] | None = None
    holiday: tuple[float, float] | None = None
    trend: tuple[float, float] = (0.0, 0.0)
    """Growth in a year, on the logarithm."""
    shifts: int = 0
    backfills: int = 0
    night: float = 0.0
    """The drop at night, on the logarithm."""


SHAPES = (
    Shape("steady"),
    Shape("noisy", noise=(0.10, 0.16)),
    Shape("weekend", weekend=(0.2, 0.4)),
    Shape("weekdays", weekend=(0.3, 0.8), weekdays=0.2),
    Shape("busy weekend", weekend=(1.4, 3.0)),
    Shape("working days", no_weekends=True),
    Shape("month end", month_end=(1.6, 3.0), weekend=(0.3, 0.6)),
    Shape("holidays", weekend=(0.2, 0.4), holiday=(0.2, 0.4)),
    Shape("growth", trend=(0.5, 1.5), weekend=(0.3, 0.9)),
    Shape("decline", trend=(-1.2, -0.3)),
    Shape("shifts", shifts=2, weekend=(0.3, 0.8)),
    Shape("backfills", backfills=3, weekend=(0.3, 0.9)),
    Shape("small", level=(20.0, 200.0), weekend=(0.5, 0.9)),
    Shape("durations", level=(60.0, 3600.0), noise=(0.05, 0.14), weekend=(0.5, 1.0), shifts=1),
    Shape("hourly", per_day=24, days=60, night=1.2, noise=(0.04, 0.10), weekend=(0.4, 0.9)),
    Shape("every six hours", per_day=4, days=120, night=0.8, weekend=(0.3, 0.9)),
)


@dataclass(frozen=True, slots=True)
class Value:
    """One run's value: its time (s since 1970), what it was, its label, and whether a detector is asked about it."""

    time: float
    value: float
    fault: str | None = None
    ordinary: bool = True
    judged: bool = True


@dataclass(frozen=True, slots=True)
class History:
    """The values of one DAG's measure, oldest first, and the holidays of its calendar."""

    name: str
    values: tuple[Value, ...]
    months: float
    holidays: frozenset[date]


def histories(seed: int, of_each: int, warm_up_days: int = 28) -> Iterator[History]:
    """``of_each`` histories of every shape. The first ``warm_up_days`` are learned from and not judged."""
    for shape in SHAPES:
        for number in range(of_each):
            yield _history(shape, f"{shape.name} {number}", Random(f"{seed}/{shape.name}/{number}"), warm_up_days)


def _history(shape: Shape, name: str, dice: Random, warm_up_days: int) -> History:
    factor = _factors(shape, dice)
    noise = dice.uniform(*shape.noise)
    shifts = sorted(dice.sample(range(40, shape.days - 10), shape.shifts))
    sizes = [dice.choice((-1, 1)) * dice.uniform(0.35, 0.9) for _ in shifts]
    backfills = dice.sample(range(35, shape.days), shape.backfills)
    values: list[Value] = []
    since_shift = shape.days
    for day in range(shape.days):
        moment = _BEGIN + timedelta(days=day)
        if shape.no_weekends and moment.weekday() >= 5:  # noqa: PLR2004
            continue
        since_shift = 0 if day in shifts else since_shift
        moved = sum(size for at, size in zip(shifts, sizes, strict=True) if day >= at)
        for run in range(shape.per_day):
            at = moment + timedelta(
                hours=6 + 24 * run / shape.per_day if shape.per_day == 1 else 24 * run / shape.per_day
            )
            value = math.exp(factor(at) + moved + dice.gauss(0, noise))
            fault = dice.choice(tuple(FAULTS)) if dice.random() < _FAULTY else None
            judged = day >= warm_up_days and since_shift >= _AFTER_SHIFT
            since_shift += 1
            fault = fault if judged else None
            value = round(value * FAULTS[fault] if fault else value)
            values.append(Value(at.timestamp(), float(value), fault, judged=judged))
        if day in backfills:
            values += [
                Value(
                    moment.timestamp() + 70_000 + one,
                    float(round(values[-1].value * dice.uniform(0.05, 8))),
                    None,
                    False,
                    False,
                )
                for one in range(10)
            ]
    months = (shape.days - warm_up_days) / 30.4
    free = frozenset(date(year, *day) for year in (2024, 2025) for day in _HOLIDAYS) if shape.holiday else frozenset()
    return History(name, tuple(values), months, free)


def _factors(shape: Shape, dice: Random):  # type: ignore[no-untyped-def]  # noqa: ANN202
    level = (
        math.log(dice.uniform(*shape.level))
        if shape.level[1] / shape.level[0] < _WIDE
        else dice.uniform(*map(math.log, shape.level))
    )
    weekend = math.log(dice.uniform(*shape.weekend)) if shape.weekend else 0.0
    each = [dice.gauss(0, shape.weekdays) for _ in range(7)]
    month_end = math.log(dice.uniform(*shape.month_end)) if shape.month_end else 0.0
    holiday = math.log(dice.uniform(*shape.holiday)) if shape.holiday else 0.0
    trend = dice.uniform(*shape.trend)
    night = dice.uniform(0.5, 1.0) * shape.night

    def factor(at: datetime) -> float:
        found = level + each[at.weekday()] + trend * (at - _BEGIN).days / 365
        if (at.month, at.day) in _HOLIDAYS and shape.holiday:
            return found + holiday
        if at.weekday() >= 5:  # noqa: PLR2004
            found += weekend
        if (at + timedelta(days=1)).month != at.month:
            found += month_end
        return found - night * (1 + math.cos(2 * math.pi * (at.hour - 2) / 24)) / 2

    return factor


def planted(name: str, values: list[tuple[float, float]], seed: int, warm_up: int = 28) -> History:
    """A real series with faults planted in it; the first ``warm_up`` values are not judged."""
    dice = Random(f"{seed}/{name}")
    made = []
    for number, (time, value) in enumerate(values):
        judged = number >= warm_up and value > 0
        fault = dice.choice(tuple(FAULTS)) if judged and dice.random() < _FAULTY else None
        made.append(Value(time, float(round(value * FAULTS[fault])) if fault else value, fault, judged=judged))
    months = (values[-1][0] - values[min(warm_up, len(values) - 1)][0]) / (30.4 * 86_400)
    return History(name, tuple(made), max(months, 0.1), frozenset())
