"""The past of runs, tasks, assets and measures, as the rules ask for it: from the ledger, live.

The rules know this protocol alone, so that a replay (:mod:`observability.watch.known_then`) judges by the same code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Float, and_, bindparam, func, or_, select

from observability.watch.ledger import records, schema
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.run_times import RunTimes, earlier_runs, live_runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["Begin", "Known", "LedgerKnown", "Load", "Span"]

Begin = tuple[str, float, bool, "float | None"]
"""A run: its id, its begin, True if it is about the present, and when it succeeded."""
Span = tuple[str, str, float, "float | None"]
"""A run or an attempt: the task (empty for a run), the occasion, begin and end."""
Load = tuple[str, float, float, str]
"""A value of a step: ``task:step``, time, value and occasion."""

_RUNS_MOST = 2000
_LATELY = 5
"""Runs that are looked at for the tasks that a DAG has."""
_TIMES_MOST = 500
_LOOKBACK_S = 7 * 86_400.0
_OPEN_S = 30 * 86_400.0
_CURSOR_MOST = 200
_TABLE, _TIMES = schema.history, schema.run_times
_FAILURES = {"task", "run", "stuck", "import", "dag"}


class Known(Protocol):
    """The past as it is known. Times are seconds since 1970; nothing later than the moment of the look is given."""

    def first_looked(self, name: str, now: float) -> float:
        """The time of the first look at this deadline: before that, nothing can be late."""

    def begins(self, dag_id: str, since: float) -> Sequence[Begin]:
        """The runs of a DAG that began since then, the newest first."""

    def marks(self, measure: str, dag_id: str, since: float) -> Mapping[str, tuple[str, float]]:
        """(subject, value) of a measure by its run: ``logical_date`` or ``partition``."""

    def times(self, dag_id: str, run_ids: Sequence[str]) -> Mapping[str, RunTimes]:
        """The runs with their tasks, by id."""

    def tasks_lately(self, dag_id: str) -> Sequence[str]:
        """The tasks of the last runs of a DAG."""

    def last_begin(self, dag_id: str, *, current: bool = False) -> float | None:
        """The begin of the newest run; ``current``: of those that are about the present."""

    def first_begin(self, dag_id: str, since: float) -> float | None:
        """The begin of the first run since then that is about the present."""

    def last_success(self, dag_id: str) -> float | None:
        """The newest success of a run that is about the present."""

    def spans(self, dag_id: str, what: str, now: float, least: float, since: float = 0.0) -> Sequence[Span]:
        """``runs`` or ``attempts`` under way or ended since then, that have taken ``least`` seconds or more."""

    def usual(self, measure: str, dag_id: str, subject: str, before: str = "") -> Sequence[tuple[float, float, str]]:
        """The time, value and occasion of the last values of a measure, the oldest first, without one occasion."""

    def last_loads(self, measure: str, dag_id: str, now: float) -> Sequence[Load]:
        """The newest value of each step of a DAG, of the last week."""

    def first_update(self, uri: str, partition: str | None, since: float) -> float | None:
        """The first update of an asset, or of a partition of it, since then."""

    def last_update(self, uri: str) -> float | None:
        """The newest update of an asset."""

    def partitions(self, uri: str, since: float) -> Mapping[str, float]:
        """The last update of each partition of an asset that was updated since then."""

    def producers(self, uri: str) -> Sequence[str]:
        """The DAGs that are known to have updated an asset."""

    def earlier_runs(self, dag_id: str, before: float, most: int) -> Sequence[RunTimes]:
        """The last ordinary runs that began before then and succeeded, the oldest first, with their tasks."""

    def live_runs(self, dag_id: str, since: float) -> Sequence[RunTimes]:
        """The runs that began since then and have not ended, the oldest first, with their tasks."""

    def failure_of(self, dag_id: str) -> Incident | None:
        """The open failure of a DAG."""


class LedgerKnown:
    """The ledger, as it is now."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def first_looked(self, name: str, now: float) -> float:
        """The first look, which is noted with the first question."""
        name = name[:_CURSOR_MOST]
        known = read_cursor(self._connection, name)
        if known is None:
            write_cursor(self._connection, name, now)
            return now
        return float(known)

    def begins(self, dag_id: str, since: float) -> Sequence[Begin]:
        """The newest 2000."""
        rows = self._connection.execute(_BEGINS, {"dag_id": dag_id, "since": since})
        return [(run_id, begun, value > 0, done) for run_id, begun, value, done in rows]

    def marks(self, measure: str, dag_id: str, since: float) -> Mapping[str, tuple[str, float]]:
        """As they were written with the begin of the run."""
        asked = select(_TABLE.c.occasion, _TABLE.c.subject, _TABLE.c.value)
        where = (_TABLE.c.measure == measure, _TABLE.c.dag_id == dag_id, _TABLE.c.time >= since)
        return {row[0]: (row[1], row[2]) for row in self._connection.execute(asked.where(*where))}

    def times(self, dag_id: str, run_ids: Sequence[str]) -> Mapping[str, RunTimes]:
        """Of the first 500."""
        where = (_TIMES.c.dag_id == dag_id, _TIMES.c.run_id.in_(run_ids[:_TIMES_MOST]))
        rows = self._connection.execute(select(_TIMES).where(*where)).mappings()
        return {row["run_id"]: RunTimes.from_row(row) for row in rows}

    def tasks_lately(self, dag_id: str) -> Sequence[str]:
        """Of the last five runs."""
        last = select(_TIMES.c.tasks).where(_TIMES.c.dag_id == dag_id).order_by(_TIMES.c.begun.desc()).limit(_LATELY)
        return list(dict.fromkeys(name for row in self._connection.execute(last).scalars() for name in row))

    def last_begin(self, dag_id: str, *, current: bool = False) -> float | None:
        """From the history."""
        return records.last_time(self._connection, "started", dag_id, current=current)

    def first_begin(self, dag_id: str, since: float) -> float | None:
        """From the history."""
        return records.first_begin(self._connection, dag_id, since)

    def last_success(self, dag_id: str) -> float | None:
        """From the history."""
        return records.last_time(self._connection, "success", dag_id, current=True)

    def spans(self, dag_id: str, what: str, now: float, least: float, since: float = 0.0) -> Sequence[Span]:
        """Of the last 30 days, those that ended of the last seven, and not before the first watcher came."""
        begun, ended = ("started", "ended") if what == "runs" else ("task_started", "task_ended")
        about = {"begun": begun, "ended": ended, "dag_id": dag_id, "now": now, "least": least}
        first = float(read_cursor(self._connection, "since") or 0)
        bounds = {"open_since": now - _OPEN_S, "ended_since": max(first, since, now - _LOOKBACK_S)}
        return [(row[0], row[1], row[2], row[3]) for row in self._connection.execute(_SPANS, {**about, **bounds})]

    def usual(self, measure: str, dag_id: str, subject: str, before: str = "") -> Sequence[tuple[float, float, str]]:
        """The last 400."""
        return records.usual(self._connection, measure, dag_id, subject, before=before)

    def last_loads(self, measure: str, dag_id: str, now: float) -> Sequence[Load]:
        """From the history."""
        about = {"measure": measure, "dag_id": dag_id, "since": now - _LOOKBACK_S}
        return [(row[0], row[1], row[2], row[3]) for row in self._connection.execute(_LAST_LOADS, about)]

    def first_update(self, uri: str, partition: str | None, since: float) -> float | None:
        """From the history."""
        measure, subject = ("asset", uri) if partition is None else ("asset_partition", f"{uri}\x1f{partition}")
        where = (_TABLE.c.measure == measure, _TABLE.c.dag_id == "", _TABLE.c.subject == subject)
        asked = select(func.min(_TABLE.c.time)).where(*where, _TABLE.c.time >= since)
        return self._connection.execute(asked).scalar()

    def last_update(self, uri: str) -> float | None:
        """From the history."""
        return records.last_time(self._connection, "asset", "", uri)

    def partitions(self, uri: str, since: float) -> Mapping[str, float]:
        """From the history."""
        prefix = f"{uri}\x1f"
        asked = (
            select(_TABLE.c.subject, func.max(_TABLE.c.time))
            .where(_TABLE.c.measure == "asset_partition", _TABLE.c.dag_id == "", _TABLE.c.time >= since)
            .where(_TABLE.c.subject.startswith(prefix, autoescape=True))
            .group_by(_TABLE.c.subject)
        )
        return {subject.removeprefix(prefix): last for subject, last in self._connection.execute(asked)}

    def producers(self, uri: str) -> Sequence[str]:
        """From the history."""
        return records.dags_with(self._connection, "asset_of", uri)

    def earlier_runs(self, dag_id: str, before: float, most: int) -> Sequence[RunTimes]:
        """From the times of runs."""
        return earlier_runs(self._connection, dag_id, before, most)

    def live_runs(self, dag_id: str, since: float) -> Sequence[RunTimes]:
        """From the times of runs."""
        return live_runs(self._connection, dag_id, since)

    def failure_of(self, dag_id: str) -> Incident | None:
        """The first that is open."""
        live = records.live_incidents(self._connection, dag_id=dag_id)
        return next((one for one in live if one.live and one.kind in _FAILURES), None)


def _begins_question() -> Select[Any]:
    begun, done = _TABLE.alias(), _TABLE.alias()
    same = and_(done.c.dag_id == begun.c.dag_id, done.c.occasion == begun.c.occasion, done.c.measure == "success")
    return (
        select(begun.c.occasion, begun.c.time, begun.c.value, done.c.time)
        .select_from(begun.outerjoin(done, same))
        .where(begun.c.measure == "started", begun.c.dag_id == bindparam("dag_id"), begun.c.time >= bindparam("since"))
        .order_by(begun.c.time.desc())
        .limit(_RUNS_MOST)
    )


def _spans_question() -> Select[Any]:
    """Begun with its end, beside each other: asked for each DAG each second, so it is put together once."""
    first, second = _TABLE.alias(), _TABLE.alias()
    same = and_(
        second.c.measure == bindparam("ended"),
        second.c.dag_id == first.c.dag_id,
        second.c.subject == first.c.subject,
        second.c.occasion == first.c.occasion,
    )
    now = bindparam("now", type_=Float)
    return (
        select(first.c.subject, first.c.occasion, first.c.time, second.c.time)
        .select_from(first.outerjoin(second, same))
        .where(first.c.measure == bindparam("begun"), first.c.dag_id == bindparam("dag_id"))
        .where(first.c.time > bindparam("open_since"))
        .where(or_(second.c.time.is_(None), second.c.time > bindparam("ended_since")))
        .where(func.coalesce(second.c.time, now) - first.c.time >= bindparam("least", type_=Float))
    )


def _last_loads_question() -> Select[Any]:
    """The newest value of each step of a DAG."""
    measure = _TABLE.c.measure == bindparam("measure")
    where = (measure, _TABLE.c.dag_id == bindparam("dag_id"), _TABLE.c.time > bindparam("since"))
    last = select(_TABLE.c.subject, func.max(_TABLE.c.time).label("time")).where(*where).group_by(_TABLE.c.subject)
    newest = last.subquery()
    same = and_(_TABLE.c.subject == newest.c.subject, _TABLE.c.time == newest.c.time)
    asked = select(_TABLE.c.subject, _TABLE.c.time, _TABLE.c.value, _TABLE.c.occasion).join(newest, same)
    return asked.where(*where).order_by(_TABLE.c.id)


_BEGINS, _SPANS, _LAST_LOADS = _begins_question(), _spans_question(), _last_loads_question()
