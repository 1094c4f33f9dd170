"""The band in which a value is usual, learned from the same measure's own past.

One rule serves durations, rows, rejects, delays and rates, and needs no settings. It works on the logarithm, so that
"half" and "double" weigh the same. It takes the past apart into a level, the day of the week, the hour and the end of
the month. Each part is a median, so a few bad days in the past do not move it.

Sources: the parts are found by Tukey's median polish (Exploratory Data Analysis, 1977). The spread is the median
absolute deviation times 1.4826, which is the standard deviation of normal values.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from statistics import NormalDist, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

__all__ = ["Band", "Past", "usual_band", "usual_failures"]

_MOST = 600
"""Older values are not looked at: a quarter of a year of three runs a day, and eight months of one."""
_APART = 3.5
"""The last values are a new level where their median is more than so many of its errors from what was before."""
_FALSE_A_DAY = 0.0005
"""So many values a day may lie outside the band where all is well and the values are normal."""
_LEAST_WIDTH = math.log(1.4)
"""The difference below which nobody is notified, however steady the measure is."""
_LEAST_SPREAD = 0.045
"""A measure that hardly varies may differ by 17 % before it is unusual."""
_FEW_ZEROS = 0.04
"""A zero is usual where more of the past is zero than this."""
_SURE = 2.0
"""An effect is real where it is more than so many times its own error."""
_WEEKEND = frozenset((5, 6))
_HOURS = 2
_HIGHEST = 709.0
"""The logarithm of the largest number that there is."""
_YOUNG = 6
"""A new level of no more values may yet turn out to be some faults in a row."""
_LEAST_SHIFT = 0.18
"""A smaller step (1.2 times) needs no new level."""
_DAY_OFF = 0.35
"""The distance that a holiday may have from a weekend, on the logarithm."""
_ASSUMED = (0.5, 9.5)
"""Failures and successes that are assumed before any run is seen."""
_FALSE_OF_RUNS = 0.001
"""The chance of more failures than usual where all is as before."""


@dataclass(frozen=True, slots=True)
class Past:
    """A value of the past: its ``time`` (s since 1970), and the ``value``, which is not negative.

    ``ordinary`` is False for a backfill or a catch-up: such a run is neither learned from nor judged.
    """

    time: float
    value: float
    ordinary: bool = True


@dataclass(frozen=True, slots=True)
class Band:
    """From ``low`` to ``high`` is usual, ``expected`` the likeliest; ``why`` says what it was learned from.

    ``quiet`` is the level of a weekend where the value belongs to a working day. It may be a holiday that no calendar
    names. ``zero``: nothing at all is usual as well, on such a day.
    """

    low: float
    expected: float
    high: float
    why: str
    quiet: tuple[float, float] | None = None
    zero: bool = False

    def holds(self, value: float) -> bool:
        """True when ``value`` is usual, or what a day off looks like."""
        if self.zero and value == 0:
            return True
        return self.low <= value <= self.high or (self.quiet is not None and self.quiet[0] <= value <= self.quiet[1])


@dataclass(frozen=True, slots=True)
class _Moment:
    """The parts of the calendar that may matter for a value."""

    day: int
    weekday: int
    hour: int
    month_end: str
    holiday: bool

    def keys(self) -> dict[str, object]:
        """The key of each part."""
        return {
            "weekend": self.weekday in _WEEKEND,
            "weekday": self.weekday,
            "hour": self.hour,
            "month": self.month_end,
            "holiday": self.holiday,
        }


@dataclass(slots=True)
class _Fit:
    """The past of one measure, taken apart."""

    moments: list[_Moment]
    rest: list[float]
    parts: dict[str, dict[object, tuple[float, int]]]
    week: int


def usual_band(  # noqa: PLR0913 - the past, the moment, and what is known of the calendar
    past: Sequence[Past],
    at: float,
    *,
    deviations: float | None = None,
    least: int = 5,
    floor: float = 1.0,
    zone: tzinfo = timezone.utc,
    holidays: Collection[date] = (),
) -> Band | None:
    """The band for a value at the time ``at``, or None where the past holds fewer than ``least`` ordinary values.

    ``past`` is in order of time. ``deviations`` is half of the band in standard deviations; without it the band is so
    wide that a measure with normal noise is wrongly called unusual once in five years of daily values. ``floor`` is the
    size below which a difference does not matter, in the measure's own unit (a second, a row). ``holidays`` are dates
    in ``zone``; without them, a working day at the level of a weekend passes as a likely holiday.
    """
    ordinary = [one for one in past if one.ordinary and math.isfinite(one.value)][-_MOST:]
    if len(ordinary) < least:
        return None
    moment_of = _calendar(zone, holidays)
    here = moment_of(at)
    some = [one for one in ordinary if one.value > 0]
    zeros = _zeros(ordinary, here, moment_of)
    if len(some) < least:
        # Nearly always zero, such as rejected rows: what was seen, and a little more.
        most = max([one.value for one in ordinary])
        return Band(0.0, 0.0, max(2 * most, 5 * floor), f"{len(ordinary) - len(some)} of {len(ordinary)} were zero")
    fit = _take_apart([moment_of(one.time) for one in some], [math.log(one.value + floor) for one in some])
    level, spread, about = _level(fit)
    centre = level[0] + sum(fit.parts[name].get(key, (0.0, 0))[0] for name, key in here.keys().items())
    per_day = len(ordinary) / max(1, (ordinary[-1].time - ordinary[0].time) / 86_400)
    below, above = _sides(fit, here, spread, deviations or _deviations(per_day))
    # While a new level is young, what was usual before it stays usual.
    low, high = centre + min(0.0, level[1]) - below, centre + max(0.0, level[1]) + above
    why = ", ".join((f"{len(ordinary)} earlier values", *about, *_named(fit, here)))
    quiet = None if holidays else _day_off(fit, here, centre, below)

    def back(logarithm: float) -> float:
        return max(0.0, math.exp(min(logarithm, _HIGHEST)) - floor)

    return Band(
        back(low), back(centre), back(high), why, (back(quiet[0]), back(quiet[1])) if quiet else None, zero=zeros
    )


def _calendar(zone: tzinfo, holidays: Collection[date]) -> Callable[[float], _Moment]:
    free = frozenset(holidays)
    return lambda time: _moment(int(time // 900), zone, free)


@lru_cache(maxsize=20_000)
def _moment(quarter: int, zone: tzinfo, holidays: frozenset[date]) -> _Moment:
    """The calendar of a quarter of an hour; every zone's offset is a whole number of quarters today."""
    local = datetime.fromtimestamp(quarter * 900, zone)
    day = local.date()
    return _Moment(day.toordinal(), local.weekday(), local.hour, _month_end(day), day in holidays)


def _month_end(day: date) -> str:
    """``last``, ``last working`` or ``first`` for these days of a month, else an empty text."""
    following = day + timedelta(days=1)
    if following.month != day.month:
        return "last"
    if day.weekday() == 4 and (day + timedelta(days=3)).month != day.month:  # noqa: PLR2004 - Friday
        return "last working"
    return "first" if day.day == 1 else ""


def _zeros(past: Iterable[Past], here: _Moment, moment_of: Callable[[float], _Moment]) -> bool:
    """True when a zero is usual here: on such a weekday, or now and then on any."""
    alike = everywhere = zero_alike = zero = 0
    for one in past:
        everywhere += 1
        zero += one.value == 0
        if moment_of(one.time).weekday == here.weekday:
            alike += 1
            zero_alike += one.value == 0
    most = 0.3
    return zero_alike > max(1, most * alike) or (zero > max(2, _FEW_ZEROS * everywhere) and zero_alike > 0)


def _take_apart(moments: list[_Moment], logs: list[float]) -> _Fit:
    """Level and parts by repeated medians: each part is what is left when the others are taken away."""
    hours = len({one.hour for one in moments}) > _HOURS
    keys: dict[str, list[object]] = {
        "weekend": [one.weekday in _WEEKEND for one in moments],
        "weekday": [one.weekday for one in moments],
        "month": [one.month_end for one in moments],
    }
    if hours:
        keys["hour"] = [one.hour for one in moments]
    if any(one.holiday for one in moments):
        keys["holiday"] = [one.holiday for one in moments]
    parts: dict[str, dict[object, tuple[float, int]]] = {
        name: {} for name in ("weekend", "weekday", "month", "hour", "holiday")
    }
    rest = logs
    week = 7 * max(1, round(_per_day(moments)))
    for _ in range(2):
        trend = _trend(rest, week)
        for name, those in keys.items():
            rest, parts[name] = _part(rest, trend, those, parts[name])
    return _Fit(moments, rest, parts, week)


def _per_day(moments: list[_Moment]) -> float:
    return len(moments) / max(1, len({one.day for one in moments}))


def _trend(rest: Sequence[float], week: int) -> list[float]:
    """The level around each value: the median of the two weeks about it, known at each half a week."""
    count, step = len(rest), max(3, week // 2)
    known = [median(rest[max(0, at - week) : min(count, at + week + 1)]) for at in range(0, count, step)]
    return [known[at // step] for at in range(count)]


def _part(
    rest: list[float], trend: list[float], keys: list[object], before: dict[object, tuple[float, int]]
) -> tuple[list[float], dict[object, tuple[float, int]]]:
    """The rest without the effect of each key, and the effects, each with how many values it is learned from."""
    if before:
        rest = [value + before[key][0] for value, key in zip(rest, keys, strict=True)]
    groups: dict[object, list[float]] = defaultdict(list)
    for key, value, level in zip(keys, rest, trend, strict=True):
        groups[key].append(value - level)
    noise = _deviation([value for values in groups.values() for value in values])
    found: dict[object, tuple[float, int]] = {}
    for key, values in groups.items():
        effect, count = median(values), len(values)
        # An effect within its own error is chance, mostly: it is taken in part.
        error = 1.25 * noise / math.sqrt(count)
        sure = count > 1 and abs(effect) > _SURE * error
        found[key] = (effect if sure else effect * 0.2, count)
    return [value - found[key][0] for value, key in zip(rest, keys, strict=True)], found


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation about zero of what is not a fault."""
    return 1.4826 * median([abs(one) for one in values])


def _level(fit: _Fit) -> tuple[tuple[float, float], float, list[str]]:
    """The level now and how far from it the one before lies, the spread about it, and what is to be said of it."""
    rest = fit.rest
    week = fit.week
    trend = _trend(rest, week)
    count = min(len(rest), 13 * week)
    away = [one - level for one, level in zip(rest[-count:], trend[-count:], strict=True)]
    spread = max(_LEAST_SPREAD, _deviation(away)) * (1 + 2 / count)
    for new in (13, 9, 6, 4):
        last, before = rest[-new:], rest[-4 * week - new : -new]
        if len(before) < new:
            break
        was, now = median(before), median(last)
        error = 1.25 * spread * math.sqrt(1 / new + 1 / len(before))
        if (
            abs(now - was) > max(_APART * error, _LEAST_SHIFT)
            and sum((one > was) == (now > was) for one in last) >= new - new // 4
        ):
            young = (was - now) if new <= _YOUNG else 0.0
            return (now, young), spread * math.sqrt(1 + 1.6 / new), [f"at a new level since {new} values"]
    recent = rest[-4 * week :]
    half = len(recent) // 2
    if half >= week:
        rise = median(recent[half:]) - median(recent[:half])
        if abs(rise) > _APART * 1.25 * spread * math.sqrt(2 / half):
            return (median(recent) + rise, 0.0), spread, ["with their trend"]
    return (median(recent), 0.0), spread, []


def _deviations(per_day: float) -> float:
    """Half of the band: an hourly measure is judged more often, and may be wrong as seldom as a daily one."""
    # The spread is an estimate, so that the band is a little wider than the normal distribution asks.
    return NormalDist().inv_cdf(1 - _FALSE_A_DAY / max(1.0, per_day) / 2) + 0.3


def _sides(fit: _Fit, here: _Moment, spread: float, deviations: float) -> tuple[float, float]:
    """The usual distances below and above the centre (log)."""
    below = above = max(deviations * spread, _LEAST_WIDTH)
    alike = fit.parts["weekday"].get(here.weekday, (0.0, 0))[1]
    if alike < 2:  # noqa: PLR2004 - a weekday of which next to nothing is known
        below, above = below + 1.5, above + 0.7
    elif alike < 4:  # noqa: PLR2004
        below, above = below * 1.15, above * 1.15
    if here.month_end:
        known = fit.parts["month"].get(here.month_end, (0.0, 0))[1]
        if known < 2:  # noqa: PLR2004
            below, above = below + 0.4, above + 1.1
        elif known < 4:  # noqa: PLR2004
            below, above = below + 0.15, above + 0.3
    if here.holiday and fit.parts["holiday"].get(True, (0.0, 0))[1] < 2:  # noqa: PLR2004
        below += 1.5
    return below, above


def _day_off(fit: _Fit, here: _Moment, centre: float, width: float) -> tuple[float, float] | None:
    """The level of a weekend at a working day (log), where it cannot be taken for half of what is expected."""
    weekend = fit.parts["weekend"]
    if here.weekday in _WEEKEND or True not in weekend or False not in weekend:
        return None
    fall = weekend[True][0] - weekend[False][0]
    low, high = (
        centre + fall - width - _DAY_OFF,
        min(centre + fall + width + _DAY_OFF, centre - math.log(2) - 0.6 * width),
    )
    return (low, high) if fall < -math.log(2) and low < high else None


def _named(fit: _Fit, here: _Moment) -> list[str]:
    """The parts that matter here, in words."""
    days = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
    words = []
    weekday = fit.parts["weekday"].get(here.weekday, (0.0, 0))
    weekend = fit.parts["weekend"].get(here.weekday >= 5, (0.0, 0))[0]  # noqa: PLR2004
    if abs(weekday[0] + weekend) > 0.1 and weekday[1] > 1:  # noqa: PLR2004
        words.append(f"{weekday[1]} of them on {days[here.weekday]}")
    if abs(fit.parts["hour"].get(here.hour, (0.0, 0))[0]) > 0.1:  # noqa: PLR2004
        words.append(f"at {here.hour:02d} h")
    if here.month_end and abs(fit.parts["month"].get(here.month_end, (0.0, 0))[0]) > 0.1:  # noqa: PLR2004
        words.append(f"on the {here.month_end} day of a month")
    return words


def usual_failures(before: int, failed: int, lately: int, deviations: float | None = None) -> Band:
    """The number of failures that is usual in ``lately`` runs, where ``failed`` of those ``before`` them failed.

    The chance of a failure is not known but estimated, so the number follows the beta-binomial distribution with one
    failure in twenty runs as what is assumed before any is seen.
    """
    a, b = failed + _ASSUMED[0], before - failed + _ASSUMED[1]
    false = _FALSE_OF_RUNS if deviations is None else 2 * (1 - NormalDist().cdf(deviations))
    left, high = 1.0, -1
    while high < lately and left > false:
        high += 1
        left -= _beta_binomial(high, lately, a, b)
    why = f"{before} earlier runs, of which {failed} failed"
    return Band(0.0, lately * a / (a + b), float(max(1, high)), why)


def _beta_binomial(count: int, of: int, a: float, b: float) -> float:
    """The chance of ``count`` failures in ``of`` runs."""
    chosen = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    parts = math.lgamma(count + a) + math.lgamma(of - count + b) - math.lgamma(of + a + b)
    return math.exp(chosen + parts - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b))
