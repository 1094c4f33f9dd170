"""The question of the first page: what is wrong now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.attempts import final_ends
from observability.airflow.ui.pages.days import Change, changes, noisy
from observability.airflow.ui.pages.incidents import open_incidents, still_open
from observability.airflow.ui.pages.reading import ENDED, RUN_ENDED, causes, events_of
from observability.store.questions import Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from observability.events import Document
    from observability.store import Readable

__all__ = ["Overview", "overview"]

_BROKEN = (
    "task.failed",
    "task.killed",
    "dag_run.failed",
    "dag.import_failed",
    "dag.vanished",
    "dag.auto_paused",
    "task.stuck",
)
_RUNS_BEGIN = ("dag_run.overdue", "dag_run.started")
_LATELY = timedelta(minutes=10)
_NOBODYS = ("component.silent", "component.recovered", "telemetry.lost")
"""The part that everybody may read: it is about no DAG, and holds nothing of anybody's code."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The open problems."""

    broken: list[Document]
    incidents: list[Document]
    silent: list[Document]
    late: list[Document]
    """Deadlines that are missed, and runs that did not begin when they were due."""
    tiles: dict[str, int]
    causes: dict[str, int]
    watched: list[str]
    changes: list[Change]
    noisy: list[tuple[str, int]]


def overview(store: Readable, may_read: Callable[[str], bool] = lambda _: True, *, hours: int = 24) -> Overview:
    """The open problems of the DAGs that the reader may read; about no DAG (``""``): an import error, say."""
    since = datetime.now(timezone.utc) - timedelta(hours=hours)
    ended = [
        document
        for document in events_of(store, {"event.action": (*_BROKEN, "task.succeeded", *RUN_ENDED)}, since=since)
        if may_read(document.get("airflow.dag_id", ""))
    ]
    begun = [
        document
        for document in events_of(store, {"event.action": _RUNS_BEGIN}, since=since)
        if may_read(document.get("airflow.dag_id", ""))
    ]
    alerts = [
        document
        for document in events_of(store, {}, dataset="contrail.alert", since=since)
        if document["event.action"] in _NOBODYS or may_read(document.get("airflow.dag_id", ""))
    ]
    ended = [*(one for one in ended if one["event.action"] not in ENDED), *final_ends(ended)]
    failed = [document for document in ended if document["event.action"] == "task.failed"]
    broken = _still_broken(ended)
    late = still_open(
        alerts, "deadline.missed", "deadline.recovered", ("airflow.dag_id", "deadline.name", "airflow.run_id")
    ) + still_open(begun, *_RUNS_BEGIN, ("airflow.dag_id",))
    incidents = open_incidents(alerts)
    silent = still_open(alerts, "component.silent", "component.recovered", ("airflow.component", "airflow.hostname"))
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
    return Overview(
        broken, incidents, silent, late, tiles, causes(failed), _watched(store), changes(store), noisy(store)
    )


def _watched(store: Readable) -> list[str]:
    """The components whose heartbeat the watcher has looked at lately; none where it does not look at all."""
    until = datetime.now(timezone.utc)
    wanted = {"metric.name": ("contrail.component.heartbeat_age_ms",)}
    ask = Ask(("airflow.statsd",), wanted, until - _LATELY, until + _LATELY, by=("airflow.component",))
    return sorted(str(component) for (component,) in store.table(ask))


def _still_broken(ended: Iterable[Document]) -> list[Document]:
    last: dict[tuple[Any, ...], Document] = {}
    for document in sorted(ended, key=lambda document: str(document["@timestamp"])):
        about = tuple(document.get(f"airflow.{name}") for name in ("dag_id", "task_id", "map_index", "iteration"))
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
