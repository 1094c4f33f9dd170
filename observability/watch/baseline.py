"""The band in which a value is usual, learned from the same measure's own past.

One rule serves durations, rows, rejects, delays and rates, and needs no settings. It works on the logarithm, so that
"half" and "double" weigh the same. :mod:`observability.watch.decompose` takes the past apart into a level and the parts
of the calendar. A difference that has come several times is usual, so that tails and two kinds of runs are learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timezone, tzinfo
from functools import lru_cache
from itertools import islice, takewhile
from statistics import NormalDist, median
from typing import TYPE_CHECKING

from observability.watch.decompose import WEEKEND, calendar, level_of, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from observability.watch.decompose import Level, Moment, Parts

__all__ = ["Band", "Past", "usual_band"]

_MOST = 600
"""Older values are not looked at: a quarter of a year of three runs a day, and eight months of one."""
_FALSE_A_DAY = 0.0005
"""So many values a day may lie outside the band where all is well and the values are normal."""
_LEAST_WIDTH = math.log(1.4)
"""The difference below which nobody is notified, however steady the measure is."""
_RARE = 0.04
"""A share of the past below which a thing is no part of what is usual: a zero, or anything but zero."""
_OFTEN_ZERO = 0.15
"""Zeros that are so frequent are usual on every weekday that has had none by chance."""
_SMALL = 12
"""Counts of no more vary by chance down to zero."""
_COUNTS = 50
"""Whole numbers up to here may be counts of what happens by chance (Poisson)."""
_CHANCE = 0.7
"""A count varies by chance where its spread is at least this share of what chance makes."""
_TAIL, _TAIL_LEAST = math.log(1.8), 0.01
"""A difference of no more is usual where so large a share of the past differs as much, to the same side."""
_CHAIN, _CHAIN_LEAST = 1.35, 4
"""Differences are usual where so many form a chain, in which each is at most so many times the one before."""
_OUTER, _INNER = 0.1, 0.25
_FAT, _FAT_FEW = 1.2, 4.0
"""The shares of the past by which the tail of one side is measured."""
_MORE_THAN_BEFORE = 3.0
"""A value in a rhythm may differ by so many standard deviations from those before it in the rhythm."""
_HIGHEST = 709.0
"""The logarithm of the largest number that there is."""
_DAY_OFF = 0.35
"""The distance that a holiday may have from a weekend, on the logarithm."""


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
    moment_of = calendar(zone, frozenset(holidays))
    here = moment_of(at)
    values = [one for one in ordinary if one.value > 0]
    if _are_exceptions(values, ordinary, here, moment_of, least):
        # Nearly always zero, such as rejected rows: what was seen more than now and then, and a little more.
        rare = 0 if _had_some(ordinary, here, moment_of) else int(_RARE * len(ordinary))
        most = sorted(one.value for one in ordinary)[-1 - rare]
        return Band(0.0, 0.0, max(2 * most, 5 * floor), f"{len(ordinary) - len(values)} of {len(ordinary)} were zero")
    zeros = _zeros(ordinary, here, moment_of)
    if zeros and median([one.value for one in values]) <= _SMALL:
        values, zeros = ordinary, False  # counts for which zero is a number like any other
    parts = take_apart([moment_of(one.time) for one in values], [math.log(one.value + floor) for one in values])
    level = level_of(parts)
    centre = level.now + sum(parts.effects[name].get(key, (0.0, 0))[0] for name, key in here.keys().items())
    per_day = len(ordinary) / max(1, (ordinary[-1].time - ordinary[0].time) / 86_400)
    width = deviations or _deviations(per_day)
    below, above = _in_its_rhythm(parts, here, level, _sides(parts, here, level, width))
    # While a new level is young, what was usual before it stays usual.
    low, high = centre + min(0.0, level.before) - below, centre + max(0.0, level.before) + above
    why = ", ".join((f"{len(ordinary)} earlier values", *level.about, *_named(parts, here)))
    quiet = None if holidays else _day_off(parts, here, centre, below)

    def back(logarithm: float) -> float:
        return max(0.0, math.exp(min(logarithm, _HIGHEST)) - floor)

    least_usual, most_usual = back(low), back(high)
    if floor == 1 and back(centre) <= _COUNTS and all(one.value == int(one.value) for one in values):
        chance = _by_chance(back(centre), level.spread, width)
        least_usual, most_usual = min(least_usual, chance[0]), max(most_usual, chance[1])
    off = (back(quiet[0]), back(quiet[1])) if quiet else None
    return Band(least_usual, back(centre), most_usual, why, off, zero=zeros)


def _are_exceptions(
    values: Sequence[Past], ordinary: Sequence[Past], here: Moment, moment_of: Callable[[float], Moment], least: int
) -> bool:
    """True where zero is the rule and other values are exceptions, also on such a day of the month."""
    mostly = 2 * len(values) < len(ordinary)
    few = len(values) < max(least, _RARE * len(ordinary))
    if not (few or (mostly and median([one.value for one in values]) <= _SMALL)):
        return False
    return len(values) < least or not _had_some(ordinary, here, moment_of)


def _had_some(ordinary: Sequence[Past], here: Moment, moment_of: Callable[[float], Moment]) -> bool:
    """True on a day at the turn of a month on which the value was mostly not zero."""
    if not here.month_end:
        return False
    alike = [one.value > 0 for one in ordinary if moment_of(one.time).month_end == here.month_end]
    return 2 * sum(alike) > len(alike)


def _zeros(past: Sequence[Past], here: Moment, moment_of: Callable[[float], Moment]) -> bool:
    """True when a zero is usual here: on such a weekday, on such a day of the month, or now and then on any."""
    if all(one.value for one in past):
        return False
    by_day: dict[int, list[bool]] = {}
    in_month = []
    for one in past:
        moment = moment_of(one.time)
        by_day.setdefault(moment.weekday, []).append(one.value == 0)
        if moment.month_end == here.month_end:
            in_month.append((moment.weekday, one.value == 0))
    alike = by_day.get(here.weekday, [])
    most = 0.3
    if here.month_end and not any(zero for _, zero in in_month):
        by_weekday = [1 - sum(by_day[day]) / len(by_day[day]) for day, _ in in_month]
        if math.prod(by_weekday) < 0.1:  # noqa: PLR2004 - more than luck: it never was on such a day
            return False
    if sum(alike) > max(1, most * len(alike)):
        return True
    # A weekday that is mostly zero says nothing of the others.
    others = [zero for those in by_day.values() if 2 * sum(those) <= len(those) for zero in those]
    share = sum(others) / max(1, len(others))
    by_luck = (1 - share) ** len(alike)  # the chance that none of these is zero though others are
    often = share > _OFTEN_ZERO and by_luck > 0.02  # noqa: PLR2004
    return sum(others) > max(2, _RARE * len(others)) and (any(alike) or often)


def _deviations(per_day: float) -> float:
    """Half of the band: an hourly measure is judged more often, and may be wrong as seldom as a daily one."""
    # The spread is an estimate, so that the band is a little wider than the normal distribution asks.
    return NormalDist().inv_cdf(1 - _FALSE_A_DAY / max(1.0, per_day) / 2) + 0.3


def _by_chance(expected: float, spread: float, width: float) -> tuple[float, float]:
    """The counts that chance makes where so many are expected; the same where the count varies by less than chance.

    By Anscombe's transformation the square root of a count varies alike for small and large ones.
    """
    varies = spread * math.sqrt(expected + 1)
    if varies < _CHANCE:
        return expected, expected
    root, half = math.sqrt(expected + 3 / 8), width * max(1.0, varies) / 2
    return max(0.0, root - half) ** 2 - 3 / 8, (root + half) ** 2 - 3 / 8


def _sides(parts: Parts, here: Moment, level: Level, deviations: float) -> tuple[float, float]:
    """The usual distances below and above the centre (log)."""
    narrow = max(deviations * level.spread, _LEAST_WIDTH)
    ordered = sorted(level.away)
    below = _with_tail([-one for one in reversed(ordered)], narrow, deviations)
    above = _with_tail(ordered, narrow, deviations)
    alike = parts.effects["weekday"].get(here.weekday, (0.0, 0))[1]
    if alike < 2:  # noqa: PLR2004 - a weekday of which next to nothing is known
        below, above = below + 1.5, above + 0.7
    elif alike < 4:  # noqa: PLR2004
        below, above = below * 1.15, above * 1.15
    if here.month_end:
        known = parts.effects["month"].get(here.month_end, (0.0, 0))[1]
        if known < 2:  # noqa: PLR2004
            below, above = below + 0.4, above + 1.1
        elif known < 4:  # noqa: PLR2004
            below, above = below + 0.15, above + 0.3
    if here.holiday and parts.effects["holiday"].get(True, (0.0, 0))[1] < 2:  # noqa: PLR2004
        below += 1.5
    return below, above


def _in_its_rhythm(parts: Parts, here: Moment, level: Level, sides: tuple[float, float]) -> tuple[float, float]:
    """The same distances, wide enough for what came twice on the last three days of one of its rhythms, once a day."""
    if parts.week > 7:  # noqa: PLR2004 - it runs more often than daily
        return sides
    below, above = sides
    for alike in _rhythms(here):
        last = sorted(islice((away for one, away in _backwards(parts, level) if alike(one)), 3))
        if len(last) > 1:
            more = _MORE_THAN_BEFORE * level.spread
            below, above = max(below, more - last[1]), max(above, more + last[-2])
    return below, above


def _rhythms(here: Moment) -> Iterator[Callable[[Moment], bool]]:
    """The days that are like this one: its date, each second week, its weekday in the month, the end of a quarter."""
    yield lambda one: one.date == here.date
    yield lambda one: (here.day - one.day) % 14 == 0
    yield lambda one: one.weekday == here.weekday and (one.date - 1) // 7 == (here.date - 1) // 7
    if here.month_end:
        yield lambda one: one.month_end == here.month_end and (here.month - one.month) % 3 == 0


def _backwards(parts: Parts, level: Level) -> Iterator[tuple[Moment, float]]:
    return zip(reversed(parts.moments), reversed(level.away), strict=True)


def _with_tail(ordered: Sequence[float], narrow: float, deviations: float) -> float:
    """The distance up to which values are usual above zero, where the past has more of them than normal values have."""
    count = len(ordered)
    usual = narrow
    outer, inner = ordered[-1 - int(_OUTER * count)], max(0.0, ordered[-1 - int(_INNER * count)])
    # The line through two quantiles goes on to where so few are left as ``deviations`` leave of normal values.
    steep = (outer - inner) / (_normal(_OUTER) - _normal(_INNER))
    reached = outer + steep * (deviations - _normal(_OUTER))
    if reached > (_FAT + _FAT_FEW / math.sqrt(count)) * narrow:
        usual = reached
    beyond = list(takewhile(lambda one: one > usual, reversed(ordered)))[::-1]
    chain = usual
    length = 0
    for one in beyond:
        if one > _CHAIN * chain:
            break
        chain, length = one, length + 1
    if length >= max(_CHAIN_LEAST, _TAIL_LEAST * count):
        return 1.1 * chain
    tail = [one for one in beyond if one <= _TAIL]
    return min(1.05 * tail[-1], _TAIL) if len(tail) >= max(2, _TAIL_LEAST * count) else usual


@lru_cache(maxsize=16)
def _normal(share: float) -> float:
    """The distance above which that share of normal values lies, in standard deviations."""
    return NormalDist().inv_cdf(1 - share)


def _day_off(parts: Parts, here: Moment, centre: float, width: float) -> tuple[float, float] | None:
    """The level of a weekend at a working day (log), where it cannot be taken for half of what is expected."""
    weekend = parts.effects["weekend"]
    if here.weekday in WEEKEND or True not in weekend or False not in weekend:
        return None
    fall = weekend[True][0] - weekend[False][0]
    low, high = (
        centre + fall - width - _DAY_OFF,
        min(centre + fall + width + _DAY_OFF, centre - math.log(2) - 0.6 * width),
    )
    return (low, high) if fall < -math.log(2) and low < high else None


def _named(parts: Parts, here: Moment) -> list[str]:
    """The parts that matter here, in words."""
    days = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")
    words = []
    weekday = parts.effects["weekday"].get(here.weekday, (0.0, 0))
    weekend = parts.effects["weekend"].get(here.weekday >= 5, (0.0, 0))[0]  # noqa: PLR2004
    if abs(weekday[0] + weekend) > 0.1 and weekday[1] > 1:  # noqa: PLR2004
        words.append(f"{weekday[1]} of them on {days[here.weekday]}")
    if abs(parts.effects["hour"].get(here.hour, (0.0, 0))[0]) > 0.1:  # noqa: PLR2004
        words.append(f"at {here.hour:02d} h")
    if here.month_end and abs(parts.effects["month"].get(here.month_end, (0.0, 0))[0]) > 0.1:  # noqa: PLR2004
        words.append(f"on the {here.month_end} day of a month")
    return words
