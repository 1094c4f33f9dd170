"""The question of a DAG: how has it been doing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.attempts import final_ends
from observability.airflow.ui.pages.deadlines import Due, due_of
from observability.airflow.ui.pages.incidents import open_incidents
from observability.airflow.ui.pages.reading import ENDED, RUN_ENDED, RUNS_SHOWN, causes, deeds_of, events_of, ms
from observability.airflow.ui.pages.steps import rows_at_ends
from observability.events import deed_of

if TYPE_CHECKING:
    from observability.events import Document
    from observability.store import Readable

__all__ = ["DagPage", "dag_page"]

_DEEDS_MOST, _DUE_MOST = 20, 10
_VERSIONS = {"airflow.dag_version": "version", "airflow.bundle_version": "bundle"}
"""The versions that a run is of, and what they are called."""


@dataclass(frozen=True, slots=True)
class DagPage:
    """One DAG: its runs, its causes, what is open, what is late."""

    dag_id: str
    runs: list[dict[str, Any]]
    causes: dict[str, int]
    slowest: list[tuple[str, float]]
    incidents: list[Document]
    deadlines: list[Due]
    owners: list[str]
    usual_ms: float | None
    deeds: list[Document]
    """The newest rows of Airflow's event log about the DAG, where the reader may see them."""


def dag_page(store: Readable, dag_id: str) -> DagPage:
    """One DAG over its last runs."""
    where = {"airflow.dag_id": dag_id}
    ended = events_of(store, {**where, "event.action": RUN_ENDED}, limit=RUNS_SHOWN)
    tasks = events_of(store, {**where, "event.action": (*ENDED, "step.measured")})
    alerts = events_of(store, where, dataset="contrail.alert")
    over = {document.get("airflow.run_id"): document["@timestamp"] for document in ended}
    begun = events_of(store, {**where, "event.action": "dag_run.started"}, limit=RUNS_SHOWN)
    newest = ended[-1]["@timestamp"] if len(ended) == RUNS_SHOWN else ""
    running = [one for one in begun if one["@timestamp"] > max(newest, over.get(one.get("airflow.run_id"), ""))]
    deeds = deeds_of(store, where, _DEEDS_MOST)
    shown = [*ended, *(one | {"airflow.state": "running"} for one in running)]
    runs = [
        {
            "run_id": document.get("airflow.run_id", ""),
            "ended": document["@timestamp"],
            "state": document.get("airflow.state", ""),
            "why": document.get("event.reason", ""),
            "duration_ms": ms(document.get("event.duration")),
            "changed": changed,
            **rows,
        }
        for document, rows, changed in zip(
            shown, rows_at_ends(tasks, shown), _changed_before(shown, deeds), strict=True
        )
    ]
    durations: dict[str, list[float]] = defaultdict(list)
    ends = final_ends(tasks)
    for document in ends:
        if document["event.action"] == "task.succeeded" and (taken := ms(document.get("event.duration"))) is not None:
            durations[document["airflow.task_id"]].append(taken)
    slowest = sorted(((task, statistics.median(taken)) for task, taken in durations.items()), key=lambda item: -item[1])
    good = [run["duration_ms"] for run in runs if run["state"] == "success" and run["duration_ms"] is not None]
    return DagPage(
        dag_id=dag_id,
        runs=runs,
        causes=causes(document for document in ends if document["event.action"] in ("task.failed", "task.retried")),
        slowest=slowest[:8],
        incidents=open_incidents(alerts),
        deadlines=due_of(one for one in alerts if one["event.action"].startswith("deadline."))[-_DUE_MOST:],
        owners=sorted({document["airflow.owner"] for document in tasks if document.get("airflow.owner")}),
        usual_ms=statistics.median(good) if good else None,
        deeds=deeds[::-1],
    )


def _changed_before(runs: list[Document], deeds: list[Document]) -> list[list[str]]:
    """The changes since the run before, of each run: another version of the DAG or its bundle, a setting by people."""
    settings = [one for one in deeds if "configuration" in (one.get("event.category") or ())]
    found: list[list[str]] = []
    earlier: Document | None = None
    for run in runs:
        changes: list[str] = []
        if earlier is not None:
            for name, word in _VERSIONS.items():
                if run.get(name) is not None and earlier.get(name) is not None and run[name] != earlier[name]:
                    changes.append(f"{word} {run[name]}")
            between = [one for one in settings if earlier["@timestamp"] < one["@timestamp"] <= run["@timestamp"]]
            acts = (f"{one.get('user.name') or 'somebody'} {deed_of(one)}" for one in between)
            changes += dict.fromkeys(acts)
        found.append(changes)
        earlier = run
    return found
