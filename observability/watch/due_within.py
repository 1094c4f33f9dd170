"""Judge what takes too long, was not done for too long, or is unlike usual."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Float, and_, bindparam, func, or_, select

from observability.watch.baseline import Past, usual_band
from observability.watch.completions import partitions_of
from observability.watch.deadline_state import Standing, first_looked, iso
from observability.watch.durations import lasting
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import read_cursor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from observability.watch.baseline import Band
    from observability.watch.deadline_state import Look
    from observability.watch.pauses import Pauses
    from observability.watch.rules.deadline import Deadline

__all__ = ["last_within", "lasting_longer", "lasting_shorter", "partitions_within", "rows_of", "usual_of"]

_LOOKBACK_S = 7 * 86_400.0
_OPEN_S = 30 * 86_400.0


def _spans_question() -> Select[Any]:
    """Begun with its end, beside each other: asked for each DAG each second, so it is put together once."""
    first, second = schema.history.alias(), schema.history.alias()
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


def _last_rows_question() -> Select[Any]:
    """The newest rows of each step of a DAG."""
    table = schema.history
    where = (
        table.c.measure == "rows",
        table.c.dag_id == bindparam("dag_id"),
        table.c.time > bindparam("since"),
    )
    last = (
        select(table.c.subject, func.max(table.c.time).label("time")).where(*where).group_by(table.c.subject).subquery()
    )
    same = and_(table.c.subject == last.c.subject, table.c.time == last.c.time)
    asked = select(table.c.subject, table.c.time, table.c.value, table.c.occasion).join(last, same)
    return asked.where(*where).order_by(table.c.id)


def _last_success_question() -> Select[Any]:
    """The begin of the newest run that has succeeded and is about the present."""
    begun, done = schema.history.alias(), schema.history.alias()
    same = and_(done.c.dag_id == begun.c.dag_id, done.c.occasion == begun.c.occasion, done.c.measure == "success")
    return (
        select(func.max(begun.c.time))
        .select_from(begun.join(done, same))
        .where(begun.c.measure == "started", begun.c.dag_id == bindparam("dag_id"))
        .where(begun.c.value > 0, done.c.value > 0)
    )


_SPANS = _spans_question()
_LAST_SUCCESS = _last_success_question()
_LAST_ROWS = _last_rows_question()


def usual_of(  # noqa: PLR0913, PLR0917 - the rule, what it is about, and when
    connection: Connection,
    deadline: Deadline,
    width: float | Literal[True],
    about: tuple[str, str, str],
    at: float,
    before: str = "",
) -> Band | None:
    """The usual band of a measure of a DAG's subject at a time. Backfills are not learned from."""
    past = tuple(
        Past(time, value, not occasion.startswith("backfill__"))
        for time, value, occasion in records.usual(connection, *about, before=before)
    )
    holidays = frozenset(deadline.holidays)
    return _band(past, at, None if width is True else width, deadline.history_least, holidays)


@lru_cache(maxsize=1000)
def _band(
    past: tuple[Past, ...], at: float, deviations: float | None, least: int, holidays: frozenset[date]
) -> Band | None:
    """A band is asked for each second, and learned again only when the past has grown."""
    return usual_band(past, at, deviations=deviations, least=least, holidays=holidays)


def lasting_longer(  # noqa: PLR0913, PLR0917 - one rule for runs and tasks
    connection: Connection,
    deadline: Deadline,
    dag_id: str,
    now: float,
    begun: str,
    ended: str,
    limit: float,
    than: str = "",
) -> Iterator[Standing]:
    """Runs, or tasks, that take longer than ``limit`` seconds."""
    for subject, occasion, start, end in _spans(connection, dag_id, begun, ended, now, limit * deadline.warn):
        if deadline.task and not fnmatchcase(subject, deadline.task):
            continue
        due, last = start + limit, end if end is not None else now
        what = f"task {subject}" if subject else "the run"
        run_id, task_id = occasion.partition("\x1f")[0], subject or None
        told = "" if than else f"{subject} of {run_id}" if subject else run_id
        if last >= due:
            reason = f"{what} takes longer {than}than {lasting(limit)}, it began at {iso(start)}"
            state: Literal["missed", "over"] = "missed" if end is None else "over"
            yield Standing(state, dag_id, due, reason, run_id, task_id, end, occasion=told)
        elif end is None and deadline.warn < 1 and now >= start + limit * deadline.warn:
            reason = f"{what} is not done, and is due at {iso(due)}"
            yield Standing("near", dag_id, due, reason, run_id, task_id, occasion=told)


def lasting_shorter(  # noqa: PLR0913, PLR0917 - one rule for runs and tasks
    look: Look, deadline: Deadline, dag_id: str, begun: str, ended: str, limit: float
) -> Iterator[Standing]:
    """Runs, or tasks, that are under way and not late, and those that have ended in time since the last look."""
    for subject, occasion, start, end in _spans(look.connection, dag_id, begun, ended, look.now, 0.0, look.since):
        if deadline.task and not fnmatchcase(subject, deadline.task):
            continue
        run_id, task_id = occasion.partition("\x1f")[0], subject or None
        told = f"{subject} of {run_id}" if subject else run_id
        what = f"task {subject}" if subject else "the run"
        state: Literal["upcoming", "kept"] = "upcoming" if end is None else "kept"
        yield Standing(
            state, dag_id, start + limit, f"{what} began at {iso(start)}", run_id, task_id, end, occasion=told
        )


def _spans(  # noqa: PLR0913, PLR0917 - one question about runs and tasks
    connection: Connection, dag_id: str, begun: str, ended: str, now: float, least: float, since: float = 0.0
) -> list[tuple[str, str, float, float | None]]:
    """(subject, occasion, start, end) of what is under way or ended lately, and has taken ``least`` seconds or more."""
    about = {"begun": begun, "ended": ended, "dag_id": dag_id, "now": now, "least": least}
    first = float(read_cursor(connection, "since") or 0)  # what ended before the first watcher came is not judged
    bounds = {"open_since": now - _OPEN_S, "ended_since": max(first, since, now - _LOOKBACK_S)}
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(_SPANS, {**about, **bounds})]


def last_within(  # noqa: PLR0913, PLR0917 - one rule for assets and successes
    connection: Connection,
    deadline: Deadline,
    dag_id: str | None,
    last: float | None,
    within: float,
    now: float,
    what: str,
    pauses: Pauses | None = None,
) -> Iterator[Standing]:
    """Judge what was not done since ``last``, and is allowed ``within`` seconds without the pauses of its DAG."""
    since = last if last is not None else first_looked(connection, f"deadline:{deadline.name}:{dag_id or ''}", now)
    paused = pauses.within(dag_id, since, now) if pauses and dag_id else 0.0
    due = since + within + paused
    words = f"{what} since {iso(since)}" if last is not None else f"{what} that is known"
    if now >= due:
        yield Standing("missed", dag_id, due, f"{words}; {lasting(within)} allowed")
    elif deadline.warn < 1 and now >= due - within * (1 - deadline.warn):
        yield Standing("near", dag_id, due, f"{words}; it is due at {iso(due)}")


def partitions_within(look: Look, deadline: Deadline, within: float) -> Iterator[Standing]:
    """Each partition of an asset that is known, and whose key matches: it must have been updated so lately."""
    glob = str(deadline.partition)
    found: dict[str, float | None] = {**partitions_of(look.connection, str(deadline.asset), glob, look.now)}
    if not set("*?[") & set(glob):
        found.setdefault(glob, None)
    for key, last in sorted(found.items()):
        what = f"partition {key} of {deadline.asset} has not been updated"
        for one in last_within(look.connection, deadline, None, last, within, look.now, what):
            yield replace(one, partition=key)


def rows_of(connection: Connection, deadline: Deadline, dag_id: str, now: float) -> Iterator[Standing]:
    """The last load of each step: its rows against the least, or against what is usual."""
    newest: dict[str, tuple[float, float, str]] = {}
    for subject, when, value, occasion in connection.execute(
        _LAST_ROWS, {"dag_id": dag_id, "since": now - _LOOKBACK_S}
    ):
        newest[subject] = (when, value, occasion)
    for subject, (when, value, occasion) in newest.items():
        task_id, _, step = subject.partition(":")
        if not fnmatchcase(task_id, deadline.task or "*") or not fnmatchcase(step, deadline.step):
            continue
        if reason := _unusual(connection, deadline, dag_id, subject, when, value, occasion):
            yield Standing(
                "missed", dag_id, when, f"step {step} of {task_id} wrote {value:.0f} rows: {reason}", None, task_id
            )


def _unusual(  # noqa: PLR0913, PLR0917 - what there is to know of a load
    connection: Connection, deadline: Deadline, dag_id: str, subject: str, when: float, value: float, occasion: str
) -> str:
    if deadline.rows_at_least is not None:
        return f"at least {deadline.rows_at_least} are expected" if value < deadline.rows_at_least else ""
    if deadline.rows_unlike_usual is None:
        return ""
    usual = usual_of(connection, deadline, deadline.rows_unlike_usual, ("rows", dag_id, subject), when, occasion)
    if usual is None or usual.holds(value):
        return ""
    return f"{usual.low:.0f} to {usual.high:.0f} are usual, learned from {usual.why}"
