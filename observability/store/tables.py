"""A table out of a store: numbers for each combination of fields and stretch of time; what a board's panel asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from observability.store.questions import Ask, Key, Measures, Query, Table
from observability.store.tallies import Tallies
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from observability.events import Document

__all__ = ["PERCENTILES", "Ask", "Key", "Measures", "Table", "merged", "percentile", "queries", "spread", "tabulated"]


PERCENTILES = {"p95": 0.95, "median": 0.5, "p5": 0.05}


def queries(ask: Ask) -> Iterator[Query]:
    """The questions for documents that hold the answer; who may read them is not asked."""
    yield from (Query(dataset, ask.where, ask.since, ask.until) for dataset in ask.datasets)


def tabulated(documents: Iterable[Document], ask: Ask) -> Table:
    """The table of documents that answer :func:`queries`, counted while they are read: for a store that cannot count.

    Raises ``StoreError`` when more would have to be held than ``tallies.py`` allows.
    """
    tallies = Tallies(ask.measures)
    for document in documents:
        if _counts(document, ask):
            when = str(document["@timestamp"])
            key = (*_stretch(when, ask.bucket_s), *(_text(document[name]) for name in ask.by))
            tallies.add(key, when, [document.get(field) if field else 1 for _, field in ask.measures])
    shares = {name: lambda values, share=share: percentile(values, share) for name, share in PERCENTILES.items()}
    return spread(dict(tallies.rows(shares)), ask)


def spread(table: Table, ask: Ask) -> Table:
    """The rows that say something, one for each member of a list, as every member of a list is a value of its field."""
    said = {key: values for key, values in table.items() if values.count(None) < len(values)}
    return merged(said, ask.measures)


def merged(table: Table, measures: Measures = (("count", ""),)) -> Table:
    """The rows with one for each member of a list, those of the same member added up."""
    if not _have_lists(table):
        return table
    rows: Table = {}
    for key, values in table.items():
        for one in _members(key):
            rows[one] = _joined(rows[one], values, measures) if one in rows else values
    return rows


def percentile(values: Iterable[float], share: float) -> float:
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
    return all(document.get(name) is not None for name in ask.by)


def _joined(one: tuple[Any, ...], other: tuple[Any, ...], measures: Measures) -> tuple[Any, ...]:
    """Two rows of one member; only what can be added up is right for both, the larger stands for the rest."""
    return tuple(
        b if a is None else a if b is None else a + b if aggregate in _ADD else max(a, b)
        for a, b, (aggregate, _) in zip(one, other, measures, strict=True)
    )


def _stretch(when: str, bucket_s: int) -> Key:
    if not bucket_s:
        return ()
    seconds = int(parsed(when).timestamp())
    return (seconds // bucket_s * bucket_s,)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, list) else str(value)


def _members(key: Key) -> list[Key]:
    keys: list[Key] = [()]
    for part in key:
        parts = _listed(part) if _is_list(part) else [part]
        keys = [(*one, each) for one in keys for each in parts]
    return keys


def _have_lists(keys: Iterable[Key]) -> bool:
    """True where a part of a key is a list; written out, because a table may have a hundred thousand keys."""
    for key in keys:
        for part in key:
            if part.__class__ is str and part[-1:] == "]" and _is_list(part):
                return True
    return False


def _is_list(part: Any) -> bool:
    return isinstance(part, str) and part[:1] == "[" and part[-1:] == "]"


def _listed(part: str) -> list[Any]:
    """The members of a list; of a name that only looks like one, the name."""
    try:
        found = json.loads(part)
    except json.JSONDecodeError:
        return [part]
    return found if isinstance(found, list) else [part]


_ADD = {"count", "sum"}
