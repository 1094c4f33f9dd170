"""Histories of shapes that the rule of what is usual was not shaped for, with the same faults planted.

Tails, mixtures, small counts, zeros, rhythms that no part of the calendar has, and clocks of other zones. Each history
follows from a seed and the name of its shape. ``OTHERS`` holds every shape.
"""

# ruff: noqa: PLR2004 - the numbers are the shapes

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from random import Random
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from benchmarks.etl_histories import FAULTS, History, Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["OTHERS", "Other", "other_histories"]

_FAULTY = 0.03
_AFTER_SHIFT = 4
_BEGIN = datetime(2024, 1, 1)  # noqa: DTZ001 - the zone is that of the shape
_MONDAY, _THURSDAY, _FRIDAY, _SATURDAY = 0, 3, 4, 5


@dataclass(frozen=True)
class Other:
    """A shape: the factor of each run beside the level, the spread of its normal noise (log), and when it runs."""

    factor: Callable[[datetime, int, Random], float] = lambda _at, _day, _dice: 1.0
    noise: float = 0.08
    level: float = 20_000.0
    hours: tuple[float, ...] = (6.0,)
    days: int = 365
    every_days: int = 1
    zone: str = "UTC"
    shifts: tuple[int, ...] = ()
    """The days of a new level; the first values after one are not judged."""
    says_zone: bool = True
    """False: the detector is not told the zone, and takes UTC."""


def _weekly(at: datetime) -> float:
    return 0.3 if at.weekday() >= _SATURDAY else 1.0


def _by_hour(at: datetime) -> float:
    return math.exp(1.5 * math.sin(math.pi * (at.hour - 6) / 12))


def _student(dice: Random) -> float:
    """A number of Student's t distribution with 3 degrees of freedom."""
    return dice.gauss(0, 1) / math.sqrt(dice.gammavariate(1.5, 2) / 3)


def _poisson(mean: float, dice: Random) -> float:
    limit, count, product = math.exp(-mean), 0, dice.random()
    while product > limit:
        count, product = count + 1, product * dice.random()
    return float(count)


def _of_mean(mean: float) -> Other:
    return Other(lambda _at, _day, dice: _poisson(mean, dice), noise=0.0, level=1.0)


def _last_day(at: datetime) -> bool:
    return (at + timedelta(days=1)).month != at.month


_EVERY_HOUR = tuple(float(hour) for hour in range(24))
OTHERS = {
    "hours that differ twentyfold": Other(lambda at, _day, _dice: _by_hour(at), hours=_EVERY_HOUR, days=70),
    "hours of Berlin": Other(
        lambda at, _day, _dice: _by_hour(at) * _weekly(at), hours=_EVERY_HOUR, days=120, zone="Europe/Berlin"
    ),
    "hours of Sydney": Other(
        lambda at, _day, _dice: _by_hour(at) * _weekly(at), hours=_EVERY_HOUR, days=120, zone="Australia/Sydney"
    ),
    "mornings of Sydney, zone not said": Other(
        lambda at, _day, _dice: _weekly(at), hours=(10.5,), zone="Australia/Sydney", says_zone=False
    ),
    "five runs a day": Other(lambda at, _day, _dice: _weekly(at), hours=(1.0, 6.0, 11.0, 16.0, 21.0), days=150),
    "weekly runs": Other(days=1000, every_days=7),
    "month ends only": Other(lambda at, _day, _dice: float(_last_day(at)), days=730),
    "Poisson counts of 1": _of_mean(1),
    "Poisson counts of 3": _of_mean(3),
    "Poisson counts of 8": _of_mean(8),
    "Poisson counts of 20": _of_mean(20),
    "two steps, eight days apart": Other(
        lambda _at, day, _dice: 1.9 if 150 <= day < 158 else 1.0 + (day >= 158), shifts=(150, 158)
    ),
    "two steps, sixty days apart": Other(lambda _at, day, _dice: 1.0 + (day >= 120) + (day >= 180), shifts=(120, 180)),
    "drift": Other(lambda at, day, _dice: math.exp(2 * day / 365) * _weekly(at)),
    "a year's season": Other(lambda at, day, _dice: math.exp(0.7 * math.sin(2 * math.pi * day / 365)) * _weekly(at)),
    "a summer at a third": Other(
        lambda at, day, _dice: _weekly(at) * (0.35 if 200 <= day < 221 else 1.0), shifts=(200, 221)
    ),
    "noise that remembers": Other(),
    "noise that trebles": Other(lambda _at, day, dice: math.exp(dice.gauss(0, 0.2 * (day > 180)))),
    "Student's t of 3": Other(lambda _at, _day, dice: math.exp(0.1 * _student(dice)), noise=0.0),
    "4 % off by half": Other(lambda _at, _day, dice: math.exp(dice.gauss(0, 0.5)) if dice.random() < 0.04 else 1.0),
    "exponential": Other(lambda _at, _day, dice: dice.expovariate(1), noise=0.0),
    "lognormal of 0.4": Other(noise=0.4),
    "evenly within 30 %": Other(lambda _at, _day, dice: dice.uniform(0.7, 1.3), noise=0.0),
    "two kinds at random": Other(lambda _at, _day, dice: 3.0 if dice.random() < 0.2 else 1.0),
    "often full, else a tenth": Other(lambda _at, _day, dice: 0.1 if dice.random() < 0.4 else 1.0),
    "every second day": Other(lambda _at, day, _dice: 1.0 + 1.5 * (day % 2)),
    "every second Friday": Other(lambda at, day, _dice: 4.0 if at.weekday() == _FRIDAY and day % 14 < 7 else 1.0),
    "each 15th": Other(lambda at, _day, _dice: 3.0 if at.day == 15 else 1.0),
    "first Mondays": Other(lambda at, _day, _dice: 3.0 if at.weekday() == _MONDAY and at.day <= 7 else _weekly(at)),
    "ends of quarters": Other(lambda at, _day, _dice: 3.0 if _last_day(at) and at.month % 3 == 0 else 1.0, days=730),
    "weekends of Friday and Saturday": Other(lambda at, _day, _dice: 0.3 if at.weekday() in {4, 5} else 1.0),
    "a third of the values zero": Other(lambda _at, _day, dice: float(dice.random() > 1 / 3)),
    "zeros at weekends": Other(lambda at, _day, _dice: float(at.weekday() < _SATURDAY)),
    "never twice the most": Other(lambda _at, _day, dice: min(1.0, math.exp(dice.gauss(0, 0.3))), noise=0.0),
    "always the same": Other(noise=0.0),
}
"""By name every shape."""


def other_histories(seed: int, of_each: int, warm_up_days: int = 28) -> Iterator[tuple[str, History, tzinfo]]:
    """``of_each`` histories of every shape: its name, the history, and the zone that a detector is told."""
    for name, shape in OTHERS.items():
        zone = ZoneInfo(shape.zone) if shape.says_zone else timezone.utc
        for number in range(of_each):
            yield name, _history(name, shape, Random(f"{seed}/{name}/{number}"), warm_up_days), zone


def _history(name: str, shape: Other, dice: Random, warm_up_days: int) -> History:
    level = shape.level if shape.level == 1 else shape.level * math.exp(dice.uniform(-2, 2))
    warm_up = warm_up_days * (3 if shape.every_days > 1 or shape.days > 365 else 1)
    zone, remembered, values = ZoneInfo(shape.zone), 0.0, []
    for day in range(0, shape.days, shape.every_days):
        for hour in shape.hours:
            at = (_BEGIN + timedelta(days=day, hours=hour)).replace(tzinfo=zone)
            noise = dice.gauss(0, shape.noise)
            if name == "noise that remembers":
                remembered = noise = 0.8 * remembered + noise
            value = round(level * shape.factor(at, day, dice) * math.exp(noise))
            judged = day >= warm_up and not any(0 <= day - shift < _AFTER_SHIFT for shift in shape.shifts)
            fault = dice.choice(tuple(FAULTS)) if judged and value and dice.random() < _FAULTY else None
            values.append(
                Value(at.timestamp(), float(round(value * FAULTS[fault]) if fault else value), fault, judged=judged)
            )
    return History(name, tuple(values), (shape.days - warm_up) / 30.4, frozenset())
