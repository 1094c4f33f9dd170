"""The question of a run: what became of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.attempts import Attempt, as_people_set, attempts_in, running_in
from observability.airflow.ui.pages.compared import Comparison, compared_with_last_good
from observability.airflow.ui.pages.critical_path import Leg, Wait, critical_path, waits_of
from observability.airflow.ui.pages.deadlines import Due, due_of
from observability.airflow.ui.pages.incidents import open_incidents
from observability.airflow.ui.pages.reading import RUN_ENDED, deeds_of, events_of, first
from observability.airflow.ui.pages.steps import Step, steps_beside_usual
from observability.store import Query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.events import Document
    from observability.store import Readable

__all__ = ["RunPage", "run_page"]

_DEEDS_MOST = 100
_LINES_MOST = 20
_BAD = ("warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run: every attempt on a time line, and what became of the data."""

    dag_id: str
    run_id: str
    outcome: Document | None
    attempts: list[Attempt]
    steps: list[Step]
    rejected: list[Document]
    incidents: list[Document]
    notifications: list[Document]
    trace_id: str | None
    due: list[Due]
    """The deadlines of the run, those with a forecast first."""
    deeds: list[Document] = field(default_factory=list)
    """Rows of Airflow's event log about this run, where the reader may see them."""
    path: list[Leg] = field(default_factory=list)
    """The critical path."""
    compared: Comparison | None = None
    waits: list[Wait | None] = field(default_factory=list)
    """The wait before each of ``attempts``, where it is known."""
    lines: list[Document] = field(default_factory=list)
    """The newest lines of its logs, oldest first: those that warn or tell of an error, where there are any."""


def run_page(
    store: Readable, dag_id: str, run_id: str, downstream: Mapping[str, frozenset[str]] | None = None
) -> RunPage:
    """One run of a DAG; ``downstream`` has the tasks below each task, where they are known."""
    where = {"airflow.dag_id": dag_id, "airflow.run_id": run_id}
    events = events_of(store, where)
    alerts = events_of(store, where, dataset="contrail.alert")
    ended = attempts_in(events)
    downstream = downstream or {}
    outcome = next((one for one in reversed(events) if one["event.action"] in RUN_ENDED), None)
    over = outcome["@timestamp"] if outcome else ""
    running = [one for one in running_in(events) if one.ended > over]  # of an earlier one the end was lost
    deeds = deeds_of(store, where, _DEEDS_MOST)
    attempts = as_people_set([*ended, *running], deeds)
    running = [one for one in attempts if one.state == "running"]
    begins = [one["@timestamp"] for one in events if one["event.action"] == "dag_run.started"]
    if running or (begins and begins[-1] > over):
        outcome = None  # a person had it run again
    return RunPage(
        dag_id=dag_id,
        run_id=run_id,
        outcome=outcome,
        attempts=attempts,
        steps=steps_beside_usual(store, events, {"airflow.dag_id": dag_id}, run_id),
        rejected=[document for document in events if document["event.action"] == "rows.rejected"],
        incidents=open_incidents(alerts, resolved=True),
        notifications=[document for document in alerts if document["event.action"].startswith("notification.")],
        trace_id=first(events, "trace.id"),
        due=_deadlines(alerts),
        deeds=deeds,
        path=critical_path(attempts, downstream, time.time()),
        compared=compared_with_last_good(store, dag_id, run_id, events),
        waits=waits_of(attempts, downstream, begins[0] if begins else None),
        lines=_lines(store, where),
    )


def _lines(store: Readable, where: dict[str, Any]) -> list[Document]:
    bad = list(store.documents(Query("airflow.task", {**where, "level": _BAD}, limit=_LINES_MOST, newest=True)))
    return bad or list(store.documents(Query("airflow.task", where, limit=_LINES_MOST, newest=True)))


def _deadlines(alerts: list[Document]) -> list[Due]:
    """The deadlines of the run, and those of its day that were foreseen by it."""
    found = due_of(one for one in alerts if one["event.action"].startswith("deadline."))
    return sorted(found, key=lambda one: one.bar is None)
