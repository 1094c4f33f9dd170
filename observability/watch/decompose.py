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
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

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
    """The distances of the values of the last quarter from the level of their time."""
    about: tuple[str, ...] = ()
    """Notable facts, in words."""


def calendar(zone: tzinfo, holidays: Collection[date]) -> Callable[[float], Moment]:
    """The function that gives the calendar of a time (seconds since 1970) in a zone."""
    free = frozenset(holidays)
    return lambda time: _moment(int(time // 900), zone, free)


@lru_cache(maxsize=20_000)
def _moment(quarter: int, zone: tzinfo, holidays: frozenset[date]) -> Moment:
    """The calendar of a quarter of an hour; every zone's offset is a whole number of quarters today."""
    local = datetime.fromtimestamp(quarter * 900, zone)
    day = local.date()
    return Moment(day.toordinal(), local.weekday(), local.hour, _month_end(day), day.day, day in holidays)


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
    keys |= {
        "weekend": [one.weekday in WEEKEND for one in moments],
        "weekday": [one.weekday for one in moments],
        "month": [one.month_end for one in moments],
    }
    if any(one.holiday for one in moments):
        keys["holiday"] = [one.holiday for one in moments]
    effects: dict[str, dict[object, tuple[float, int]]] = {
        name: {} for name in ("hour", "weekend", "weekday", "month", "holiday")
    }
    rest = logs
    week = 7 * max(1, round(len(moments) / max(1, len({one.day for one in moments}))))
    for _ in range(2):
        trend = _trend(rest, week)
        for name, those in keys.items():
            rest, effects[name] = _effects(rest, trend, those, effects[name])
    return Parts(moments, rest, effects, week)


def _trend(rest: Sequence[float], week: int) -> list[float]:
    """The level around each value: the median of the two weeks about it, known at each half a week."""
    count, step = len(rest), max(3, week // 2)
    known = [median(rest[max(0, at - week) : min(count, at + week + 1)]) for at in range(0, count, step)]
    return [known[at // step] for at in range(count)]


def _effects(
    rest: list[float], trend: list[float], keys: list[object], before: dict[object, tuple[float, int]]
) -> tuple[list[float], dict[object, tuple[float, int]]]:
    """The rest without the effect of each key, and the effects, each with how many values it is learned from."""
    if before:
        rest = [value + before[key][0] for value, key in zip(rest, keys, strict=True)]
    groups: dict[object, list[float]] = defaultdict(list)
    for key, value, level in zip(keys, rest, trend, strict=True):
        groups[key].append(value - level)
    middles = {key: median(values) for key, values in groups.items()}
    noise = _deviation([value - middles[key] for key, values in groups.items() for value in values])
    found: dict[object, tuple[float, int]] = {}
    for key, values in groups.items():
        effect, count = middles[key], len(values)
        # An effect within its own error is chance, mostly: it is taken in part.
        own = _deviation([value - effect for value in values])
        error = 1.25 * max(noise, own) / math.sqrt(count)
        sure = count > 1 and abs(effect) > _SURE * error
        found[key] = (effect if sure else effect * 0.2, count)
    return [value - found[key][0] for value, key in zip(rest, keys, strict=True)], found


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation about zero of what is not a fault."""
    return 1.4826 * median([abs(one) for one in values])


def level_of(parts: Parts) -> Level:
    """The level now, and how values lie about it."""
    rest, week = parts.rest, parts.week
    trend = _trend(rest, week)
    count = min(len(rest), 13 * week)
    away = [one - level for one, level in zip(rest[-count:], trend[-count:], strict=True)]
    spread = max(_LEAST_SPREAD, _deviation(away)) * (1 + 2 / count)
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
