"""Judge what is due by a time of day: runs, tasks, assets and partitions of a day, and the begin of a day's run.

A day stays missed until something counts for it or for a later day, even where a later day is missed as well. What was
due before the first look is not judged.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from observability.timestamps import utc
from observability.watch.clock import clock_days
from observability.watch.completions import Wanted, asset_done, partitions_of, run_done, task_done, tasks_known
from observability.watch.deadline_state import Standing
from observability.watch.forecasts import CALM_AT, in_words
from observability.watch.rules.values import DAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from observability.watch.clock import ClockDay
    from observability.watch.deadline_state import Look
    from observability.watch.forecasts import LiveForecast
    from observability.watch.rules.deadline import Deadline

__all__ = [
    "START_WARNING_S",
    "asset_by_clock",
    "days_of",
    "foreseen_at",
    "judged_days",
    "runs_by_clock",
    "starts_by_clock",
    "tasks_by_clock",
]

START_WARNING_S = 3600.0
_DAYS_BACK = 15
"""A start that was missed longer ago than this is forgotten."""


def days_of(deadline: Deadline, now: float) -> Iterator[ClockDay]:
    """The days of a deadline that names a time of day, the latest first."""
    return clock_days(
        str(deadline.clock), deadline.timezone, deadline.days, now, since=deadline.day_begins,
        holidays=deadline.holidays,
    )  # fmt: skip


def judged_days(  # noqa: PLR0913 - the rule, what it is about, and how it was done
    look: Look,
    deadline: Deadline,
    done: Callable[[ClockDay], float | None],
    said: Callable[[ClockDay], str],
    *,
    dag_id: str | None = None,
    partition: str | None = None,
) -> Iterator[Standing]:
    """The state of the newest day whose time has come or comes near, and of the last one that was done before it.

    ``done`` gives the moment at which what is due on a day was done. ``said`` says what is missing, with ``{was}``.
    """
    first = look.known.first_looked(f"deadline:{deadline.name}:{dag_id or ''}", look.now)
    is_missed = False
    for day in days_of(deadline, look.now):
        occasion = f"{day.date}{f' {partition}' if partition else ''}"
        key = (*deadline.wants, dag_id or "", partition or "", str(day.date))
        ended = look.done.get(key)
        if ended is None and (ended := done(day)) is not None:
            look.done[key] = ended
        words = f"{said(day)} {deadline.clock} {deadline.timezone}"
        if ended is not None:
            if first <= day.due:
                yield Standing("kept", dag_id, day.due, "", ended=ended, occasion=occasion, partition=partition)
            return
        if look.now >= day.due:
            if first > day.due or (dag_id and look.pauses.covers(dag_id, day.due)):
                return
            if not is_missed:
                yield Standing("missed", dag_id, day.due, words.format(was="was"), occasion=occasion,
                               partition=partition)  # fmt: skip
            is_missed = True
            continue
        near = deadline.warn < 1 and look.now >= day.due - (day.due - day.begins) * (1 - deadline.warn)
        yield Standing("near" if near else "upcoming", dag_id, day.due, words.format(was="is"), occasion=occasion,
                       partition=partition)  # fmt: skip


def runs_by_clock(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """A day's run that has not succeeded, whether it is late, has failed or never began; warned of by its forecast."""

    def done(day: ClockDay) -> float | None:
        return run_done(look.known, dag_id, Wanted.of(deadline, day))

    def said(day: ClockDay) -> str:
        return f"no run has succeeded for {_day_named(deadline, day)}, one {{was}} due by"

    for one in judged_days(look, deadline, done, said, dag_id=dag_id):
        yield _foreseen(look, deadline, dag_id, one) if one.state in {"near", "upcoming"} else one


def tasks_by_clock(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """The tasks of a day that have not succeeded: in a run that is late, has failed, or never began."""
    tasks = tasks_known(look.known, dag_id, deadline.task)
    if not tasks:
        return
    open_tasks: dict[object, list[str]] = {}

    def done(day: ClockDay) -> float | None:
        found = task_done(look.known, dag_id, tasks, Wanted.of(deadline, day))
        open_tasks[day.date] = [name for name, moment in found.items() if moment is None]
        return None if open_tasks[day.date] else max(moment for moment in found.values() if moment is not None)

    def said(day: ClockDay) -> str:
        late = open_tasks.get(day.date) or tasks
        verb = "has" if len(late) == 1 else "have"
        return f"{', '.join(late)} {verb} not succeeded for {_day_named(deadline, day)}, {{was}} due by"

    yield from judged_days(look, deadline, done, said, dag_id=dag_id)


def asset_by_clock(look: Look, deadline: Deadline) -> Iterator[Standing]:
    """A day's update of an asset, or of each of its partitions that a glob means."""
    uri, glob = str(deadline.asset), deadline.partition or ""
    keys: Sequence[str | None] = [None]
    if set("*?[") & set(glob) and "%" not in glob:
        keys = sorted(partitions_of(look.known, uri, glob, look.now))
    for key in keys:

        def done(day: ClockDay, key: str | None = key) -> float | None:
            return asset_done(look.known, uri, Wanted.of(deadline, day, key))

        def said(day: ClockDay, key: str | None = key) -> str:
            wanted = Wanted.of(deadline, day, key).partition
            what = f"partition {wanted} of {uri}" if wanted else uri
            return f"{what} has not been updated for {day.date}, it {{was}} due by"

        yield from judged_days(look, deadline, done, said, partition=key)


def starts_by_clock(look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
    """A day's run that has not begun; it stays missed until one begins, whatever the calendar says.

    What was due before anybody looked is not judged; of the day before that, the first look at Airflow tells.
    """
    zone = ZoneInfo(deadline.timezone)
    today = utc(look.now).astimezone(zone).date()
    first = look.known.first_looked(f"deadline:{deadline.name}:{dag_id}", look.now)
    last = look.known.last_begin(dag_id, current=True)
    is_missed = False
    for day in (today - timedelta(days=back) for back in range(_DAYS_BACK)):
        if day in deadline.holidays or (deadline.days and DAYS[day.weekday()] not in deadline.days):
            continue
        midnight = datetime.combine(day, time(), zone).timestamp()
        by = datetime.combine(day, time.fromisoformat(str(deadline.starts_by)), zone)
        due = max(by.timestamp(), by.replace(fold=1).timestamp())
        words = f"no run has begun on {day}, one %s due by {deadline.starts_by} {deadline.timezone}"
        if last is not None and last >= midnight:
            if first <= due:
                begun = look.known.first_begin(dag_id, midnight)
                yield Standing("kept", dag_id, due, "", ended=begun, occasion=str(day))
            return
        if look.now >= due:
            if first > due or look.pauses.covers(dag_id, due):
                return
            if not is_missed:
                yield Standing("missed", dag_id, due, words % "was", occasion=str(day))
            is_missed = True
            continue
        near = deadline.warn < 1 and look.now >= due - START_WARNING_S * (1 - deadline.warn)
        yield Standing("near" if near else "upcoming", dag_id, due, words % "is", occasion=str(day))


def _foreseen(look: Look, deadline: Deadline, dag_id: str, one: Standing) -> Standing:
    """The standing of a day whose run is under way: its forecast says whether people are warned, not the clock."""
    day = next((day for day in days_of(deadline, look.now) if day.due == one.due), None)
    live = look.foreseen(dag_id) if day is not None and "warn" not in deadline.model_fields_set else []
    if day is not None and not Wanted.of(deadline, day).by_begin:
        return one
    of_day = [run for run in live if day is not None and run.run.begun >= day.begins]
    if not of_day:
        return one
    best = min(of_day, key=lambda run: run.forecast.chance_after(one.due) if run.forecast else 1.0)
    return foreseen_at(deadline, best, one)


def foreseen_at(deadline: Deadline, live: LiveForecast, one: Standing) -> Standing:
    """The standing of a run by its forecast: near where it may be missed, upcoming where that is not likely."""
    found = live.forecast
    if found is None:
        return one
    chance = found.chance_after(one.due)
    return replace(
        one, state="near" if chance >= CALM_AT else "upcoming", reason=in_words(found, one.due, deadline.timezone),
        foreseen_run=live.run.run_id,
        expected=found.expected, chance=round(chance, 2), band=(*found.interval(0.5), *found.interval(0.9)),
    )  # fmt: skip


def _day_named(deadline: Deadline, day: ClockDay) -> str:
    """The day, or the logical day or partition, that is wanted of a run."""
    wanted = Wanted.of(deadline, day)
    if wanted.partition:
        return f"partition {wanted.partition}" + ("" if "%" in str(deadline.partition) else f" on {day.date}")
    return f"the logical day {wanted.day}" if wanted.day else f"{day.date}"
