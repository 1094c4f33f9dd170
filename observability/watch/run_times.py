"""The times of a run and of its tasks, as the ledger keeps them: one row for each run.

A row holds its tasks as ``{task_id: [start, end, instances, ended]}``. Times of tasks are seconds since the run began;
``end`` is None while an instance is under way. A mapped task is one task, from its first begin to its last end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from observability.watch.ledger import schema
from observability.watch.ledger.database import insert_new
from observability.watch.runs import is_current

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection, RowMapping

    from observability.watch.facts import Fact

__all__ = ["RunTimes", "TaskTimes", "earlier_runs", "live_runs", "note_times", "save_run", "save_runs"]

_TABLE = schema.run_times
_EARLIER = (
    select(_TABLE)
    .where(
        _TABLE.c.dag_id == bindparam("dag_id"),
        _TABLE.c.begun < bindparam("before"),
        _TABLE.c.succeeded.is_(True),
        _TABLE.c.ordinary.is_(True),
    )
    .order_by(_TABLE.c.begun.desc())
    .limit(bindparam("most"))
)


@dataclass(slots=True)
class TaskTimes:
    """A task of a run. ``start`` and ``end`` are seconds since the run began; ``ended`` of ``instances`` are done."""

    start: float
    end: float | None = None
    instances: int = 1
    ended: int = 0

    def add(self, start: float, end: float | None) -> None:
        """Count another instance of a mapped task."""
        self.start = min(self.start, start)
        self.instances += 1
        self.finish(end)

    def finish(self, end: float | None) -> None:
        """Count the end of an instance, if it has ended."""
        if end is not None:
            self.ended += 1
            self.end = end if self.end is None else max(self.end, end)

    @property
    def is_done(self) -> bool:
        """True if every instance that has begun has ended."""
        return self.ended >= self.instances


@dataclass(slots=True)
class RunTimes:
    """A run: ``begun`` and ``ended`` in seconds since 1970. ``ordinary`` is False for a backfill or a catch-up."""

    dag_id: str
    run_id: str
    begun: float
    ended: float | None = None
    succeeded: bool | None = None
    ordinary: bool = True
    tasks: dict[str, TaskTimes] = field(default_factory=dict)

    def add(self, task_id: str, start: float, end: float | None) -> None:
        """Note an instance of a task, by its begin and end in seconds since 1970."""
        begin = start - self.begun
        last = None if end is None else end - self.begun
        if (known := self.tasks.get(task_id)) is not None:
            known.add(begin, last)
        else:
            self.tasks[task_id] = TaskTimes(begin, last, 1, int(end is not None))

    def moved_to(self, begun: float) -> None:
        """Take another begin: a task may have been heard of before its run."""
        by = self.begun - begun
        self.begun = begun
        for one in self.tasks.values():
            one.start += by
            one.end = None if one.end is None else one.end + by

    def as_row(self) -> dict[str, Any]:
        """The columns of the ledger's table."""
        tasks = {
            name: [round(one.start, 2), None if one.end is None else round(one.end, 2), one.instances, one.ended]
            for name, one in self.tasks.items()
        }
        return {
            "dag_id": self.dag_id, "run_id": self.run_id, "begun": self.begun, "ended": self.ended,
            "succeeded": self.succeeded, "ordinary": self.ordinary, "tasks": tasks,
        }  # fmt: skip

    @classmethod
    def from_row(cls, row: RowMapping) -> RunTimes:
        """The run of a row of the ledger's table."""
        tasks = {name: TaskTimes(*values) for name, values in row["tasks"].items()}
        return cls(
            row["dag_id"], row["run_id"], row["begun"], row["ended"], row["succeeded"], bool(row["ordinary"]), tasks
        )


def save_runs(connection: Connection, runs: Iterable[RunTimes]) -> None:
    """Write down the runs of which the ledger knows nothing yet."""
    insert_new(connection, _TABLE, [one.as_row() for one in runs])


def save_run(connection: Connection, run: RunTimes) -> None:
    """Write a run down, over what was there."""
    row = run.as_row()
    same = (_TABLE.c.dag_id == run.dag_id, _TABLE.c.run_id == run.run_id)
    if connection.execute(update(_TABLE).where(*same).values(**row)).rowcount == 0:
        connection.execute(insert(_TABLE).values(**row))


def note_times(connection: Connection, facts: Iterable[Fact]) -> None:
    """Write down what facts say of the begins and ends of runs and their tasks; each run is written once."""
    by_run: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        if fact.kind in {"run", "task"} and fact.dag_id and fact.run_id and fact.status in _TIMED:
            by_run.setdefault((fact.dag_id, fact.run_id), []).append(fact)
    for (dag_id, run_id), found in by_run.items():
        same = (_TABLE.c.dag_id == dag_id, _TABLE.c.run_id == run_id)
        row = connection.execute(select(_TABLE).where(*same)).mappings().first()
        run = RunTimes.from_row(row) if row is not None else RunTimes(dag_id, run_id, _begin_of(found))
        noted = [fact for fact in found if run.ended is None or _is_late_news(run, fact)]
        for fact in noted:
            _note(run, fact)
        if noted:
            save_run(connection, run)


def _is_late_news(run: RunTimes, fact: Fact) -> bool:
    """True for the good end of a task of a run that has ended: it came from another host, or the task ran again.

    Whatever else is heard of such a run was heard before, or is not a part of it.
    """
    known = run.tasks.get(str(fact.task_id))
    return fact.kind == "task" and fact.status == "resolved" and (known is None or not known.is_done)


_TIMED = {"noted", "resolved", "firing"}


def _begin_of(facts: Sequence[Fact]) -> float:
    """The begin of a run of which these facts are the first that is known."""
    return min(fact.time - _lasted(fact) for fact in facts)


def _lasted(fact: Fact) -> float:
    return float(fact.evidence.get("event.duration") or 0) / 1e9


def _note(run: RunTimes, fact: Fact) -> None:
    """Add what one fact says. A task that is tried again goes on: its time is from its first begin to its good end."""
    if fact.kind == "run":
        run.ordinary = run.ordinary and is_current(fact if fact.status == "noted" else _at(fact, run.begun))
        if fact.status == "noted":
            run.moved_to(fact.time)
        else:
            run.ended, run.succeeded = fact.time, fact.status == "resolved"
    elif fact.status == "noted" and (fact.try_number or 1) == 1:
        run.add(str(fact.task_id), fact.time, None)
    elif fact.status == "resolved":
        known = run.tasks.get(str(fact.task_id))
        if known is None:
            run.add(str(fact.task_id), fact.time - _lasted(fact), fact.time)
        elif not known.is_done:
            known.finish(fact.time - run.begun)


def _at(fact: Fact, moment: float) -> Fact:
    return replace(fact, time=moment)


def earlier_runs(connection: Connection, dag_id: str, before: float, most: int) -> Sequence[RunTimes]:
    """The last ordinary runs of a DAG that began before a moment and succeeded, the oldest first."""
    asked = {"dag_id": dag_id, "before": before, "most": most}
    return [RunTimes.from_row(row) for row in connection.execute(_EARLIER, asked).mappings()][::-1]


def live_runs(connection: Connection, dag_id: str, since: float) -> Sequence[RunTimes]:
    """The runs of a DAG that began since a moment and have not ended, the oldest first."""
    live = (_TABLE.c.dag_id == dag_id, _TABLE.c.ended.is_(None), _TABLE.c.begun >= since)
    asked = select(_TABLE).where(*live).order_by(_TABLE.c.begun)
    return [RunTimes.from_row(row) for row in connection.execute(asked).mappings()]
