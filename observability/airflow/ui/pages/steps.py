"""Measured steps beside what they usually do."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.reading import events_of, median, ms
from observability.events import task_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.events import Document
    from observability.store import Readable

__all__ = ["Step", "rows_of_runs", "steps_beside_usual"]

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


def rows_of_runs(tasks: Iterable[Document]) -> dict[str, dict[str, int]]:
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


def _which_step(document: Document) -> tuple[Any, ...]:
    names = ("airflow.task_id", "etl.step", "etl.table", "airflow.iteration")
    return (*(document.get(name) for name in names), _part_of(document))
