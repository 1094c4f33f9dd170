"""Find when what was due on a day was done: runs, tasks and assets, by their begin, logical day or partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from observability.timestamps import utc
from observability.watch.runs import date_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.watch.clock import ClockDay
    from observability.watch.known import Known
    from observability.watch.rules.deadline import Deadline

__all__ = ["DayRun", "Wanted", "asset_done", "partitions_of", "run_done", "runs_of_day", "task_done", "tasks_known"]

_KEYS_SINCE_S = 30 * 86_400.0
"""A partition that was not updated for so long is not waited for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The things that count for a day: those since then, of a logical ``day`` or a ``partition`` if asked for."""

    since: float
    day: date | None = None
    zone: str = "UTC"
    partition: str | None = None

    @classmethod
    def of(cls, deadline: Deadline, day: ClockDay, partition: str | None = None) -> Wanted:
        """Return what a deadline wants for a day; ``partition`` of a part in place of the deadline's own."""
        asked = partition or deadline.partition
        of_day = day.date + timedelta(days=deadline.logical_day or 0)
        key = asked and (of_day.strftime(asked) if "%" in asked else asked)
        by_key = asked is not None and "%" in asked
        if not by_key and deadline.logical_day is None:
            return cls(day.begins, partition=key)
        first = datetime.combine(of_day - timedelta(days=1), time(), ZoneInfo(deadline.timezone)).timestamp()
        return cls(min(first, day.begins), None if by_key else of_day, deadline.timezone, key)

    @property
    def by_begin(self) -> bool:
        """True if a run counts by its begin alone."""
        return self.day is None and self.partition is None


@dataclass(frozen=True, slots=True)
class DayRun:
    """A run that counts for a day; ``done`` is when it succeeded, None if it has not."""

    run_id: str
    begun: float
    done: float | None


def runs_of_day(known: Known, dag_id: str, wanted: Wanted) -> list[DayRun]:
    """The runs of a DAG that count, the newest first."""
    rows = known.begins(dag_id, wanted.since)
    if wanted.day is None and (wanted.partition is None or not rows):
        return [DayRun(run_id, begun, done) for run_id, begun, current, done in rows if current]
    dates = known.marks("logical_date", dag_id, wanted.since)
    keys = known.marks("partition", dag_id, wanted.since)
    found = []
    for run_id, begun, _current, done in rows:
        if wanted.partition is not None and keys.get(run_id, ("", 0.0))[0] != wanted.partition:
            continue
        if wanted.day is not None:
            moment = dates[run_id][1] if run_id in dates else date_of_run(run_id)
            if moment is None or _local(moment, wanted.zone) != wanted.day:
                continue
        found.append(DayRun(run_id, begun, done))
    return found


def _local(moment: float, zone: str) -> date:
    return utc(moment).astimezone(ZoneInfo(zone)).date()


def run_done(known: Known, dag_id: str, wanted: Wanted) -> float | None:
    """Return when the first run that counts succeeded; None if none has."""
    return min((one.done for one in runs_of_day(known, dag_id, wanted) if one.done is not None), default=None)


def task_done(known: Known, dag_id: str, tasks: Iterable[str], wanted: Wanted) -> dict[str, float | None]:
    """Return when each task first succeeded in a run that counts; of a good run no task is waited for."""
    found: dict[str, float | None] = dict.fromkeys(tasks)
    runs = runs_of_day(known, dag_id, wanted)
    times = known.times(dag_id, [one.run_id for one in runs])
    for run in runs:
        for name, before in found.items():
            one = times[run.run_id].tasks.get(name) if run.run_id in times else None
            end = times[run.run_id].begun + one.end if one is not None and one.is_done and one.end is not None else None
            ends = [moment for moment in (end, run.done, before) if moment is not None]
            found[name] = min(ends, default=None)
    return found


def tasks_known(known: Known, dag_id: str, pattern: str) -> list[str]:
    """The tasks that a glob means: those of the last runs; without a wildcard the task itself, whoever has seen it."""
    if not set("*?[") & set(pattern):
        return [pattern]
    return sorted(name for name in known.tasks_lately(dag_id) if fnmatchcase(name, pattern))


def asset_done(known: Known, uri: str, wanted: Wanted) -> float | None:
    """Return when an asset, or the wanted partition of it, was first updated for a day; None if it was not."""
    return known.first_update(uri, wanted.partition, wanted.since)


def partitions_of(known: Known, uri: str, pattern: str, now: float) -> dict[str, float]:
    """The last update of each known partition of an asset whose key matches a glob."""
    found = known.partitions(uri, now - _KEYS_SINCE_S)
    return {key: last for key, last in found.items() if fnmatchcase(key, pattern)}
