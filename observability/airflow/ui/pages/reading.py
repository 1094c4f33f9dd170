"""Read events out of the store, newest kept, and make small sums over them."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.store import Query

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from observability.events import Document
    from observability.store import Readable

__all__ = ["ENDED", "RUNS_SHOWN", "RUN_ENDED", "causes", "deeds_of", "events_of", "first", "median", "ms"]

ENDED = ("task.succeeded", "task.failed", "task.retried", "task.skipped", "task.killed")
RUN_ENDED = ("dag_run.succeeded", "dag_run.failed")
RUNS_SHOWN = 60
_EVENTS_MOST = 2000


def events_of(
    store: Readable,
    where: dict[str, Any],
    *,
    dataset: str = "etl.event",
    since: datetime | None = None,
    limit: int = _EVENTS_MOST,
) -> list[Document]:
    """The newest documents that have ``where``, oldest first."""
    return list(store.documents(Query(dataset, where, since=since, limit=limit, newest=True)))


def deeds_of(store: Readable, where: dict[str, Any], limit: int) -> list[Document]:
    """The newest rows of Airflow's event log that have ``where``, oldest first: who did what."""
    return events_of(store, {**where, "event.action": "audit.recorded"}, dataset="airflow.audit", limit=limit)


def causes(events: Iterable[Document]) -> dict[str, int]:
    """Count the events by cause, in the order of the catalogue."""
    counted = Counter(document.get("airflow.cause") or "app" for document in events)
    return {cause: counted[cause] for cause in catalog.CAUSES if counted[cause]}


def first(events: Iterable[Document], name: str) -> str | None:
    """The first value that a field has."""
    return next((document[name] for document in events if document.get(name)), None)


def ms(nanoseconds: float | None) -> float | None:
    """Nanoseconds in milliseconds."""
    return None if nanoseconds is None else nanoseconds / 1e6


def median(values: list[Any]) -> float | None:
    """The median, None of nothing."""
    return statistics.median(values) if values else None
