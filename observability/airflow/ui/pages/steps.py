"""Measured steps beside what they usually do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.reading import events_of, median, ms
from observability.events import task_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from observability.events import Document
    from observability.store import Readable

__all__ = ["Step", "rows_at_ends", "steps_beside_usual"]

_USUAL_RUNS = 20
_FAR = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """One measured step, beside what it usually does (medians of earlier runs)."""

    name: str
    table: str | None
    rows_in: int | None
    rows_out: int | None
    rows_rejected: int | None
    duration_ms: float | None
    watermark: str | None
    map_index: int | None = None
    iteration: str | None = None
    usual_rows_out: float | None = None
    usual_duration_ms: float | None = None

    @property
    def instance(self) -> str:
        """The part of the task that it belongs to: ``[2]``, ``[iteration 1]``; empty for a task that is one."""
        return task_name("", self.map_index, self.iteration)

    @property
    def unusual(self) -> bool:
        """True when it wrote less than half or more than twice its usual rows.

        Never of a mapped part or an iteration: what it is given differs from run to run, and parts move along as
        others come and go.
        """
        if not self.usual_rows_out or self.rows_out is None or self.instance:
            return False
        return not 1 / _FAR <= self.rows_out / self.usual_rows_out <= _FAR


def rows_at_ends(tasks: Iterable[Document], ends: Sequence[Document]) -> list[dict[str, int]]:
    """The rows that the last measured task had written by each end of a run, and those that all its steps had rejected.

    ``ends`` are the oldest first. A run that was cleared ends again, and a step that runs again counts by its newest
    try. What a clock puts behind the last end of its run belongs to that; empty where nothing was measured.
    """
    measured: dict[Any, list[Document]] = defaultdict(list)
    for document in tasks:
        if document["event.action"] == "step.measured":
            measured[document.get("airflow.run_id")].append(document)
    last = {end.get("airflow.run_id"): place for place, end in enumerate(ends)}
    found = []
    for place, end in enumerate(ends):
        steps = measured[end.get("airflow.run_id")]
        if place != last[end.get("airflow.run_id")]:
            steps = [one for one in steps if str(one["@timestamp"]) <= str(end["@timestamp"])]
        found.append(_rows_of(steps))
    return found


def _rows_of(measured: list[Document]) -> dict[str, int]:
    if not measured:
        return {}
    newest: dict[tuple[Any, ...], int] = {}
    for one in measured:
        newest[_instance(one)] = max(_try(one), newest.get(_instance(one), 0))
    kept = [one for one in measured if _try(one) == newest[_instance(one)]]
    last = kept[-1].get("airflow.task_id")
    return {
        "rows_out": sum(int(one.get("etl.rows_out") or 0) for one in kept if one.get("airflow.task_id") == last),
        "rows_rejected": sum(int(one.get("etl.rows_rejected") or 0) for one in kept),
    }


def steps_beside_usual(
    store: Readable, events: Iterable[Document], where: dict[str, Any], run_id: str | None
) -> list[Step]:
    """The measured steps among ``events``, each with the medians of its earlier runs."""
    here = [document for document in events if document["event.action"] == "step.measured"]
    if not here:
        return []
    history = events_of(store, {**where, "event.action": "step.measured"}, limit=_USUAL_RUNS * len(here))
    usual: dict[tuple[Any, ...], list[Document]] = defaultdict(list)
    for document in history:
        if document.get("airflow.run_id") != run_id:
            usual[_which_step(document)].append(document)
    return [
        _step(
            document,
            median([past["etl.rows_out"] for past in usual[_which_step(document)] if "etl.rows_out" in past]),
            median([past["event.duration"] / 1e6 for past in usual[_which_step(document)] if "event.duration" in past]),
        )
        for document in here
    ]


def _step(document: Document, usual_rows: float | None = None, usual_ms: float | None = None) -> Step:
    return Step(
        name=document.get("etl.step", ""),
        table=document.get("etl.table"),
        rows_in=document.get("etl.rows_in"),
        rows_out=document.get("etl.rows_out"),
        rows_rejected=document.get("etl.rows_rejected"),
        duration_ms=ms(document.get("event.duration")),
        watermark=document.get("etl.watermark"),
        map_index=_part_of(document),
        iteration=document.get("airflow.iteration"),
        usual_rows_out=usual_rows,
        usual_duration_ms=usual_ms,
    )


def _part_of(document: Document) -> int | None:
    index = document.get("airflow.map_index")
    return int(index) if index is not None and int(index) >= 0 else None


def _try(document: Document) -> int:
    return int(document.get("airflow.try_number") or 0)


def _instance(document: Document) -> tuple[Any, ...]:
    return document.get("airflow.task_id"), document.get("airflow.iteration"), _part_of(document)


def _which_step(document: Document) -> tuple[Any, ...]:
    names = ("airflow.task_id", "etl.step", "etl.table", "airflow.iteration")
    return (*(document.get(name) for name in names), _part_of(document))
