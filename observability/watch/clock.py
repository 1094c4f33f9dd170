"""The days of a rule that names a time of day: when each begins, and when it is due.

A time that a change of the clock skips is due when the clock has passed it; one that comes twice is due the second
time. So nobody is called late an hour too early.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from observability.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["ClockDay", "clock_days", "clock_days_since", "moment_of"]

_DAYS_BACK = 15
"""The age after which a missed deadline is forgotten."""
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class ClockDay:
    """A day of a rule, in seconds since 1970. What happens after it ``begins`` counts for it; by ``due`` it must."""

    date: date
    begins: float
    due: float


def moment_of(day: date, clock: str, zone: str) -> float:
    """The time ``clock`` ("HH:MM") of a day in a zone, in seconds since 1970."""
    local = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone))
    return max(local.timestamp(), local.replace(fold=1).timestamp())


def clock_days(  # noqa: PLR0913 - the rule, and when
    clock: str,
    zone: str,
    weekdays: Collection[str],
    now: float,
    *,
    since: str = "00:00",
    holidays: Collection[date] = (),
) -> Iterator[ClockDay]:
    """The days of a rule, the latest first: tomorrow if it has begun, today, and two weeks back.

    ``weekdays`` are ``mon`` to ``sun``; none means every day. ``holidays`` are left out. ``since`` is when a day
    begins. A time later than ``clock`` is that of the evening before, for runs that work through the night.
    """
    yield from _days(clock, zone, weekdays, now, since, _DAYS_BACK, holidays)


def clock_days_since(  # noqa: PLR0913, PLR0917 - the rule, and from when to when
    clock: str,
    zone: str,
    weekdays: Collection[str],
    first: float,
    last: float,
    since: str = "00:00",
    holidays: Collection[date] = (),
) -> list[ClockDay]:
    """The days of a rule that were due from ``first`` to ``last``, the earliest first."""
    back = int((last - first) // 86_400) + 3
    found = _days(clock, zone, weekdays, last, since, back, holidays)
    return [day for day in found if first <= day.due <= last][::-1]


def _days(  # noqa: PLR0913, PLR0917 - the rule, and from when to when
    clock: str,
    zone: str,
    weekdays: Collection[str],
    now: float,
    since: str,
    back_to: int,
    holidays: Collection[date],
) -> Iterator[ClockDay]:
    today = utc(now).astimezone(ZoneInfo(zone)).date()
    for back in range(-1, back_to):
        day = _day(clock, zone, since, today - timedelta(days=back))
        if day.begins > now or day.date in holidays or (weekdays and _WEEKDAYS[day.date.weekday()] not in weekdays):
            continue
        yield day


@lru_cache(maxsize=20_000)
def _day(clock: str, zone: str, since: str, day: date) -> ClockDay:
    """A day is asked for by every look at every DAG, and worked out once."""
    first = day - timedelta(days=1) if since > clock else day
    return ClockDay(day, moment_of(first, since, zone), moment_of(day, clock, zone))
