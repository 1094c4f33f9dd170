"""Replay the runs of the past against rules: what would have been sent, when, to whom and why.

The runs in the ledger are judged one DAG after another, with the same calendar, forecasts, routes and silences as the
watcher's. Failed runs, and deadlines about runs, are replayed. What the ledger does not keep for long, or at all, is
named and left out: rows, assets, single tasks, silences that people made, reminders, escalations and digests.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timezone
from fnmatch import fnmatchcase
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from observability.watch.baseline import Past, usual_band
from observability.watch.clock import clock_days_since
from observability.watch.durations import lasting
from observability.watch.forecast import MOST_RUNS, WARN_AT, RunModel
from observability.watch.forecasts import in_words
from observability.watch.incidents import Incident
from observability.watch.ledger import schema
from observability.watch.pauses import Pauses
from observability.watch.rules.config import CONDITIONS, decide, matches
from observability.watch.run_times import RunTimes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from observability.watch.rules.config import AlertingConfig, Deadline

__all__ = ["Backtest", "Record", "Sent", "backtest", "difference"]

REPLAYED = ("run_finishes_within", "run_finishes_by", "starts_by", "success_within", "slower_than_usual")
_LOOKS = 12
"""Moments in a run at which its forecast is asked for."""
_HOUR_S = 3600.0
_WARM_UP_S = 60 * 86_400.0
"""Runs before the time that is replayed, from which forecasts and what is usual are learned."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A notification that would have been sent; ``at`` in seconds since 1970, ``why`` names the route."""

    at: float
    kind: str
    rule: str
    dag_id: str
    run_id: str | None
    severity: str
    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    reason: str
    why: str

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same notification under other rules."""
        return (round(self.at), self.kind, self.rule, self.dag_id, self.run_id, self.severity, self.channels)


@dataclass(slots=True)
class Record:
    """Counts: how often a deadline was judged, missed, warned of, and warned of in vain."""

    name: str
    judged: int = 0
    missed: int = 0
    warned: int = 0
    in_vain: int = 0
    dags: set[str] = field(default_factory=set)

    @property
    def kept(self) -> float | None:
        """The share that was kept; None where nothing was judged."""
        return 1 - self.missed / self.judged if self.judged else None


@dataclass(frozen=True, slots=True)
class Backtest:
    """The replayed runs, and the messages that would have been sent, by time. ``left_out``: what was not replayed."""

    since: float
    until: float
    runs: int
    sent: tuple[Sent, ...]
    deadlines: tuple[Record, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """A deadline of one DAG at one time: when it was due, what missed it, and until when it was late."""

    due: float
    reason: str
    missed: bool
    over: float | None = None
    run_id: str | None = None
    warned: float | None = None
    warning: str = ""


def backtest(  # noqa: PLR0913 - what a replay needs
    connection: Connection,
    rules: AlertingConfig,
    dags: Mapping[str, Mapping[str, Any]],
    since: float,
    until: float,
    *,
    only: str = "*",
) -> Backtest:
    """Replay what the ledger knows of the runs of DAGs that match ``only``, from ``since`` to ``until``.

    ``dags`` is what is known of each DAG: its owner and tags, for the routes.
    """
    records = {one.name: Record(one.name) for one in rules.deadlines if _condition(one) in REPLAYED}
    left_out = tuple(
        f"deadline {one.name}: {_condition(one)} is not replayed" for one in rules.deadlines if one.name not in records
    )
    days = {
        one.name: clock_days_since(
            str(one.run_finishes_by), one.timezone, one.days, since, until, one.day_begins, one.holidays
        )
        for one in rules.deadlines
        if one.run_finishes_by is not None
    }  # fmt: skip
    pauses = Pauses(connection, None, until)
    sent: list[Sent] = []
    runs = 0
    for dag_id, found in _runs_by_dag(connection, since - _WARM_UP_S, until):
        if not fnmatchcase(dag_id, only):
            continue
        replay = _Replay(connection, rules, dag_id, found, (since, until), pauses, dags.get(dag_id, {}))
        runs += replay.judged
        sent += replay.failures()
        for deadline in rules.deadlines:
            if deadline.name in records and fnmatchcase(dag_id, deadline.dag):
                sent += replay.deadline(deadline, records[deadline.name], days.get(deadline.name, ()))
    order = sorted(sent, key=lambda one: (one.at, one.dag_id, one.rule, one.kind))
    return Backtest(since, until, runs, tuple(order), tuple(records.values()), left_out)


def difference(new: Backtest, old: Backtest) -> tuple[list[Sent], list[Sent]]:
    """The notifications that only the new rules would have sent, and those that only the old ones would have."""
    before, after = {one.key for one in old.sent}, {one.key for one in new.sent}
    return [one for one in new.sent if one.key not in before], [one for one in old.sent if one.key not in after]


class _Replay:
    """The runs of one DAG, oldest first, some of them from before the time that is replayed."""

    def __init__(  # noqa: PLR0913, PLR0917 - what a replay needs
        self,
        connection: Connection,
        rules: AlertingConfig,
        dag_id: str,
        runs: Sequence[RunTimes],
        span: tuple[float, float],
        pauses: Pauses,
        about: Mapping[str, Any],
    ) -> None:
        self._connection, self._rules, self._dag_id = connection, rules, dag_id
        self._runs, self._pauses, self._about = runs, pauses, about
        self._since, self._until = span
        self._in_span = [one for one in runs if one.begun >= self._since]
        self._ordinary = [one for one in runs if one.ordinary]
        self.judged = len(self._in_span)
        self._broken = list(self._streaks())

    def failures(self) -> Iterator[Sent]:
        """The failed runs: one that fails while the one before is broken is a part of its incident."""
        for begin, end, first in self._broken:
            reason = f"run {first.run_id} failed"
            yield from self._told("opened", "run failed", begin, reason, run_id=first.run_id, kind="run")
            if end is not None:
                repaired = f"a run succeeded {lasting(end - begin)} later"
                yield from self._told("resolved", "run failed", end, repaired, run_id=first.run_id, kind="run")

    def deadline(self, deadline: Deadline, record: Record, days: Sequence[Any]) -> Iterator[Sent]:
        """Return the messages of one deadline, and its record.

        A day that is missed while an earlier one still is belongs to its incident, as it does for the engine.
        """
        late_until, open_case = 0.0, None
        for case in self._cases(deadline, days):
            record.judged += 1
            record.dags.add(self._dag_id)
            record.missed += case.missed
            held = self._is_broken(case.due, case.run_id)
            warned = case.warned is not None and not self._is_broken(case.warned, case.run_id)
            record.warned += warned
            record.in_vain += warned and not case.missed
            if warned:
                at = float(case.warned or 0)
                yield from self._told("early_warning", deadline.name, at, case.warning, run_id=case.run_id,
                                      severity="warning")  # fmt: skip
            is_new = case.missed and not held
            if is_new and case.run_id is None:
                goes_on = late_until >= case.due
                late_until = max(late_until, inf if case.over is None else case.over)
                if goes_on and open_case is not None:
                    open_case = replace(open_case, over=None if late_until == inf else late_until)
                    continue
            if open_case is not None:
                yield from self._over(deadline, open_case)
            open_case = case if warned or is_new else None
            if is_new:
                yield from self._told(
                    "opened", deadline.name, case.due, case.reason, run_id=case.run_id, severity=deadline.severity
                )
        if open_case is not None:
            yield from self._over(deadline, open_case)

    def _over(self, deadline: Deadline, case: _Case) -> Iterator[Sent]:
        if case.over is not None:
            yield from self._told("resolved", deadline.name, case.over, "what was late has happened",
                                  run_id=case.run_id, severity=deadline.severity)  # fmt: skip

    def _cases(self, deadline: Deadline, days: Sequence[Any]) -> Iterator[_Case]:
        if deadline.run_finishes_within is not None:
            yield from self._within(deadline, deadline.run_finishes_within)
        elif deadline.run_finishes_by is not None:
            yield from self._by(deadline, days)
        elif deadline.starts_by is not None:
            yield from self._starts(deadline)
        elif deadline.success_within is not None:
            yield from self._successes(deadline, deadline.success_within)
        else:
            yield from self._slower(deadline)

    def _within(self, deadline: Deadline, limit: float) -> Iterator[_Case]:
        for run in self._in_span:
            due = (
                run.begun
                + limit
                + self._pauses.within(self._dag_id, run.begun, run.ended or self._until, draining=False)
            )
            yield self._case(deadline, run, due, limit, f"the run takes longer than {lasting(limit)}")

    def _case(self, deadline: Deadline, run: RunTimes, due: float, limit: float, reason: str) -> _Case:
        """A run beside the time at which it was due."""
        end = run.ended if run.ended is not None else self._until
        warned, words = self._warning(deadline, run, due, due - limit * (1 - deadline.warn))
        return _Case(due, reason, end > due, run.ended if end > due or warned else None, run.run_id, warned, words)

    def _warning(self, deadline: Deadline, run: RunTimes, due: float, share_at: float) -> tuple[float | None, str]:
        """Return when a run would have been warned of, and the words; one done before the share is not looked at."""
        end = run.ended if run.ended is not None else self._until
        if deadline.warn >= 1 or end <= share_at:
            return None, ""
        words = f"the run is not done, and is due at {_iso(due)}"
        if "warn" in deadline.model_fields_set:
            return share_at, words
        model = self._model(run)
        if model is None:
            return share_at, words
        until = min(end, due)
        for number in range(1, _LOOKS + 1):
            now = run.begun + (until - run.begun) * (number - 0.02) / _LOOKS
            found = model.forecast(_seen_at(run, now), now)
            if found.chance_after(due) >= WARN_AT:
                return now, in_words(found, due, deadline.timezone)
        return None, ""

    def _model(self, run: RunTimes) -> RunModel | None:
        """The model of a run, from the runs before it; their tasks are read only here, where few runs come."""
        earlier = [one for one in self._ordinary if one.begun < run.begun and one.succeeded][-MOST_RUNS:]
        tasks = _tasks_of(self._connection, self._dag_id, [one.run_id for one in (*earlier, run)])
        for one in (*earlier, run):
            one.tasks = tasks.get(one.run_id, one.tasks)
        return RunModel.learn(earlier, run.begun) if run.tasks and run.ordinary else None

    def _by(self, deadline: Deadline, days: Sequence[Any]) -> Iterator[_Case]:
        good = sorted((one.ended, one.begun, one) for one in self._ordinary if one.succeeded and one.ended is not None)
        first = min((one.begun for one in self._runs), default=self._until)
        for day in days:
            if day.due < first or self._pauses.covers(self._dag_id, day.due):
                continue
            done = next((one for one in good if one[1] >= day.begins), None)
            end = done[0] if done else None
            missed = end is None or end > day.due
            reason = (
                f"no run has succeeded for {day.date}, one was due by {deadline.run_finishes_by} {deadline.timezone}"
            )
            share_at = day.due - (day.due - day.begins) * (1 - deadline.warn)
            of_day = [one for one in self._ordinary if day.begins <= one.begun < day.due]
            warned, words = None, ""
            if of_day and (end is None or end > share_at):
                warned, words = self._warning(deadline, of_day[-1], day.due, max(share_at, of_day[-1].begun))
            elif deadline.warn < 1 and (end is None or end > share_at):
                warned, words = share_at, reason.replace(" was due", " is due")
            yield _Case(day.due, reason, missed, end if missed or warned else None, None, warned, words)

    def _starts(self, deadline: Deadline) -> Iterator[_Case]:
        begins = [one.begun for one in self._ordinary]
        starts = clock_days_since(
            str(deadline.starts_by), deadline.timezone, deadline.days, self._since, self._until,
            holidays=deadline.holidays,
        )  # fmt: skip
        for day in starts:
            midnight = datetime.combine(day.date, time(), ZoneInfo(deadline.timezone)).timestamp()
            if not begins or day.due < begins[0] or self._pauses.covers(self._dag_id, day.due):
                continue
            place = bisect_left(begins, midnight)
            begun = begins[place] if place < len(begins) else None
            missed = begun is None or begun > day.due
            reason = f"no run has begun on {day.date}, one was due by {deadline.starts_by} {deadline.timezone}"
            warn_at = day.due - _HOUR_S * (1 - deadline.warn)
            warned = warn_at if deadline.warn < 1 and (begun is None or begun > warn_at) else None
            yield _Case(day.due, reason, missed, begun if missed or warned else None, None, warned, reason)

    def _successes(self, deadline: Deadline, within: float) -> Iterator[_Case]:
        ends = [float(one.ended) for one in self._ordinary if one.succeeded and one.ended is not None]
        ends.sort()
        for number, last in enumerate(ends):
            over = ends[number + 1] if number + 1 < len(ends) else None
            due = last + within + self._pauses.within(self._dag_id, last, over or self._until)
            if not self._since <= due <= self._until:
                continue
            warn_at = due - within * (1 - deadline.warn)
            warned = warn_at if deadline.warn < 1 and (over is None or over > warn_at) else None
            missed = over is None or over > due
            reason = f"no successful run since {_iso(last)}; {lasting(within)} allowed"
            yield _Case(due, reason, missed, over if missed or warned else None, None, warned, reason)

    def _slower(self, deadline: Deadline) -> Iterator[_Case]:
        width = deadline.slower_than_usual
        past: list[Past] = []
        for run in self._runs:
            lasted = float(run.ended or self._until) - run.begun
            if run.begun >= self._since and len(past) >= deadline.history_least:
                yield self._slow(deadline, run, lasted, past, None if width is True else width)
            if run.succeeded:
                past.append(Past(float(run.ended or 0), lasted, run.ordinary))

    def _slow(
        self, deadline: Deadline, run: RunTimes, lasted: float, past: Sequence[Past], width: float | None
    ) -> _Case:
        within = _Case(run.begun + lasted, "", missed=False)
        if lasted < 1.2 * median([one.value for one in past[-20:]]):  # no band is so narrow
            return within
        band = usual_band(past[-400:], run.begun, deviations=width, least=deadline.history_least,
                          holidays=deadline.holidays)  # fmt: skip
        if band is None or lasted <= band.high:
            return within
        reason = f"the run takes longer than usual than {lasting(band.high)}, learned from {band.why}"
        return _Case(run.begun + band.high, reason, missed=True, over=run.ended, run_id=run.run_id)

    def _streaks(self) -> Iterator[tuple[float, float | None, RunTimes]]:
        """From when to when a failure of the DAG was open, and the run that opened it."""
        opened: RunTimes | None = None
        for run in sorted((one for one in self._runs if one.ended is not None), key=lambda one: float(one.ended or 0)):
            if run.succeeded is False and opened is None:
                opened = run
            elif run.succeeded and opened is not None and run.ordinary:
                yield float(opened.ended or 0), run.ended, opened
                opened = None
        if opened is not None:
            yield float(opened.ended or 0), None, opened

    def _is_broken(self, at: float, run_id: str | None) -> bool:
        """True while people know of a failure that explains it: then nothing is said of a deadline."""
        return any(
            begin <= at and (end is None or at < end) and (run_id is None or run_id == first.run_id)
            for begin, end, first in self._broken
        )

    def _told(  # noqa: PLR0913, PLR0917 - what a notification is made of
        self,
        notice: str,
        rule: str,
        at: float,
        reason: str,
        run_id: str | None = None,
        kind: str = "deadline",
        severity: str = "error",
    ) -> Iterator[Sent]:
        if not self._since <= at <= self._until:
            return
        one = Incident(
            id="", key="", state="open", kind=kind, severity=severity, reason=reason, certainty=3, first_seen=at,
            last_seen=at, cause="deadline" if kind == "deadline" else "app", dag_id=self._dag_id, run_id=run_id,
            about=dict(self._about), subject=rule,
        )  # fmt: skip
        if any(_silences(window, one, at) for window in self._rules.silences):
            return
        found = decide(self._rules, one, at)
        yield Sent(at, notice, rule, self._dag_id, run_id, found.severity, found.receivers, found.channels, reason,
                   found.why[-1] if found.why else "")  # fmt: skip


def _silences(window: Any, one: Incident, at: float) -> bool:
    begin, end = window.begins_at, window.ends_at
    lasts = (begin is None or begin <= at) and (end is None or at < end)
    return lasts and matches(window.match, one, at) is None


def _condition(deadline: Deadline) -> str:
    return next(name for name in CONDITIONS if getattr(deadline, name) is not None)


def _runs_by_dag(connection: Connection, since: float, until: float) -> Iterator[tuple[str, list[RunTimes]]]:
    """The runs of each DAG, without their tasks, the oldest first."""
    table = schema.run_times
    columns = (table.c.dag_id, table.c.run_id, table.c.begun, table.c.ended, table.c.succeeded, table.c.ordinary)
    asked = select(*columns).where(table.c.begun >= since, table.c.begun <= until).order_by(table.c.begun)
    found: dict[str, list[RunTimes]] = defaultdict(list)
    for row in connection.execute(asked):
        found[row[0]].append(RunTimes(row[0], row[1], row[2], row[3], row[4], bool(row[5])))
    yield from sorted(found.items())


def _tasks_of(connection: Connection, dag_id: str, run_ids: Sequence[str]) -> dict[str, Any]:
    table = schema.run_times
    asked = select(table).where(table.c.dag_id == dag_id, table.c.run_id.in_(run_ids))
    return {row["run_id"]: RunTimes.from_row(row).tasks for row in connection.execute(asked).mappings()}


def _seen_at(run: RunTimes, now: float) -> RunTimes:
    """The part of a run that was known at a moment."""
    found = RunTimes(run.dag_id, run.run_id, run.begun)
    for name, one in run.tasks.items():
        if run.begun + one.start <= now:
            end = None if one.end is None else run.begun + one.end
            found.add(name, run.begun + one.start, end if end is not None and end <= now else None)
    return found


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
