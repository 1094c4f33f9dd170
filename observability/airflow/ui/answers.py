"""What the pages say, computed from the store alone; no HTML, no HTTP, no Airflow.

Each function takes a :class:`~observability.store.Store` and answers one page's question as plain data.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.store import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from observability.events import Document
    from observability.store import Store

__all__ = [
    "Attempt",
    "DagPage",
    "Overview",
    "RunPage",
    "Step",
    "TaskPage",
    "dag_page",
    "overview",
    "run_page",
    "task_page",
]

_ENDED = ("task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed")
_RUN_ENDED = ("dag_run.succeeded", "dag_run.failed")
_BROKEN = (
    "task.failed",
    "task.killed",
    "dag_run.failed",
    "dag.import_failed",
    "dag.vanished",
    "dag.auto_paused",
    "task.stuck",
)
_NOBODYS = ("component.silent", "component.recovered", "telemetry.lost")
"""What everybody may read: it is about no DAG, and holds nothing of anybody's code."""
_USUAL_RUNS = 20
_FAR = 2.0
_RUNS_SHOWN = 60
_EVENTS_MOST = 2000


@dataclass(frozen=True, slots=True)
class Step:
    """What one measured step did, beside what it usually does (medians of earlier runs)."""

    name: str
    table: str | None
    rows_in: int | None
    rows_out: int | None
    rows_rejected: int | None
    duration_ms: float | None
    watermark: str | None
    usual_rows_out: float | None = None
    usual_duration_ms: float | None = None

    @property
    def unusual(self) -> bool:
        """True when it wrote less than half or more than twice its usual rows."""
        if not self.usual_rows_out or self.rows_out is None:
            return False
        return not 1 / _FAR <= self.rows_out / self.usual_rows_out <= _FAR


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a task: how it ended and what it used."""

    task_id: str
    try_number: int
    map_index: int
    state: str
    ended: str
    started: str | None = None
    cause: str | None = None
    reason: str | None = None
    duration_ms: float | None = None
    peak_rss: int | None = None
    document: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Overview:
    """What is wrong now."""

    broken: list[Document]
    incidents: list[Document]
    silent: list[Document]
    late: list[Document]
    tiles: dict[str, int]
    causes: dict[str, int]


@dataclass(frozen=True, slots=True)
class DagPage:
    """One DAG: its runs, its causes, what is open, what is late."""

    dag_id: str
    runs: list[dict[str, Any]]
    causes: dict[str, int]
    slowest: list[tuple[str, float]]
    incidents: list[Document]
    deadlines: list[Document]
    owners: list[str]
    usual_ms: float | None


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
    told: list[Document]
    trace_id: str | None


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
    told: list[Document]
    lines: list[Document]
    trace_id: str | None


def overview(store: Store, may_read: Callable[[str], bool], *, hours: int = 24) -> Overview:
    """What is wrong now, over the DAGs that the reader may read; about no DAG (``""``): an import error, say."""
    since = datetime.now(timezone.utc) - timedelta(hours=hours)
    ended = [
        document
        for document in _events(store, {"event.action": (*_BROKEN, "task.succeeded", *_RUN_ENDED)}, since=since)
        if may_read(document.get("airflow.dag_id", ""))
    ]
    alerts = [
        document
        for document in _events(store, {}, dataset="contrail.alert", since=since)
        if document["event.action"] in _NOBODYS or may_read(document.get("airflow.dag_id", ""))
    ]
    failed = [document for document in ended if document["event.action"] == "task.failed"]
    broken = _still_broken(ended)
    late = _open(alerts, "deadline.missed", "deadline.recovered", ("airflow.dag_id", "deadline.name", "airflow.run_id"))
    incidents = _open_incidents(alerts)
    silent = _open(alerts, "component.silent", "component.recovered", ("airflow.component",))
    lost = sum(
        int(document.get("telemetry.count", 0)) for document in alerts if document["event.action"] == "telemetry.lost"
    )
    tiles = {
        "failing now": len(broken),
        "open incidents": len(incidents),
        "late": len(late),
        "silent components": len(silent),
        "tasks failed": len(failed),
        "observations lost": lost,
    }
    return Overview(broken, incidents, silent, late, tiles, _causes(failed))


def dag_page(store: Store, dag_id: str) -> DagPage:
    """One DAG over its last runs."""
    where = {"airflow.dag_id": dag_id}
    ended = _events(store, {**where, "event.action": _RUN_ENDED}, limit=_RUNS_SHOWN)
    tasks = _events(store, {**where, "event.action": (*_ENDED, "step.measured")})
    alerts = _events(store, where, dataset="contrail.alert")
    rows = _rows_of_runs(tasks)
    runs = [
        {
            "run_id": document.get("airflow.run_id", ""),
            "ended": document["@timestamp"],
            "state": document.get("airflow.state", ""),
            "duration_ms": _ms(document.get("event.duration")),
            **rows.get(document.get("airflow.run_id", ""), {}),
        }
        for document in ended
    ]
    durations: dict[str, list[float]] = defaultdict(list)
    for document in tasks:
        if document["event.action"] == "task.succeeded" and (taken := _ms(document.get("event.duration"))) is not None:
            durations[document["airflow.task_id"]].append(taken)
    slowest = sorted(((task, statistics.median(taken)) for task, taken in durations.items()), key=lambda item: -item[1])
    good = [run["duration_ms"] for run in runs if run["state"] == "success" and run["duration_ms"] is not None]
    return DagPage(
        dag_id=dag_id,
        runs=runs,
        causes=_causes(document for document in tasks if document["event.action"] in ("task.failed", "task.retried")),
        slowest=slowest[:8],
        incidents=_open_incidents(alerts),
        deadlines=[document for document in alerts if document["event.action"].startswith("deadline.")][-10:],
        owners=sorted({document["airflow.owner"] for document in tasks if document.get("airflow.owner")}),
        usual_ms=statistics.median(good) if good else None,
    )


def run_page(store: Store, dag_id: str, run_id: str) -> RunPage:
    """One run of a DAG."""
    where = {"airflow.dag_id": dag_id, "airflow.run_id": run_id}
    events = _events(store, where)
    alerts = _events(store, where, dataset="contrail.alert")
    outcomes = [document for document in events if document["event.action"] in _RUN_ENDED]
    return RunPage(
        dag_id=dag_id,
        run_id=run_id,
        outcome=outcomes[-1] if outcomes else None,
        attempts=_attempts(events),
        steps=_steps_beside_usual(store, events, {"airflow.dag_id": dag_id}, run_id),
        rejected=[document for document in events if document["event.action"] == "rows.rejected"],
        incidents=_open_incidents(alerts, resolved=True),
        told=[document for document in alerts if document["event.action"].startswith("notification.")],
        trace_id=_first(events, "trace.id"),
    )


def task_page(
    store: Store, dag_id: str, task_id: str, run_id: str | None = None, map_index: int | None = None
) -> TaskPage:
    """One task: of the run ``run_id``, or over its last runs where none is given."""
    where: dict[str, Any] = {"airflow.dag_id": dag_id, "airflow.task_id": task_id}
    here = {**where, **({"airflow.run_id": run_id} if run_id else {})}
    if map_index is not None and map_index >= 0:
        here["airflow.map_index"] = map_index
    events = _events(store, here)
    attempts = _attempts(events)
    verdict = attempts[-1] if attempts else None
    alerts = _events(
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
        attempts=attempts if run_id else attempts[-_RUNS_SHOWN:],
        steps=_steps_beside_usual(store, events, where, run_id),
        rejected=[document for document in events if document["event.action"] == "rows.rejected"],
        seen_before=len(same),
        first_seen=same[0]["@timestamp"] if same else None,
        incidents=_open_incidents(mine, resolved=True),
        told=[document for document in mine if document["event.action"].startswith("notification.")],
        lines=list(lines),
        trace_id=_first(events, "trace.id"),
    )


def _events(
    store: Store,
    where: dict[str, Any],
    *,
    dataset: str = "etl.event",
    since: datetime | None = None,
    limit: int = _EVENTS_MOST,
) -> list[Document]:
    return list(store.documents(Query(dataset, where, since=since, limit=limit, newest=True)))


def _still_broken(ended: Iterable[Document]) -> list[Document]:
    last: dict[tuple[Any, ...], Document] = {}
    for document in ended:
        about = (document.get("airflow.dag_id"), document.get("airflow.task_id"), document.get("airflow.map_index"))
        last[about] = document
    return sorted(
        (
            document
            for document in last.values()
            if document["event.action"] in _BROKEN and document.get("airflow.task_id")
        ),
        key=lambda document: str(document["@timestamp"]),
        reverse=True,
    )


def _rows_of_runs(tasks: Iterable[Document]) -> dict[str, dict[str, int]]:
    """By run: the rows that its last measured task wrote, and what all its steps rejected."""
    found: dict[str, dict[str, int]] = {}
    last: dict[str, Any] = {}
    for document in tasks:
        if document["event.action"] != "step.measured":
            continue
        run = document.get("airflow.run_id", "")
        rows = found.setdefault(run, {"rows_out": 0, "rows_rejected": 0})
        if last.get(run) != document.get("airflow.task_id"):
            last[run] = document.get("airflow.task_id")
            rows["rows_out"] = 0
        rows["rows_out"] += int(document.get("etl.rows_out") or 0)
        rows["rows_rejected"] += int(document.get("etl.rows_rejected") or 0)
    return found


def _open(alerts: Iterable[Document], begins: str, ends: str, about: tuple[str, ...]) -> list[Document]:
    last: dict[tuple[Any, ...], Document] = {}
    for document in alerts:
        if document["event.action"] in (begins, ends):
            last[tuple(document.get(name) for name in about)] = document
    return [document for document in last.values() if document["event.action"] == begins]


def _open_incidents(alerts: Iterable[Document], *, resolved: bool = False) -> list[Document]:
    last: dict[str, Document] = {}
    for document in alerts:
        if document["event.action"].startswith("incident."):
            last[document.get("incident.id", "")] = document
    return [document for document in last.values() if resolved or document["event.action"] != "incident.resolved"]


def _attempts(events: Iterable[Document]) -> list[Attempt]:
    started: dict[tuple[Any, ...], str] = {}
    ended: dict[tuple[Any, ...], Attempt] = {}
    for document in events:
        action = document["event.action"]
        about = tuple(document.get(f"airflow.{name}") for name in ("run_id", "task_id", "map_index", "try_number"))
        if action == "task.started":
            started.setdefault(about, document["@timestamp"])
        elif action in _ENDED and not (action == "task.killed" and about in ended):
            ended[about] = _attempt(document, started.get(about))
    return sorted(ended.values(), key=lambda attempt: attempt.ended)


def _attempt(document: Document, started: str | None) -> Attempt:
    return Attempt(
        task_id=document.get("airflow.task_id", ""),
        try_number=int(document.get("airflow.try_number") or 1),
        map_index=int(document["airflow.map_index"]) if document.get("airflow.map_index") is not None else -1,
        state=document.get("airflow.state") or document["event.action"].partition(".")[2],
        started=started,
        ended=document["@timestamp"],
        cause=document.get("airflow.cause"),
        reason=document.get("event.reason"),
        duration_ms=_ms(document.get("event.duration")),
        peak_rss=document.get("airflow.peak_rss"),
        document=document,
    )


def _step(document: Document, usual_rows: float | None = None, usual_ms: float | None = None) -> Step:
    return Step(
        name=document.get("etl.step", ""),
        table=document.get("etl.table"),
        rows_in=document.get("etl.rows_in"),
        rows_out=document.get("etl.rows_out"),
        rows_rejected=document.get("etl.rows_rejected"),
        duration_ms=_ms(document.get("event.duration")),
        watermark=document.get("etl.watermark"),
        usual_rows_out=usual_rows,
        usual_duration_ms=usual_ms,
    )


def _steps_beside_usual(
    store: Store, events: Iterable[Document], where: dict[str, Any], run_id: str | None
) -> list[Step]:
    here = [document for document in events if document["event.action"] == "step.measured"]
    if not here:
        return []
    history = _events(store, {**where, "event.action": "step.measured"}, limit=_USUAL_RUNS * len(here))
    usual: dict[tuple[Any, ...], list[Document]] = defaultdict(list)
    for document in history:
        if document.get("airflow.run_id") != run_id:
            usual[_which_step(document)].append(document)
    return [
        _step(
            document,
            _median([past["etl.rows_out"] for past in usual[_which_step(document)] if "etl.rows_out" in past]),
            _median(
                [past["event.duration"] / 1e6 for past in usual[_which_step(document)] if "event.duration" in past]
            ),
        )
        for document in here
    ]


def _which_step(document: Document) -> tuple[Any, ...]:
    return tuple(document.get(name) for name in ("airflow.task_id", "etl.step", "etl.table"))


def _same_error(store: Store, dag_id: str, verdict: Attempt | None, run_id: str | None) -> list[Document]:
    fingerprint = verdict.document.get("error.fingerprint") if verdict else None
    if not fingerprint:
        return []
    failed = {
        "airflow.dag_id": dag_id,
        "event.action": ("task.failed", "task.retried"),
        "error.fingerprint": fingerprint,
    }
    same = _events(store, failed, limit=200)
    return [document for document in same if document.get("airflow.run_id") != run_id]


def _causes(events: Iterable[Document]) -> dict[str, int]:
    counted = Counter(document.get("airflow.cause") or "app" for document in events)
    return {cause: counted[cause] for cause in catalog.CAUSES if counted[cause]}


def _first(events: Iterable[Document], name: str) -> str | None:
    return next((document[name] for document in events if document.get(name)), None)


def _ms(nanoseconds: float | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _median(values: list[Any]) -> float | None:
    return statistics.median(values) if values else None
