"""Find what should have happened and has not: deadlines, freshness, what is usual.

Judged from the ledger alone, so that a restart of everything changes nothing. A deadline is declared in
``alerts.yaml`` or next to the DAG: as its param ``contrail_deadlines`` (a list of the same mappings, without
``dag``), or as a tag such as ``run_finishes_within=2h``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, timezone
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import structlog
from pydantic import ValidationError
from sqlalchemy import Float, and_, bindparam, func, or_, select

from observability.events import DeadlineApproached, DeadlineMissed, DeadlineRecovered, Identity
from observability.watch.clock import clock_days
from observability.watch.facts import CERTAIN, Fact, observed, seconds
from observability.watch.forecast import WARN_AT
from observability.watch.forecasts import CALM_AT, in_words
from observability.watch.incidents import key_of
from observability.watch.ledger import records, schema
from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.pauses import Pauses
from observability.watch.rules.config import CONDITIONS, Deadline
from observability.watch.spans import lasting
from observability.watch.usual import Past, usual_band

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Select
    from sqlalchemy.engine import Connection

    from observability.watch.forecasts import Forecasts, LiveForecast
    from observability.watch.incidents import Incident
    from observability.watch.usual import Band

__all__ = ["Deadlines", "Standing", "beside_dag", "recovered"]

_LOOKBACK_S = 7 * 86_400.0
_OPEN_S = 30 * 86_400.0
_START_WARNING_S = 3600.0
_CURSOR_MOST = 200
_DAYS_BACK = 15
"""A start that was missed longer ago than this is forgotten."""
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a deadline for one DAG or run. ``over``: it was missed, and what was late has happened since."""

    state: Literal["near", "missed", "over"]
    dag_id: str | None
    due: float
    reason: str
    run_id: str | None = None
    task_id: str | None = None
    ended: float | None = None
    expected: float | None = None
    chance: float | None = None
    """Of one that is foreseen: the likely end, and the chance that it is missed."""


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


class Deadlines:
    """The deadlines in force; ``dags`` is what is known of each DAG (owner, tags, deadlines declared beside it).

    ``blind``: what other hosts tell is not known now, so that nothing is called late which only they can tell of.
    ``known``: Airflow has said which DAGs there are; a DAG that it runs not, on purpose, is neither late nor stale.
    """

    def __init__(
        self,
        declared: Sequence[Deadline],
        dags: Mapping[str, Mapping[str, Any]],
        *,
        blind: bool = False,
        known: bool | None = None,
        forecasts: Forecasts | None = None,
    ) -> None:
        self._forecasts = None if blind else forecasts
        self._open: set[str] = set()
        self._dags, self._are_known = dags, bool(dags) if known is None else known
        self._known: list[str] | None = None
        declared = [*declared, *(one for dag_id, about in dags.items() for one in beside_dag(dag_id, about))]
        self._names = {one.name for one in declared}
        self._all = [one for one in declared if not (blind and _is_told_by_events(one))]

    def check(self, connection: Connection, now: float) -> list[Fact]:
        """Facts about deadlines that come near, are missed, or have recovered."""
        facts: list[Fact] = []
        standing: set[str] = set()
        self._known = None  # asked once a look: it takes a look at the whole history
        self._open = {one.key for one in records.live_incidents(connection, family="deadline")}
        self._pauses = Pauses(connection, self._dags if self._are_known else None, now)
        for deadline in self._all:
            for one in self._standings(connection, deadline, now):
                fact = self._fact(deadline, one, now)
                if one.chance is not None and one.chance < WARN_AT and key_of(fact) not in self._open:
                    continue
                facts.append(fact)
                if one.state != "over":
                    standing.add(key_of(fact))
        return [*facts, *self._recovered(connection, standing, now)]

    def _recovered(self, connection: Connection, standing: set[str], now: float) -> Iterator[Fact]:
        judged = {deadline.name for deadline in self._all}
        for one in records.live_incidents(connection, family="overdue"):
            if one.dag_id and (why := self._pauses.starts_nothing(one.dag_id)):
                yield Fact(family="overdue", sign="recovered", time=now, dag_id=one.dag_id, reason=why)
        for one in records.live_incidents(connection, family="deadline"):
            if one.key in standing or not (one.told or one.held_by):
                continue
            idle = self._pauses.starts_nothing(one.dag_id) if one.dag_id else ""
            why = idle or "what was late has happened"
            if not one.evidence.get("deadline.declared") and (done := _done(connection, one)):
                why = done
            elif self._are_known and one.name not in self._names and one.evidence.get("deadline.declared"):
                why = "it is declared no longer"
            elif one.name not in judged and "no longer has" not in idle:
                continue
            yield recovered(one, why, now)

    def _fact(self, deadline: Deadline, one: Standing, now: float) -> Fact:
        known = self._dags.get(one.dag_id or "", {})
        about = {name: known[name] for name in ("owner", "tags", "env") if known.get(name)}
        identity = Identity(
            dag_id=one.dag_id,
            run_id=one.run_id,
            task_id=one.task_id,
            owner=about.get("owner"),
            tags=tuple(about["tags"]) if "tags" in about else None,
        )
        told: dict[str, Any] = {
            "identity": identity,
            "deadline": deadline.name,
            "reason": one.reason,
            "witness": "deadline",
        }
        due = datetime.fromtimestamp(one.due, timezone.utc)
        if one.expected is not None:
            told["expected"] = datetime.fromtimestamp(one.expected, timezone.utc)
            told["chance"] = one.chance
        event = (
            DeadlineApproached(due=due, severity="warning", **told)
            if one.state == "near"
            else DeadlineMissed(due=due, lateness_ns=_lateness_ns(one.due, now), severity=deadline.severity, **told)
        )
        return observed(
            event,
            time=min(now, one.due) if one.state != "near" else now,
            certainty=CERTAIN,
            evidence={"deadline.due": _moment(one.due), "deadline.declared": True}
            | ({"deadline.asset": deadline.asset} if deadline.asset else {}),
            about=about,
        )

    def _standings(self, connection: Connection, deadline: Deadline, now: float) -> Iterator[Standing]:
        if deadline.asset is not None:
            if not self._nobody_updates(connection, deadline.asset):
                yield from _asset(connection, deadline, now)
            return
        if self._known is None:
            self._known = sorted(self._dags) if self._are_known else _dag_ids(connection, self._dags)
        days = (deadline.starts_by, deadline.run_finishes_by, deadline.success_within)
        starts = any(one is not None for one in days)
        for dag_id in [dag_id for dag_id in self._known if fnmatchcase(dag_id, deadline.dag)]:
            if not (self._pauses.starts_nothing(dag_id) if starts else self._pauses.stands_still(dag_id)):
                yield from self._of_dag(connection, deadline, dag_id, now)

    def _of_dag(self, connection: Connection, deadline: Deadline, dag_id: str, now: float) -> Iterator[Standing]:
        if deadline.run_finishes_within is not None:
            limit = deadline.run_finishes_within
            late = _lasting(connection, deadline, dag_id, now, "started", "ended", limit)
            late = self._without_pauses(late, limit, deadline, now)
            yield from self._with_forecasts(connection, deadline, dag_id, now, late)
        elif deadline.task_finishes_within is not None:
            limit = deadline.task_finishes_within
            yield from _lasting(connection, deadline, dag_id, now, "task_started", "task_ended", limit)
        elif deadline.slower_than_usual is not None:
            begun = records.last_time(connection, "started", dag_id) or now
            usual = _usual(connection, deadline, deadline.slower_than_usual, ("duration", dag_id, ""), begun)
            if usual is not None:
                limit = usual.high
                late = _lasting(connection, deadline, dag_id, now, "started", "ended", limit, "than usual ")
                yield from self._without_pauses(late, limit, deadline, now)
        elif deadline.starts_by is not None:
            yield from _starts(connection, deadline, dag_id, now, self._pauses)
        elif deadline.run_finishes_by is not None:
            yield from self._with_forecast_of_day(connection, deadline, dag_id, now)
        elif deadline.success_within is not None:
            last = records.last_time(connection, "success", dag_id, current=True)
            within = deadline.success_within
            yield from _age(connection, deadline, dag_id, last, within, now, "no successful run", self._pauses)
        else:
            yield from _rows(connection, deadline, dag_id, now)

    def _without_pauses(
        self, standings: Iterator[Standing], limit: float, deadline: Deadline, now: float
    ) -> Iterator[Standing]:
        """The same, where a run is allowed the time in which its DAG was paused as well."""
        for one in standings:
            begun = one.due - limit
            last = one.ended if one.ended is not None else now
            due = one.due + self._pauses.within(str(one.dag_id), begun, last, draining=False)
            if last >= due:
                yield replace(one, due=due)
            elif one.ended is None and deadline.warn < 1 and now >= due - limit * (1 - deadline.warn):
                yield replace(one, state="near", due=due)

    def _foreseen(self, connection: Connection, deadline: Deadline, dag_id: str, now: float) -> list[LiveForecast]:
        """The runs of a DAG whose end can be foreseen, where the rule does not say itself when to warn."""
        if self._forecasts is None or "warn" in deadline.model_fields_set:
            return []
        return [one for one in self._forecasts.of_dag(connection, dag_id, now) if one.forecast is not None]

    def _with_forecasts(
        self, connection: Connection, deadline: Deadline, dag_id: str, now: float, standings: Iterator[Standing]
    ) -> Iterator[Standing]:
        """The standings of runs, where one whose end is foreseen is warned of by its forecast, not by the clock."""
        foreseen = {one.run.run_id: one for one in self._foreseen(connection, deadline, dag_id, now)}
        for one in standings:
            if one.state != "near" or one.run_id not in foreseen:
                yield one
        for run_id, live in foreseen.items():
            due = live.run.begun + float(deadline.run_finishes_within or 0)
            due += self._pauses.within(dag_id, live.run.begun, now, draining=False)
            if now < due and (near := _near(deadline, dag_id, live, due)) is not None:
                yield replace(near, run_id=run_id)

    def _with_forecast_of_day(
        self, connection: Connection, deadline: Deadline, dag_id: str, now: float
    ) -> Iterator[Standing]:
        """The standing of a day, where a day whose run is under way is warned of by its forecast."""
        foreseen = self._foreseen(connection, deadline, dag_id, now)
        day = next(clock_days(str(deadline.run_finishes_by), deadline.timezone, deadline.days, now,
                              since=deadline.day_begins, holidays=deadline.holidays), None)  # fmt: skip
        of_day = [one for one in foreseen if day is not None and one.run.begun >= day.begins and now < day.due]
        for one in _finishes(connection, deadline, dag_id, now, self._pauses):
            if one.state != "near" or not of_day:
                yield one
        last = connection.execute(_LAST_SUCCESS, {"dag_id": dag_id}).scalar()
        if day is None or not of_day or (last is not None and last >= day.begins):
            return
        best = min(of_day, key=lambda one: one.forecast.chance_after(day.due) if one.forecast else 1.0)
        if (near := _near(deadline, dag_id, best, day.due)) is not None:
            yield near

    def _nobody_updates(self, connection: Connection, asset: str) -> bool:
        """True if every DAG that is known to have updated an asset is paused, draining or gone."""
        producers = records.dags_with(connection, "asset_of", asset)
        return bool(producers) and all(self._pauses.starts_nothing(dag_id) for dag_id in producers)


def _near(deadline: Deadline, dag_id: str, live: LiveForecast, due: float) -> Standing | None:
    """The standing of a run that may miss what is due; None where its chance is too small to go on with a warning."""
    found = live.forecast
    if found is None or (chance := found.chance_after(due)) < CALM_AT:
        return None
    words = in_words(found, due, deadline.timezone)
    return Standing("near", dag_id, due, words, expected=found.expected, chance=round(chance, 2))


def recovered(one: Incident, why: str, now: float) -> Fact:
    """The fact that an incident about a deadline is over, and ``why``."""
    due = one.evidence.get("deadline.due")
    event = DeadlineRecovered(
        identity=Identity(dag_id=one.dag_id, run_id=one.run_id, task_id=one.task_id, owner=one.about.get("owner")),
        deadline=one.name,
        reason=why,
        due=datetime.fromisoformat(due) if due else None,
        lateness_ns=_lateness_ns(seconds(due), now) if due else None,
        witness="deadline",
    )
    return observed(event, time=now)


def _done(connection: Connection, one: Incident) -> str:
    """The success that ends a missed deadline of Airflow's own (a ``DeadlineAlert``), in words; empty without one.

    Airflow reports that a deadline was missed and never that its run is done.
    """
    if not (one.dag_id and one.run_id):
        return ""
    due = seconds(one.evidence["deadline.due"]) if "deadline.due" in one.evidence else one.first_seen
    success = records.first_time(connection, "success", one.dag_id, one.run_id)
    if success is not None and success >= due:
        return f"run {one.run_id} succeeded"
    ended = records.first_time(connection, "ended", one.dag_id, one.run_id)
    later = records.last_time(connection, "success", one.dag_id, current=True)
    if ended is not None and later is not None and later > max(due, ended):
        return f"run {one.run_id} has ended, and a later run succeeded"
    return ""


def _is_told_by_events(deadline: Deadline) -> bool:
    """True if only events say that it was kept: of runs Airflow's API tells as well."""
    return deadline.asset is not None or deadline.task_finishes_within is not None


def _lateness_ns(due: float, now: float) -> int:
    return int(max(0.0, now - due) * 1e9)


def beside_dag(dag_id: str, about: Mapping[str, Any]) -> list[Deadline]:
    """The deadlines that a DAG declares itself; one that is not valid is left out, and said so in the log."""
    declared = about.get("deadlines")
    wanted = [dict(one) for one in declared if isinstance(one, dict)] if isinstance(declared, list) else []
    for tag in about.get("tags") or ():
        name, _, value = str(tag).partition("=")
        if name in CONDITIONS and value:
            wanted.append({name: True if value == "true" else value})
    found = []
    for number, one in enumerate(wanted, 1):
        try:
            valid = Deadline.model_validate({"name": _name(dag_id, number), **one, "dag": "*"})
            found.append(valid.model_copy(update={"dag": dag_id}))
        except ValidationError as error:
            _say_once(dag_id, error.errors()[0]["msg"])
    return found


def _name(dag_id: str, number: int) -> str:
    """A name for what has none; a DAG id may have letters, and a length, that a deadline's name may not."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', dag_id)[:70]}-{number}"


@lru_cache(maxsize=1000)
def _say_once(dag_id: str, reason: str) -> None:
    structlog.get_logger("contrail.watch").warning("a deadline is not valid", dag_id=dag_id, reason=reason)


def _usual(  # noqa: PLR0913, PLR0917 - the rule, what it is about, and when
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


def _lasting(  # noqa: PLR0913, PLR0917 - one rule for runs and tasks
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
        if last >= due:
            reason = f"{what} takes longer {than}than {lasting(limit)}, it began at {_moment(start)}"
            yield Standing("missed" if end is None else "over", dag_id, due, reason, run_id, task_id, end)
        elif end is None and deadline.warn < 1 and now >= start + limit * deadline.warn:
            yield Standing("near", dag_id, due, f"{what} is not done, and is due at {_moment(due)}", run_id, task_id)


def _spans(  # noqa: PLR0913, PLR0917 - one question about runs and tasks
    connection: Connection, dag_id: str, begun: str, ended: str, now: float, least: float
) -> list[tuple[str, str, float, float | None]]:
    """(subject, occasion, start, end) of what is under way or ended lately, and has taken ``least`` seconds or more."""
    about = {"begun": begun, "ended": ended, "dag_id": dag_id, "now": now, "least": least}
    first = float(read_cursor(connection, "since") or 0)  # what ended before the first watcher came is not judged
    bounds = {"open_since": now - _OPEN_S, "ended_since": max(first, now - _LOOKBACK_S)}
    return [(row[0], row[1], row[2], row[3]) for row in connection.execute(_SPANS, {**about, **bounds})]


def _starts(connection: Connection, deadline: Deadline, dag_id: str, now: float, pauses: Pauses) -> Iterator[Standing]:
    """A day's run that has not begun; it stays missed until one begins, whatever the calendar says.

    What was due before anybody looked is not judged; of the day before that, the first look at Airflow tells.
    """
    zone = ZoneInfo(deadline.timezone)
    today = datetime.fromtimestamp(now, timezone.utc).astimezone(zone).date()
    first = _first_looked(connection, f"deadline:{deadline.name}:{dag_id}", now)
    last = records.last_time(connection, "started", dag_id, current=True)
    for day in (today - timedelta(days=back) for back in range(_DAYS_BACK)):
        if day in deadline.holidays or (deadline.days and _DAYS[day.weekday()] not in deadline.days):
            continue
        midnight = datetime.combine(day, time(), zone).timestamp()
        if last is not None and last >= midnight:
            return
        by = datetime.combine(day, time.fromisoformat(str(deadline.starts_by)), zone)
        due = max(by.timestamp(), by.replace(fold=1).timestamp())
        words = f"no run has begun on {day}, one %s due by {deadline.starts_by} {deadline.timezone}"
        if now >= due:
            if first <= due and not pauses.covers(dag_id, due):
                yield Standing("missed", dag_id, due, words % "was")
            return
        if deadline.warn < 1 and now >= due - _START_WARNING_S * (1 - deadline.warn):
            yield Standing("near", dag_id, due, words % "is")


def _finishes(
    connection: Connection, deadline: Deadline, dag_id: str, now: float, pauses: Pauses
) -> Iterator[Standing]:
    """A day's run that has not succeeded, whether it is late, has failed or never began."""
    begun = connection.execute(_LAST_SUCCESS, {"dag_id": dag_id}).scalar()
    first = _first_looked(connection, f"deadline:{deadline.name}:{dag_id}", now)
    what, by = "no run has succeeded for {day}, one {was} due by", str(deadline.run_finishes_by)
    for one in _by_clock(deadline, by, dag_id, begun, first, now, what):
        if one.state == "near" or not pauses.covers(dag_id, one.due):
            yield one


def _asset(connection: Connection, deadline: Deadline, now: float) -> Iterator[Standing]:
    uri = str(deadline.asset)
    last = records.last_time(connection, "asset", "", uri)
    if deadline.fresh_by is not None:
        first = _first_looked(connection, f"deadline:{deadline.name}:", now)
        what = f"{uri} has not been updated for {{day}}, it {{was}} due by"
        yield from _by_clock(deadline, deadline.fresh_by, None, last, first, now, what)
        return
    within = float(deadline.fresh_within or 0)
    yield from _age(connection, deadline, None, last, within, now, f"{deadline.asset} has not been updated")


def _by_clock(  # noqa: PLR0913, PLR0917 - one rule for runs and assets
    deadline: Deadline, clock: str, dag_id: str | None, last: float | None, first: float, now: float, what: str
) -> Iterator[Standing]:
    """The state of the newest day whose time has come or comes near. ``last``: when what counts began or happened last.

    It stays missed until something counts for that day or a later one. What was due before ``first`` is not judged.
    """
    for day in clock_days(clock, deadline.timezone, deadline.days, now, since=deadline.day_begins,
                          holidays=deadline.holidays):  # fmt: skip
        if last is not None and last >= day.begins:
            return
        words = f"{what} {clock} {deadline.timezone}"
        if now >= day.due:
            if first <= day.due:
                yield Standing("missed", dag_id, day.due, words.format(day=day.date, was="was"))
            return
        if deadline.warn < 1 and now >= day.due - (day.due - day.begins) * (1 - deadline.warn):
            yield Standing("near", dag_id, day.due, words.format(day=day.date, was="is"))


def _age(  # noqa: PLR0913, PLR0917 - one rule for assets and successes
    connection: Connection,
    deadline: Deadline,
    dag_id: str | None,
    last: float | None,
    within: float,
    now: float,
    what: str,
    pauses: Pauses | None = None,
) -> Iterator[Standing]:
    since = last if last is not None else _first_looked(connection, f"deadline:{deadline.name}:{dag_id or ''}", now)
    paused = pauses.within(dag_id, since, now) if pauses and dag_id else 0.0
    due = since + within + paused
    words = f"{what} since {_moment(since)}" if last is not None else f"{what} that is known"
    if now >= due:
        yield Standing("missed", dag_id, due, f"{words}; {lasting(within)} allowed")
    elif deadline.warn < 1 and now >= due - within * (1 - deadline.warn):
        yield Standing("near", dag_id, due, f"{words}; it is due at {_moment(due)}")


def _first_looked(connection: Connection, name: str, now: float) -> float:
    """The time of the first look at this deadline: before that, nothing can be late."""
    name = name[:_CURSOR_MOST]
    known = read_cursor(connection, name)
    if known is None:
        write_cursor(connection, name, now)
        return now
    return float(known)


def _rows(connection: Connection, deadline: Deadline, dag_id: str, now: float) -> Iterator[Standing]:
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
    usual = _usual(connection, deadline, deadline.rows_unlike_usual, ("rows", dag_id, subject), when, occasion)
    if usual is None or usual.holds(value):
        return ""
    return f"{usual.low:.0f} to {usual.high:.0f} are usual, learned from {usual.why}"


def _dag_ids(connection: Connection, dags: Mapping[str, Any]) -> list[str]:
    """Every DAG that is known to Airflow, or from the history."""
    table = schema.history
    seen = connection.execute(select(table.c.dag_id).where(table.c.dag_id != "").distinct()).scalars()
    return sorted({*dags, *seen})


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
