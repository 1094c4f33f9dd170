"""A run beside the last good one: what took longer, what wrote other numbers of rows, what was not there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from observability.airflow.ui.pages.attempts import attempts_in
from observability.airflow.ui.pages.reading import events_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.airflow.ui.pages.attempts import Attempt
    from observability.events import Document
    from observability.store import Readable

__all__ = ["Comparison", "Difference", "compared_with_last_good"]

_LOOKED_AT = 20
"""Good runs among which the last one before this run is looked for."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A task in both runs: the sum of its attempts, and the rows that its steps wrote; None where it was not."""

    task_id: str
    now_ms: float | None
    then_ms: float | None
    tries_now: int
    tries_then: int
    rows_now: int | None
    rows_then: int | None

    @property
    def more_ms(self) -> float:
        """The milliseconds that it took longer than then; all of them where it did not run then."""
        return (self.now_ms or 0.0) - (self.then_ms or 0.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The last good run before this one, and its tasks beside those of this one, the largest difference first."""

    run_id: str
    ended: str
    tasks: list[Difference]


def compared_with_last_good(store: Readable, dag_id: str, run_id: str, events: list[Document]) -> Comparison | None:
    """The comparison with the last run that succeeded before this one began; None where there is none."""
    began = min((str(one["@timestamp"]) for one in events), default="")
    good = events_of(store, {"airflow.dag_id": dag_id, "event.action": "dag_run.succeeded"}, limit=_LOOKED_AT)
    before = [one for one in good if one.get("airflow.run_id") != run_id and (not began or one["@timestamp"] <= began)]
    if not before:
        return None
    last = before[-1]
    then = events_of(store, {"airflow.dag_id": dag_id, "airflow.run_id": last["airflow.run_id"]})
    ours, theirs = _by_task(events), _by_task(then)
    rows_now, rows_then = _rows(events), _rows(then)
    tasks = [
        Difference(
            task, _sum(ours.get(task)), _sum(theirs.get(task)), len(ours.get(task, ())), len(theirs.get(task, ())),
            rows_now.get(task), rows_then.get(task),
        )
        for task in dict.fromkeys((*ours, *theirs))
    ]  # fmt: skip
    return Comparison(last["airflow.run_id"], last["@timestamp"], sorted(tasks, key=lambda one: -abs(one.more_ms)))


def _by_task(events: Iterable[Document]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts_in(events):
        found[attempt.task_id].append(attempt)
    return dict(found)


def _sum(attempts: list[Attempt] | None) -> float | None:
    return sum(one.duration_ms or 0.0 for one in attempts) if attempts else None


def _rows(events: Iterable[Document]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for one in events:
        if one["event.action"] == "step.measured" and one.get("etl.rows_out") is not None:
            found[str(one.get("airflow.task_id"))] += int(one["etl.rows_out"])
    return dict(found)
