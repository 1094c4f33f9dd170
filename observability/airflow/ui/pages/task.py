"""The question of a task: why is it red, and what did it do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.attempts import Attempt, as_people_set, attempts_in, running_in
from observability.airflow.ui.pages.incidents import open_incidents
from observability.airflow.ui.pages.reading import RUN_ENDED, RUNS_SHOWN, deeds_of, events_of, first
from observability.airflow.ui.pages.steps import Step, steps_beside_usual
from observability.events import iteration_labels
from observability.store import Query

if TYPE_CHECKING:
    from observability.events import Document
    from observability.store import Readable

__all__ = ["TaskPage", "task_page"]


_DEEDS_MOST = 100
_BROKEN = ("failed", "killed")


@dataclass(frozen=True, slots=True)
class TaskPage:
    """One task (of one run, or over its last runs): why it is red and what it did."""

    dag_id: str
    task_id: str
    run_id: str | None
    verdict: Attempt | None
    attempts: list[Attempt]
    steps: list[Step]
    rejected: list[Document]
    seen_before: int
    first_seen: str | None
    incidents: list[Document]
    notifications: list[Document]
    lines: list[Document]
    trace_id: str | None

    @property
    def many(self) -> bool:
        """True where there are several instances of the task: it is mapped, or in a task loop."""
        return any(attempt.name != self.task_id for attempt in self.attempts)


def task_page(  # noqa: PLR0913, PLR0917 - each is a part of the page's address
    store: Readable,
    dag_id: str,
    task_id: str,
    run_id: str | None = None,
    map_index: int | None = None,
    iteration: int | None = None,
) -> TaskPage:
    """One task: of the run ``run_id``, or over its last runs where none is given; of a task loop one iteration."""
    where: dict[str, Any] = {"airflow.dag_id": dag_id, "airflow.task_id": task_id}
    here = {**where, **({"airflow.run_id": run_id} if run_id else {})}
    if map_index is not None and map_index >= 0:
        here["airflow.map_index"] = map_index
    if iteration is not None:
        here["airflow.iteration"] = iteration_labels(iteration)
    events = events_of(store, here)
    attempts = [*attempts_in(events), *(_running(store, events, where, run_id) if run_id else [])]
    if run_id:
        attempts = as_people_set(attempts, deeds_of(store, {**where, "airflow.run_id": run_id}, _DEEDS_MOST))
    verdict = _verdict(attempts)
    alerts = events_of(
        store, {"airflow.dag_id": dag_id, **({"airflow.run_id": run_id} if run_id else {})}, dataset="contrail.alert"
    )
    mine = [document for document in alerts if document.get("airflow.task_id") in (None, task_id)]
    same = _same_error(store, dag_id, verdict, run_id)
    lines = store.documents(Query("airflow.task", here, limit=40, newest=True)) if run_id else ()
    return TaskPage(
        dag_id=dag_id,
        task_id=task_id,
        run_id=run_id,
        verdict=verdict,
        attempts=attempts if run_id else attempts[-RUNS_SHOWN:],
        steps=steps_beside_usual(store, events, where, run_id),
        rejected=[document for document in events if document["event.action"] == "rows.rejected"],
        seen_before=len(same),
        first_seen=same[0]["@timestamp"] if same else None,
        incidents=open_incidents(mine, resolved=True),
        notifications=[document for document in mine if document["event.action"].startswith("notification.")],
        lines=list(lines),
        trace_id=first(events, "trace.id"),
    )


def _verdict(attempts: list[Attempt]) -> Attempt | None:
    """The attempt that says how the task ended: of several instances the last one that failed, else the last one."""
    last = {(attempt.document.get("airflow.run_id"), attempt.name): attempt for attempt in attempts}
    newest = attempts[-1].document.get("airflow.run_id") if attempts else None
    ends = [attempt for (run_id, _), attempt in last.items() if run_id == newest]
    broken = [attempt for attempt in ends if attempt.state in _BROKEN]
    return max(broken or ends, key=lambda attempt: attempt.ended, default=None)


def _running(store: Readable, events: list[Document], where: dict[str, Any], run_id: str) -> list[Attempt]:
    """The attempts that run; of one that began before its run was over the end was lost."""
    if not (found := running_in(events)):
        return []
    run = {"airflow.dag_id": where["airflow.dag_id"], "airflow.run_id": run_id, "event.action": RUN_ENDED}
    over = next((one["@timestamp"] for one in events_of(store, run, limit=1)), "")
    return [one for one in found if one.ended > over]


def _same_error(store: Readable, dag_id: str, verdict: Attempt | None, run_id: str | None) -> list[Document]:
    fingerprint = verdict.document.get("error.fingerprint") if verdict else None
    if not fingerprint:
        return []
    failed = {
        "airflow.dag_id": dag_id,
        "event.action": ("task.failed", "task.retried"),
        "error.fingerprint": fingerprint,
    }
    same = events_of(store, failed, limit=200)
    return [document for document in same if document.get("airflow.run_id") != run_id]
