"""Find when what was due on a day was done: runs, tasks and assets, by their begin, logical day or partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, bindparam, func, select

from observability.watch.ledger import schema
from observability.watch.run_times import RunTimes
from observability.watch.runs import date_of_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from observability.watch.clock import ClockDay
    from observability.watch.rules.deadline import Deadline

__all__ = ["DayRun", "Wanted", "asset_done", "partitions_of", "run_done", "runs_of_day", "task_done", "tasks_known"]

_RUNS_MOST = 2000
_LATELY = 5
"""Runs that are looked at for the tasks that a DAG has."""
_KEYS_SINCE_S = 30 * 86_400.0
"""A partition that was not updated for so long is not waited for."""
_TABLE, _TIMES = schema.history, schema.run_times


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


def _runs_question() -> Select[Any]:
    begun, done = _TABLE.alias(), _TABLE.alias()
    same = and_(done.c.dag_id == begun.c.dag_id, done.c.occasion == begun.c.occasion, done.c.measure == "success")
    return (
        select(begun.c.occasion, begun.c.time, begun.c.value, done.c.time)
        .select_from(begun.outerjoin(done, same))
        .where(begun.c.measure == "started", begun.c.dag_id == bindparam("dag_id"), begun.c.time >= bindparam("since"))
        .order_by(begun.c.time.desc())
        .limit(_RUNS_MOST)
    )


_RUNS = _runs_question()


def runs_of_day(connection: Connection, dag_id: str, wanted: Wanted) -> list[DayRun]:
    """The runs of a DAG that count, the newest first."""
    rows = connection.execute(_RUNS, {"dag_id": dag_id, "since": wanted.since}).all()
    if wanted.day is None and (wanted.partition is None or not rows):
        return [DayRun(run_id, begun, done) for run_id, begun, current, done in rows if current > 0]
    dates = _marks(connection, "logical_date", dag_id, wanted.since)
    keys = _marks(connection, "partition", dag_id, wanted.since)
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


def _marks(connection: Connection, measure: str, dag_id: str, since: float) -> dict[str, tuple[str, float]]:
    """(subject, value) of a measure by its run."""
    asked = select(_TABLE.c.occasion, _TABLE.c.subject, _TABLE.c.value)
    where = (_TABLE.c.measure == measure, _TABLE.c.dag_id == dag_id, _TABLE.c.time >= since)
    return {row[0]: (row[1], row[2]) for row in connection.execute(asked.where(*where))}


def _local(moment: float, zone: str) -> date:
    return datetime.fromtimestamp(moment, timezone.utc).astimezone(ZoneInfo(zone)).date()


def run_done(connection: Connection, dag_id: str, wanted: Wanted) -> float | None:
    """Return when the first run that counts succeeded; None if none has."""
    return min((one.done for one in runs_of_day(connection, dag_id, wanted) if one.done is not None), default=None)


def task_done(connection: Connection, dag_id: str, tasks: Iterable[str], wanted: Wanted) -> dict[str, float | None]:
    """Return when each task first succeeded in a run that counts; of a good run no task is waited for."""
    found: dict[str, float | None] = dict.fromkeys(tasks)
    runs = runs_of_day(connection, dag_id, wanted)
    times = _times(connection, dag_id, [one.run_id for one in runs])
    for run in runs:
        for name, before in found.items():
            one = times[run.run_id].tasks.get(name) if run.run_id in times else None
            end = times[run.run_id].begun + one.end if one is not None and one.is_done and one.end is not None else None
            ends = [moment for moment in (end, run.done, before) if moment is not None]
            found[name] = min(ends, default=None)
    return found


def _times(connection: Connection, dag_id: str, run_ids: Sequence[str]) -> dict[str, RunTimes]:
    where = (_TIMES.c.dag_id == dag_id, _TIMES.c.run_id.in_(run_ids[:500]))
    return {
        row["run_id"]: RunTimes.from_row(row) for row in connection.execute(select(_TIMES).where(*where)).mappings()
    }


def tasks_known(connection: Connection, dag_id: str, pattern: str) -> list[str]:
    """The tasks that a glob means: those of the last runs; without a wildcard the task itself, whoever has seen it."""
    if not set("*?[") & set(pattern):
        return [pattern]
    last = select(_TIMES.c.tasks).where(_TIMES.c.dag_id == dag_id).order_by(_TIMES.c.begun.desc()).limit(_LATELY)
    found = dict.fromkeys(name for row in connection.execute(last).scalars() for name in row)
    return sorted(name for name in found if fnmatchcase(name, pattern))


def asset_done(connection: Connection, uri: str, wanted: Wanted) -> float | None:
    """Return when an asset, or the wanted partition of it, was first updated for a day; None if it was not."""
    subject, since = uri, wanted.since
    measure = "asset" if wanted.partition is None else "asset_partition"
    where = [_TABLE.c.measure == measure, _TABLE.c.dag_id == "", _TABLE.c.time >= since]
    if wanted.partition is not None:
        subject = f"{uri}\x1f{wanted.partition}"
    asked = select(func.min(_TABLE.c.time)).where(*where, _TABLE.c.subject == subject)
    return connection.execute(asked).scalar()


def partitions_of(connection: Connection, uri: str, pattern: str, now: float) -> dict[str, float]:
    """The last update of each known partition of an asset whose key matches a glob."""
    prefix = f"{uri}\x1f"
    asked = (
        select(_TABLE.c.subject, func.max(_TABLE.c.time))
        .where(_TABLE.c.measure == "asset_partition", _TABLE.c.dag_id == "", _TABLE.c.time >= now - _KEYS_SINCE_S)
        .where(_TABLE.c.subject.startswith(prefix, autoescape=True))
        .group_by(_TABLE.c.subject)
    )
    found = ((subject.removeprefix(prefix), last) for subject, last in connection.execute(asked))
    return {key: last for key, last in found if fnmatchcase(key, pattern)}
