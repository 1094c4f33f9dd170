"""Files of days off: iCalendar, or plain text with a date on each line."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from observability.errors import RulesError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["days_off", "file_of"]

_LARGEST = 2 * 1024 * 1024
_DAYS_MOST = 20_000
_YEARS_BACK, _YEARS_ON = 2, 5
"""A rule such as "every 25 December" is followed so far."""


def file_of(name: str, folder: Path | None) -> Path:
    """The file of a calendar. Raises :class:`RulesError` for one outside of the folder of the rules."""
    if folder is None:
        raise RulesError("these rules have no folder in which a calendar could lie")
    root = folder.resolve()
    file = (root / name).resolve()
    if not file.is_relative_to(root):
        raise RulesError(f"{name!r} is outside of the folder of the rules; put the calendar beside them")
    return file


def days_off(name: str, folder: Path | None) -> frozenset[date]:
    """The days in a calendar. Raises :class:`RulesError`, which names the file and the line."""
    file = file_of(name, folder)
    try:
        if not file.is_file():
            raise RulesError(f"{file} is not a file")
        if file.stat().st_size > _LARGEST:
            raise RulesError(f"{file} is larger than {_LARGEST // 1024 // 1024} MB; a calendar of days off is not")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesError(f"{file}: {getattr(error, 'strerror', None) or 'it must be UTF-8'}") from error
    found = _days_of_events(text, file) if "BEGIN:VCALENDAR" in text[:200].upper() else _days_of_lines(text, file)
    days = set()
    for day in found:
        days.add(day)
        if len(days) > _DAYS_MOST:
            raise RulesError(f"{file} has more than {_DAYS_MOST} days")
    if not days:
        raise RulesError(f"{file} has no day off; write a date such as 2026-12-25 on each line, or an iCalendar")
    return frozenset(days)


def _days_of_lines(text: str, file: Path) -> Iterator[date]:
    """A date at the beginning of each line; what follows it, and what follows a ``#``, is for people."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split(None, 1)
        if words:
            try:
                yield date.fromisoformat(words[0].rstrip(",;"))
            except ValueError:
                raise RulesError(f"{file}:{number}: {words[0]!r} is not a date; write one such as 2026-12-25") from None


def _days_of_events(text: str, file: Path) -> Iterator[date]:
    """The days of all-day events, with those that repeat. An event with a time of day is not a day off."""
    try:
        import icalendar
        import recurring_ical_events
    except ImportError:
        raise RulesError(
            f"{file} is an iCalendar; install contrail-etl[alerts], or write a date on each line"
        ) from None
    today = date.today()  # noqa: DTZ011 - years before and after it
    first, last = today.replace(year=today.year - _YEARS_BACK, day=1), today.replace(year=today.year + _YEARS_ON, day=1)
    try:
        calendar = icalendar.Calendar.from_ical(text)
        calendar.subcomponents = [one for one in calendar.subcomponents if _may_be_a_day_off(one)]
        events = recurring_ical_events.of(calendar).between(first, last)
    except Exception as error:  # the library raises whatever it stumbles over
        raise RulesError(f"{file} cannot be read as an iCalendar: {type(error).__name__}: {error}") from error
    for event in events:
        begin = event["DTSTART"].dt
        end = event["DTEND"].dt if "DTEND" in event else begin + timedelta(days=1)
        for number in range(max(1, (end - begin).days)):
            yield begin + timedelta(days=number)


def _may_be_a_day_off(part: Any) -> bool:
    """True for an all-day event that is not cancelled, and for what is not an event."""
    if part.name != "VEVENT":
        return True
    start = part.get("DTSTART")
    whole = start is not None and not isinstance(start.dt, datetime)
    return whole and str(part.get("STATUS", "")).upper() != "CANCELLED"
