"""Exemplars of the relay's metrics: the newest event of each series that has a trace.

StatsD carries no trace. The events that feed our metrics are in the journal: a scrape reads the end of its newest file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import orjson

from observability import catalog
from observability.journal import frames
from observability.openmetrics import Exemplar, Tags, family_name
from observability.regular_files import is_regular, open_regular
from observability.timestamps import parsed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["exemplars"]

_TAIL_BYTES = 262_144
_DATASET = "etl.event"


def exemplars(journals: Path) -> dict[tuple[str, Tags], Exemplar]:
    """The newest exemplar of each series, by the name of its family and its tags; what cannot be read has none."""
    found: dict[tuple[str, Tags], Exemplar] = {}
    for document in _documents(journals):
        spec = catalog.EVENTS.get(str(document.get("event.action")))
        trace = document.get("trace.id")
        if spec is None or not isinstance(trace, str):
            continue
        for use in spec.metrics:
            _add(found, use, document, trace)
    return found


def _add(found: dict[tuple[str, Tags], Exemplar], use: catalog.MetricUse, document: dict[str, Any], trace: str) -> None:
    metric = catalog.METRICS[use.metric]
    value = 1.0 if use.field is None else document.get(use.field)
    if not isinstance(value, (int, float)) or metric.type == "gauge":
        return
    tags = {tag: str(document[name]) for tag in metric.tags if (name := catalog.TAGS[tag]) in document}
    scale = use.scale * (1e-3 if metric.type == "timer" else 1.0) if use.field else 1.0
    when = parsed(str(document["@timestamp"])).timestamp()
    found[family_name(use.metric, metric.type), tuple(sorted(tags.items()))] = Exemplar(trace, value * scale, when)


def _documents(journals: Path) -> list[dict[str, Any]]:
    """The newest events on disk, oldest first."""
    try:
        files = filter(is_regular, journals.glob(f"{_DATASET}-*.journal"))
        newest = max(files, key=lambda path: path.stat().st_mtime)
        with open_regular(newest, follow=False) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES)
    except (OSError, ValueError):
        return []
    if size > _TAIL_BYTES:
        tail = tail.partition(b"\n")[2]
    return [orjson.loads(one.document) for one in frames(tail) if one.document is not None]
