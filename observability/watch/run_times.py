"""The times of a run and of its tasks, as the ledger keeps them: one row for each run.

A row holds its tasks as ``{task_id: [start, end, instances, ended]}``. Times of tasks are seconds since the run began;
``end`` is None while an instance is under way. A mapped task is one task, from its first begin to its last end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from observability.watch.ledger import schema
from observability.watch.ledger.database import insert_new

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection, RowMapping

__all__ = ["RunTimes", "TaskTimes", "earlier_runs", "live_runs", "save_run", "save_runs"]

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


def earlier_runs(connection: Connection, dag_id: str, before: float, most: int) -> Sequence[RunTimes]:
    """The last ordinary runs of a DAG that began before a moment and succeeded, the oldest first."""
    asked = {"dag_id": dag_id, "before": before, "most": most}
    return [RunTimes.from_row(row) for row in connection.execute(_EARLIER, asked).mappings()][::-1]


def live_runs(connection: Connection, since: float) -> Sequence[RunTimes]:
    """The runs that began since a moment and have not ended, the oldest first."""
    asked = select(_TABLE).where(_TABLE.c.ended.is_(None), _TABLE.c.begun >= since).order_by(_TABLE.c.begun)
    return [RunTimes.from_row(row) for row in connection.execute(asked).mappings()]
