"""Attempts: how each try of a task ended, or that it runs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.reading import ENDED, ms
from observability.events import provider_of, region_of, setting_of, task_name
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.events import Document, Region, Setting

__all__ = ["Attempt", "as_people_set", "attempts_in", "final_ends", "running_in"]

_GIVEN_UP = {"lost_heartbeat", "stuck_queued", "cancelled"}
"""Causes that only Airflow's scheduler and API server know of."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a task: how it ended and what it used, or that it runs (``ended`` is then when it began)."""

    task_id: str
    try_number: int
    map_index: int
    iteration: str | None
    state: str
    ended: str
    started: str | None = None
    cause: str | None = None
    reason: str | None = None
    duration_ms: float | None = None
    peak_rss: int | None = None
    document: Document = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The task instance as people call it."""
        return task_name(self.task_id, self.map_index, self.iteration)

    @property
    def region(self) -> Region:
        """The region by which Airflow knows it in a task loop."""
        return region_of(self.document.get("airflow.region_id"), self.map_index, self.iteration)


def attempts_in(events: Iterable[Document]) -> list[Attempt]:
    """The attempts that ended, in the order of their ends: each once, as :func:`final_ends` has it."""
    started: dict[tuple[Any, ...], str] = {}
    events = list(events)
    for document in events:
        if document["event.action"] == "task.started":
            started.setdefault(_which(document), document["@timestamp"])
    ended = [_attempt(document, started.get(_which(document))) for document in final_ends(events)]
    return sorted(ended, key=lambda attempt: attempt.ended)


def final_ends(events: Iterable[Document]) -> list[Document]:
    """One end of each attempt that ended, in the order in which they are given.

    Where accounts differ Airflow's own word stands, whenever it came: it had given up an attempt whose process then
    said that it succeeded, or did not hear of that. Of two accounts of one source the later stands, and a death that
    the relay saw only where nobody else says anything.
    """
    ended: dict[tuple[Any, ...], Document] = {}
    for document in events:
        if document["event.action"] in ENDED:
            about = (document.get("airflow.dag_id"), *_which(document))
            if about not in ended or _rank(document) >= _rank(ended[about]):
                ended.pop(about, None)
                ended[about] = document
    return list(ended.values())


def _rank(document: Document) -> int:
    """The weight of an account of an end: the relay's, the process's own, Airflow's."""
    if document["event.action"] == "task.killed":
        return 0
    airflows = "reconciler" in provider_of(document) or document.get("airflow.cause") in _GIVEN_UP
    return 2 if airflows else 1


def running_in(events: Iterable[Document]) -> list[Attempt]:
    """The attempts that began and of whose end nothing is known, the oldest first."""
    started: dict[tuple[Any, ...], Document] = {}
    for document in events:
        about = _which(document)
        if document["event.action"] == "task.started":
            started.setdefault(about, document)
        elif document["event.action"] in ENDED:
            started.pop(about, None)
    return [replace(_attempt(one, one["@timestamp"]), state="running") for one in started.values()]


def as_people_set(attempts: Iterable[Attempt], deeds: Iterable[Document]) -> list[Attempt]:
    """The attempts of one run, where a person's word about a task's state stands for its last attempt until then.

    ``deeds`` are the rows of Airflow's event log about the run, oldest first. No process says that such a task
    succeeded, and one that ran is ended without a word.
    """
    found = list(attempts)
    for setting in filter(None, map(setting_of, deeds)):
        mine: dict[tuple[str, int, str | None], int] = {}
        for place, one in enumerate(found):
            if setting.concerns(one.task_id, one.map_index) and (one.started or one.ended) <= setting.time:
                mine[one.task_id, one.map_index, one.iteration] = place
        for place in mine.values():
            found[place] = _as_set(found[place], setting)
    return found


def _as_set(one: Attempt, setting: Setting) -> Attempt:
    if one.state == setting.state:
        return one
    failed, ran = setting.state == "failed", one.state == "running"
    reason = f"set to {setting.state} by {setting.who} at {setting.time[11:16]} UTC"
    reason = reason if ran else f"{one.state}, {reason}"
    changed = replace(one, state=setting.state, cause="cancelled" if failed else None, reason=reason)
    if not ran:
        return changed
    took = parsed(setting.time) - parsed(one.ended)
    return replace(changed, ended=setting.time, duration_ms=took.total_seconds() * 1000)


def _which(document: Document) -> tuple[Any, ...]:
    """The key of an attempt; in a task loop its own id, for an iteration may be run by another loop."""
    place = tuple(document.get(f"airflow.{name}") for name in ("run_id", "task_id", "map_index", "try_number"))
    if document.get("airflow.iteration") is None and document.get("airflow.loop_id") is None:
        return place
    return (*place, document.get("airflow.ti_id") or document.get("airflow.iteration"))


def _attempt(document: Document, started: str | None) -> Attempt:
    return Attempt(
        task_id=document.get("airflow.task_id", ""),
        try_number=int(document.get("airflow.try_number") or 1),
        map_index=int(document["airflow.map_index"]) if document.get("airflow.map_index") is not None else -1,
        iteration=document.get("airflow.iteration"),
        state=document.get("airflow.state") or document["event.action"].partition(".")[2],
        started=started,
        ended=document["@timestamp"],
        cause=document.get("airflow.cause"),
        reason=document.get("event.reason"),
        duration_ms=ms(document.get("event.duration")),
        peak_rss=document.get("airflow.peak_rss"),
        document=document,
    )
