"""The past as it was known at a moment: what the ledger remembers of runs, tasks and assets, played again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from fnmatch import fnmatchcase
from math import inf
from typing import TYPE_CHECKING

from sqlalchemy import or_, select

from observability.watch.ledger import schema
from observability.watch.run_times import RunTimes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident
    from observability.watch.known import Begin, Load, Span

__all__ = ["KnownThen", "Measured", "measured"]

_USUAL_MOST, _LATELY = 400, 5
_LOOKBACK_S = 7 * 86_400.0
Measured = dict[tuple[str, str], list[tuple[float, float, str, str]]]
"""By measure and DAG (of the updates of an asset: its URI) time, value, subject and occasion, the oldest first."""
_MARKS, _OF_ASSETS = ("logical_date", "partition"), ("asset", "asset_partition")


def measured(connection: Connection, measures: Iterable[str], dag_ids: Iterable[str], until: float) -> Measured:
    """The values of some measures that the ledger has; of assets those of every DAG."""
    table, found = schema.history, defaultdict(list)
    asked = select(table.c.measure, table.c.dag_id, table.c.time, table.c.value, table.c.subject, table.c.occasion)
    of_dags = or_(table.c.dag_id == "", table.c.measure == "asset_of", table.c.dag_id.in_(sorted(dag_ids)))
    where = (table.c.measure.in_(sorted(measures)), table.c.time <= until, of_dags)
    for measure, dag_id, *values in connection.execute(asked.where(*where).order_by(table.c.time, table.c.id)):
        about = str(values[2]).partition("\x1f")[0] if measure in _OF_ASSETS else dag_id
        found[measure, about].append(tuple(values))
    return found


class KnownThen:
    """Answers as :class:`~observability.watch.known.LedgerKnown` would have at ``now``, which only goes forward.

    ``first`` is the time from which the deadlines are looked at. ``runs`` are those of each DAG, the oldest first.
    """

    def __init__(
        self, connection: Connection, runs: Mapping[str, Sequence[RunTimes]], values: Measured, first: float
    ) -> None:
        self._connection, self._runs, self._values, self._first = connection, runs, values, first
        self.now = first
        self.failures: dict[str, Incident] = {}
        """The open failure of each DAG, as the replay has it."""
        self._begins = {dag_id: [one.begun for one in those] for dag_id, those in runs.items()}
        self._ended = {dag_id: _by_end(those) for dag_id, those in runs.items()}
        self._ends = {dag_id: [float(one.ended or 0) for one in those] for dag_id, those in self._ended.items()}
        self._good = {
            dag_id: [float(one.ended or 0) for one in those if one.succeeded and one.ordinary]
            for dag_id, those in self._ended.items()
        }
        self._times: dict[tuple[str, str], list[float]] = {}
        self._tasks_read: set[tuple[str, str]] = set()

    def first_looked(self, name: str, now: float) -> float:
        """Deadlines are looked at from the first; a DAG is known from its first run on."""
        dag_id = name.rpartition(":")[2]
        begun = self._begins.get(dag_id) or [now if dag_id else 0.0]
        return max(self._first, begun[0])

    def runs_by_now(self, dag_id: str, since: float = -inf) -> Sequence[RunTimes]:
        """The runs that began from then until now, the oldest first."""
        begins = self._begins.get(dag_id, [])
        return self._runs.get(dag_id, ())[bisect_left(begins, since) : bisect_right(begins, self.now)]

    def done(self, run: RunTimes) -> float | None:
        """Return when a run had succeeded; None if it had not by now."""
        return run.ended if run.succeeded and run.ended is not None and run.ended <= self.now else None

    def begins(self, dag_id: str, since: float) -> Sequence[Begin]:
        """See the protocol."""
        found = self.runs_by_now(dag_id, since)
        return [(one.run_id, one.begun, one.ordinary, self.done(one)) for one in reversed(found)]

    def marks(self, measure: str, dag_id: str, since: float) -> Mapping[str, tuple[str, float]]:
        """See the protocol."""
        if measure not in _MARKS:
            raise KeyError(f"{measure} is no mark of a run")
        return {run: (subject, value) for _, value, subject, run in self._past(measure, dag_id, since)}

    def times(self, dag_id: str, run_ids: Sequence[str]) -> Mapping[str, RunTimes]:
        """See the protocol."""
        wanted = set(run_ids)
        found = [one for one in self.runs_by_now(dag_id) if one.run_id in wanted]
        return {one.run_id: one for one in self._as_seen(found)}

    def tasks_lately(self, dag_id: str) -> Sequence[str]:
        """See the protocol."""
        return list(
            dict.fromkeys(name for one in self._as_seen(self.runs_by_now(dag_id)[-_LATELY:]) for name in one.tasks)
        )

    def last_begin(self, dag_id: str, *, current: bool = False) -> float | None:
        """See the protocol."""
        return next((one.begun for one in reversed(self.runs_by_now(dag_id)) if one.ordinary or not current), None)

    def first_begin(self, dag_id: str, since: float) -> float | None:
        """See the protocol."""
        return next((one.begun for one in self.runs_by_now(dag_id, since) if one.ordinary), None)

    def last_success(self, dag_id: str) -> float | None:
        """See the protocol."""
        ends = self._good.get(dag_id, [])
        place = bisect_right(ends, self.now)
        return ends[place - 1] if place else None

    def spans(self, dag_id: str, what: str, now: float, least: float, since: float = 0.0) -> Sequence[Span]:
        """Of the last week."""
        found: list[Span] = []
        those = self.runs_by_now(dag_id, now - _LOOKBACK_S)
        if what == "runs":
            found = [("", one.run_id, one.begun, self._by_now(one.ended)) for one in those]
        else:
            found = [
                (name, one.run_id, one.begun + task.start, None if task.end is None else one.begun + task.end)
                for one in self._as_seen(those)
                for name, task in one.tasks.items()
            ]
        return [one for one in found if (one[3] is None or one[3] > since) and (one[3] or now) - one[2] >= least]

    def usual(self, measure: str, dag_id: str, subject: str, before: str = "") -> Sequence[tuple[float, float, str]]:
        """See the protocol."""
        if measure in {"duration", "outcome"}:
            ended = self._ended.get(dag_id, ())[: bisect_right(self._ends.get(dag_id, []), self.now)]
            found = [
                (float(one.ended or 0), float(bool(one.succeeded)), one.run_id)
                if measure == "outcome"
                else (float(one.ended or 0), float(one.ended or 0) - one.begun, one.run_id)
                for one in ended[-_USUAL_MOST:]
                if measure == "outcome" or (one.succeeded and float(one.ended or 0) > one.begun)
            ]
        else:
            past = self._past(measure, subject if measure == "asset" else dag_id)
            found = [(time, value, occasion) for time, value, about, occasion in past if about == subject]
        return [one for one in found if one[2] != before][-_USUAL_MOST:]

    def last_loads(self, measure: str, dag_id: str, now: float) -> Sequence[Load]:
        """See the protocol."""
        newest = {
            subject: (subject, time, value, occasion)
            for time, value, subject, occasion in self._past(measure, dag_id, now - _LOOKBACK_S)
        }
        return list(newest.values())

    def first_update(self, uri: str, partition: str | None, since: float) -> float | None:
        """See the protocol."""
        if partition is None:
            return next((time for time, *_ in self._past("asset", uri, since)), None)
        past = self._past("asset_partition", uri, since)
        return next((time for time, _, subject, _ in past if subject == f"{uri}\x1f{partition}"), None)

    def last_update(self, uri: str) -> float | None:
        """See the protocol."""
        past = self._past("asset", uri)
        return past[-1][0] if past else None

    def partitions(self, uri: str, since: float) -> Mapping[str, float]:
        """See the protocol."""
        past = self._past("asset_partition", uri, since)
        return {subject.removeprefix(f"{uri}\x1f"): time for time, _, subject, _ in past}

    def producers(self, uri: str) -> Sequence[str]:
        """See the protocol."""
        return [dag_id for (measure, dag_id) in self._values if measure == "asset_of" and self._has(dag_id, uri)]

    def earlier_runs(self, dag_id: str, before: float, most: int) -> Sequence[RunTimes]:
        """See the protocol."""
        good = [one for one in self.runs_by_now(dag_id) if one.begun < before and one.ordinary and self.done(one)]
        return self._with_tasks(good[-most:])

    def live_runs(self, dag_id: str, since: float) -> Sequence[RunTimes]:
        """See the protocol."""
        return self._as_seen([one for one in self.runs_by_now(dag_id, since) if self._by_now(one.ended) is None])

    def failure_of(self, dag_id: str) -> Incident | None:
        """See the protocol."""
        return self.failures.get(dag_id)

    def all_runs(self, dag_id: str, first: float, last: float) -> Sequence[RunTimes]:
        """The runs that began in a time, whatever is known now."""
        begins = self._begins.get(dag_id, [])
        return self._runs.get(dag_id, ())[bisect_left(begins, first) : bisect_left(begins, last)]

    def all_begins(self, dag_id: str) -> Sequence[float]:
        """The begins of all runs."""
        return self._begins.get(dag_id, [])

    def all_ends(self, dag_id: str) -> Sequence[float]:
        """The ends of all runs."""
        return self._ends.get(dag_id, [])

    def all_successes(self, dag_id: str) -> Sequence[float]:
        """The ends of all ordinary runs that succeeded."""
        return self._good.get(dag_id, [])

    def successes_before(self, dag_id: str, moment: float) -> int:
        """The number of those that had succeeded by then."""
        return bisect_right(self._good.get(dag_id, []), moment)

    def all_attempts(self, dags: Iterable[str], task: str) -> Iterator[tuple[float, float | None]]:
        """The begin and end of each task that matches, in every run."""
        for dag_id in dags:
            for run in self._with_tasks(self._runs.get(dag_id, ())):
                for name, one in run.tasks.items():
                    if fnmatchcase(name, task or "*"):
                        yield run.begun + one.start, None if one.end is None else run.begun + one.end

    def all_times(self, measure: str, dag_id: str) -> Sequence[float]:
        """The times of all values of a measure."""
        return [one[0] for one in self._values.get((measure, dag_id), ())]

    def all_updates(self, uri: str) -> Sequence[float]:
        """The times of all updates of an asset."""
        return self.all_times("asset", uri)

    def all_partitions(self, uri: str) -> Mapping[str, Sequence[float]]:
        """The times of all updates of each partition of an asset."""
        found: dict[str, list[float]] = defaultdict(list)
        for time, _, subject, _ in self._values.get(("asset_partition", uri), ()):
            found[subject].append(time)
        return found

    def _by_now(self, moment: float | None) -> float | None:
        return moment if moment is not None and moment <= self.now else None

    def _past(self, measure: str, dag_id: str, since: float = -inf) -> list[tuple[float, float, str, str]]:
        key = (measure, dag_id)
        values = self._values.get(key, [])
        times = self._times.setdefault(key, [one[0] for one in values])
        return values[bisect_left(times, since) : bisect_right(times, self.now)]

    def _has(self, dag_id: str, uri: str) -> bool:
        return any(subject == uri for _, _, subject, _ in self._past("asset_of", dag_id))

    def _with_tasks(self, runs: Sequence[RunTimes]) -> Sequence[RunTimes]:
        """The runs with their tasks, which are read when they are asked for: few runs come here."""
        missing = {one.run_id: one for one in runs if (one.dag_id, one.run_id) not in self._tasks_read}
        if missing:
            table = schema.run_times
            dag_id = runs[0].dag_id
            asked = select(table).where(table.c.dag_id == dag_id, table.c.run_id.in_(list(missing)))
            for row in self._connection.execute(asked).mappings():
                missing[row["run_id"]].tasks = RunTimes.from_row(row).tasks
            self._tasks_read.update((dag_id, name) for name in missing)
        return runs

    def _as_seen(self, runs: Sequence[RunTimes]) -> list[RunTimes]:
        """The part of runs that was known by now."""
        return [self._seen(one) for one in self._with_tasks(runs)]

    def _seen(self, run: RunTimes) -> RunTimes:
        found = RunTimes(run.dag_id, run.run_id, run.begun, self._by_now(run.ended), ordinary=run.ordinary)
        found.succeeded = run.succeeded if found.ended is not None else None
        for name, one in run.tasks.items():
            if run.begun + one.start <= self.now:
                end = None if one.end is None else self._by_now(run.begun + one.end)
                found.add(name, run.begun + one.start, end)
                found.tasks[name].instances = found.tasks[name].ended = one.instances if end is not None else 1
                found.tasks[name].ended = one.ended if end is not None else 0
        return found


def _by_end(runs: Iterable[RunTimes]) -> list[RunTimes]:
    return sorted((one for one in runs if one.ended is not None), key=lambda one: float(one.ended or 0))
