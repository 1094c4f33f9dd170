"""Take the past of a measure apart: a level, and what weekends, weekdays, hours and dates add to it.

Works on logarithms. Each part is a median, so that a few bad values in the past do not move it (Tukey's median polish,
Exploratory Data Analysis, 1977). The spread is the median absolute deviation times 1.4826, which is the standard
deviation of normal values.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import chain
from operator import add, sub
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["WEEKEND", "Level", "Moment", "Parts", "calendar", "level_of", "take_apart"]

WEEKEND = frozenset((5, 6))
_APART = 3.5
"""The last values are a new level where their median is more than so many of its errors from what was before."""
_LEAST_SPREAD = 0.045
"""A measure that hardly varies may differ by 17 % before it is unusual."""
_SURE = 2.0
"""An effect is real where it is more than so many times its own error."""
_HOURS = 2
_YOUNG = 6
"""A new level of no more values may yet turn out to be some faults in a row."""
_LEAST_SHIFT = 0.18
"""A smaller step (1.2 times) needs no new level."""
_LATELY_MORE = 1.6
"""The values of the last three weeks vary more than before where their spread is so many times the whole one."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The parts of the calendar that may matter for a value."""

    day: int
    weekday: int
    hour: int
    month_end: str
    date: int
    month: int
    holiday: bool

    def keys(self) -> dict[str, object]:
        """The key of each part."""
        return {
            "weekend": self.weekday in WEEKEND,
            "weekday": self.weekday,
            "hour": self.hour,
            "month": self.month_end,
            "holiday": self.holiday,
        }


@dataclass(slots=True)
class Parts:
    """The past of one measure, taken apart: ``rest`` is what the effects of the calendar leave of each value."""

    moments: list[Moment]
    rest: list[float]
    effects: dict[str, dict[object, tuple[float, int]]]
    """By part and key the effect, and the number of values from which it is learned."""
    week: int
    """The number of values in a week."""


@dataclass(frozen=True, slots=True)
class Level:
    """The level now, how far from it the one before lies while it is young, and the values about it."""

    now: float
    before: float
    spread: float
    away: tuple[float, ...]
    """The distances of all values from the level of their time, in order of time."""
    about: tuple[str, ...] = ()
    """Notable facts, in words."""


class _Calendar(dict[int, "Moment"]):
    """The calendar of each quarter of an hour that was asked for; every zone's offset is a whole number of them today.

    It forgets all when it has grown to ``most``.
    """

    most = 50_000

    def __init__(self, zone: tzinfo, holidays: frozenset[date]) -> None:
        super().__init__()
        self._zone, self._holidays = zone, holidays

    def __missing__(self, quarter: int) -> Moment:
        if len(self) >= self.most:
            self.clear()
        local = datetime.fromtimestamp(quarter * 900, self._zone)
        day = local.date()
        made = Moment(
            day.toordinal(), local.weekday(), local.hour, _month_end(day), day.day, day.month, day in self._holidays
        )  # fmt: skip
        self[quarter] = made
        return made


@lru_cache(maxsize=64)
def calendar(zone: tzinfo, holidays: frozenset[date]) -> Callable[[float], Moment]:
    """The function that gives the calendar of a time (seconds since 1970) in a zone."""
    known = _Calendar(zone, holidays)
    return lambda time: known[int(time // 900)]


def _month_end(day: date) -> str:
    """``last``, ``last working`` or ``first`` for these days of a month, else an empty text."""
    following = day + timedelta(days=1)
    if following.month != day.month:
        return "last"
    if day.weekday() == 4 and (day + timedelta(days=3)).month != day.month:  # noqa: PLR2004 - Friday
        return "last working"
    return "first" if day.day == 1 else ""


def take_apart(moments: list[Moment], logs: list[float]) -> Parts:
    """Level and parts by repeated medians: each part is what is left when the others are taken away."""
    keys: dict[str, list[object]] = {}
    if len({one.hour for one in moments}) > _HOURS:
        keys["hour"] = [one.hour for one in moments]
    weekdays = [one.weekday for one in moments]
    keys |= {
        "weekend": [one in WEEKEND for one in weekdays],
        "weekday": [*weekdays],
        "month": [one.month_end for one in moments],
    }
    if any(one.holiday for one in moments):
        keys["holiday"] = [one.holiday for one in moments]
    places = {name: _places(those) for name, those in keys.items()}
    effects: dict[str, dict[object, tuple[float, int]]] = {
        name: {} for name in ("hour", "weekend", "weekday", "month", "holiday")
    }
    rest = logs
    week = 7 * max(1, round(len(moments) / max(1, len({one.day for one in moments}))))
    for _ in range(2):
        trend = _trend(rest, week)
        bare = list(map(sub, rest, trend))
        for name, those in places.items():
            effects[name] = _take_effects(bare, those, effects[name])
        rest = list(map(add, bare, trend))
    return Parts(moments, rest, effects, week)


def _places(keys: list[object]) -> dict[object, list[int]]:
    """By key the places at which it stands."""
    found: dict[object, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        found[key].append(place)
    return found


def _trend(rest: Sequence[float], week: int) -> list[float]:
    """The level around each value: the median of the two weeks about it, known at each half a week."""
    count, step = len(rest), max(3, week // 2)
    known = [_middle(sorted(rest[max(0, at - week) : at + week + 1])) for at in range(0, count, step)]
    return [level for level in known for _ in range(step)][:count]


def _take_effects(
    bare: list[float], places: dict[object, list[int]], before: dict[object, tuple[float, int]]
) -> dict[object, tuple[float, int]]:
    """The effect of each key, with how many values it is learned from. It is taken from the values, in their places.

    ``before`` has the effects that were taken from them already.
    """
    middles: dict[object, tuple[float, list[float]]] = {}
    for key, those in places.items():
        values = sorted([bare[place] for place in those])
        middle, half = _middle(values), len(values) // 2
        above = [one - middle for one in values[half:]]
        middles[key] = middle, sorted([*above, *[middle - one for one in values[:half]]])
    noise = 1.4826 * _middle(sorted(chain.from_iterable(away for _, away in middles.values())))
    found: dict[object, tuple[float, int]] = {}
    for key, (middle, away) in middles.items():
        taken = before[key][0] if before else 0.0
        effect, count = middle + taken, len(away)
        # An effect within its own error is chance, mostly: it is taken in part.
        error = 1.25 * max(noise, 1.4826 * _middle(away)) / math.sqrt(count)
        sure = count > 1 and abs(effect) > _SURE * error
        found[key] = (effect if sure else effect * 0.2, count)
        if more := found[key][0] - taken:
            for place in places[key]:
                bare[place] -= more
    return found


def _middle(ordered: Sequence[float]) -> float:
    """The median of values that are in order."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation about zero of what is not a fault."""
    return 1.4826 * _middle(sorted(map(abs, values)))


def level_of(parts: Parts) -> Level:
    """The level now, and how values lie about it."""
    rest, week = parts.rest, parts.week
    away = list(map(sub, rest, _trend(rest, week)))
    count = min(len(rest), 13 * week)
    spread = max(_LEAST_SPREAD, _deviation(away[-count:])) * (1 + 2 / count)
    if count > 6 * week and (lately := _deviation(away[-3 * week :])) > _LATELY_MORE * spread:
        spread = lately
    for new in (13, 9, 6, 4):
        last, before = rest[-new:], rest[-4 * week - new : -new]
        if len(before) < new:
            break
        was, now = median(before), median(last)
        error = 1.25 * spread * math.sqrt(1 / new + 1 / len(before))
        most = new - new // 4
        if (
            abs(now - was) > max(_APART * error, _LEAST_SHIFT)
            and sum((one > was) == (now > was) for one in last) >= most
            and sum(abs(one - now) < 4 * spread for one in last) >= most  # else it holds two levels
        ):
            young = (was - now) if new <= _YOUNG else 0.0
            about = (f"at a new level since {new} values",)
            return Level(now, young, spread * math.sqrt(1 + 1.6 / new), tuple(away), about)
    recent = rest[-4 * week :]
    half = len(recent) // 2
    middle = median(recent)
    if half >= week:
        rise = median(recent[half:]) - median(recent[:half])
        newest = median(recent[-week:])
        goes_on = abs(newest - middle - rise) < abs(newest - middle)  # a step that was taken back is no trend
        if goes_on and abs(rise) > _APART * 1.25 * spread * math.sqrt(2 / half):
            return Level(middle + rise, 0.0, spread, tuple(away), ("with their trend",))
    return Level(middle, 0.0, spread, tuple(away))
