"""A table out of a store: one number for each combination of fields and stretch of time; what a board's panel asks."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from observability.store.store import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from observability.events import Document

__all__ = ["PERCENTILES", "Ask", "Key", "Table", "percentile", "queries", "spread", "tabulated"]

Key: TypeAlias = "tuple[Any, ...]"
"""The start of the stretch of time in seconds, where there are stretches, then the values of the fields, as text."""
Table: TypeAlias = "dict[Key, Any]"

PERCENTILES = {"p95": 0.95, "median": 0.5, "p5": 0.05}


@dataclass(frozen=True, slots=True)
class Ask:
    """Which documents, and what of them; the aggregates are those of the boards' signals.

    ``dags``: only documents about these; None: about any. ``homeless``: documents about no DAG as well.
    Documents that lack ``field`` or one of ``by`` count for nothing, nor do those that have one of ``without``.
    """

    datasets: tuple[str, ...]
    where: Mapping[str, tuple[str | int, ...]]
    since: datetime
    until: datetime
    aggregate: str = "count"
    field: str = ""
    by: tuple[str, ...] = ()
    bucket_s: int = 0
    without: tuple[str, ...] = ()
    dags: tuple[str, ...] | None = None
    homeless: bool = True


def queries(ask: Ask) -> Iterator[Query]:
    """The questions for documents that hold the answer; who may read them is not asked."""
    yield from (Query(dataset, ask.where, ask.since, ask.until) for dataset in ask.datasets)


def tabulated(documents: Iterable[Document], ask: Ask) -> Table:
    """The table of documents that answer :func:`queries`, counted here: for a store that cannot count."""
    values: dict[Key, list[tuple[str, Any]]] = {}
    for document in documents:
        if not _counts(document, ask):
            continue
        when = str(document["@timestamp"])
        value = document.get(ask.field) if ask.field else 1
        key = (*_stretch(when, ask.bucket_s), *(_text(document[name]) for name in ask.by))
        values.setdefault(key, []).append((when, value))
    table = {key: _AGGREGATES[ask.aggregate](found) for key, found in values.items()}
    return spread(table, ask)


def spread(table: Table, ask: Ask) -> Table:
    """The same with a row for each member of a list, as every member of a list is a value of its field."""
    rows: Table = {}
    for key, value in table.items():
        for one in _members(key):
            rows[one] = value if one not in rows else rows[one] + value if ask.aggregate in _ADD else value
    return rows


def percentile(values: list[float], share: float) -> float:
    """The value below which ``share`` of the values are, between two of them in proportion."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _counts(document: Document, ask: Ask) -> bool:
    dag = document.get("airflow.dag_id")
    if ask.dags is not None and (dag is not None or not ask.homeless) and dag not in ask.dags:
        return False
    if any(name in document for name in ask.without):
        return False
    return all(document.get(name) is not None for name in (*ask.by, *([ask.field] if ask.field else [])))


def _stretch(when: str, bucket_s: int) -> Key:
    if not bucket_s:
        return ()
    seconds = int(datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp())
    return (seconds // bucket_s * bucket_s,)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)


def _members(key: Key) -> list[Key]:
    keys: list[Key] = [()]
    for part in key:
        parts = json.loads(part) if isinstance(part, str) and part.startswith("[") and part.endswith("]") else [part]
        keys = [(*one, each) for one in keys for each in parts]
    return keys


def _numbers(found: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in found]


_ADD = {"count", "sum"}
_AGGREGATES: dict[str, Callable[[list[tuple[str, Any]]], Any]] = {
    "count": len,
    "sum": lambda found: sum(_numbers(found)),
    "average": lambda found: statistics.fmean(_numbers(found)),
    "max": lambda found: max(_numbers(found)),
    "min": lambda found: min(_numbers(found)),
    "unique": lambda found: len(set(_numbers(found))),
    "last": lambda found: max(found)[1],
    "p95": lambda found: percentile(_numbers(found), PERCENTILES["p95"]),
    "median": lambda found: percentile(_numbers(found), PERCENTILES["median"]),
    "p5": lambda found: percentile(_numbers(found), PERCENTILES["p5"]),
}
