"""One broken thing in many runs: which runs an incident is about, what fails alike, and what makes a run good again.

Pure, like :mod:`observability.watch.incidents`. An incident holds a mark for each run that is still broken; a failure
like one that people know of joins it instead of opening another.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from observability.watch.runs import RunMark, repairs

if TYPE_CHECKING:
    from observability.watch.facts import Fact
    from observability.watch.incidents import Incident

__all__ = [
    "RUN_KINDS",
    "failed_members",
    "forgotten",
    "is_alike",
    "joined",
    "marked",
    "repaired",
    "succeeded",
    "task_recovered",
]

RUN_KINDS = ("task", "run", "stuck")
_CLOCKS_AGREE_S = 60.0
_MOST_RUNS = 500
"""Marks that an incident holds; of an ordinary schedule the oldest goes first, as any later success makes it good."""
_INDEX = re.compile(r"\[[^\[]*\]$")


def marked(incident: Incident, fact: Fact, begun: float) -> Incident:
    """The incident with what ``fact`` says of a run that failed; ``begun`` is when that run began."""
    if fact.kind not in RUN_KINDS or fact.status != "firing" or not fact.run_id:
        return incident
    known = incident.runs.get(fact.run_id, {})
    mark = {**RunMark.of(fact, begun).as_json(), "failed": fact.time, "failed_tasks": [], "try": None}
    mark |= {name: value for name, value in known.items() if value not in (None, "") and name != "cleared"}
    if fact.kind == "task":
        mark["failed_tasks"] = list(dict.fromkeys([*mark["failed_tasks"], fact.member]))
        mark["try"] = max(mark["try"] or 0, fact.try_number or 0) or None
    mark["failed"] = max(mark["failed"], fact.time)
    changed = replace(incident, runs=_bounded({**incident.runs, fact.run_id: mark}))
    success = incident.success
    if success.get("run_id") == fact.run_id and fact.time > success["ended"]:  # it has failed again since
        return replace(changed, success={}, good_at=None)
    return changed


def is_alike(one: Incident, known: Incident) -> bool:
    """True if an incident that nobody was notified of is more of what people know: same task, cause and error."""
    if one.id == known.id or known.notified != "opened" or not known.live or one.dag_id != known.dag_id:
        return False
    if {one.kind, known.kind} - {"task", "run"}:
        return False
    return one.error in known.errors and _tasks(one) <= _tasks(known)


def joined(known: Incident, one: Incident) -> tuple[Incident, Incident]:
    """``known`` with what ``one`` was about, and ``one`` as a part of it."""
    more = replace(
        known,
        count=known.count + one.count,
        run_count=(known.run_count or 1) + (one.run_count or 1),
        last_seen=max(known.last_seen, one.last_seen),
        last_run=one.run_id or known.last_run,
        runs=_bounded({**known.runs, **one.runs}),
    )
    return more, replace(one, state="merged", merged_into=known.id, notify_at=None, remind_at=None)


def repaired(incident: Incident, success: RunMark, at: float) -> Incident:
    """The incident without the runs that a success, which ended at ``at``, makes good."""
    left = {
        run_id: mark
        for run_id, mark in _marks(incident).items()
        if not _is_repaired(mark, success, at) or (run_id == success.run_id and mark.get("failed_tasks"))
    }
    return replace(incident, runs=left)


def succeeded(incident: Incident, success: RunMark, at: float, heard: float, until: float) -> Incident:
    """The incident that a success makes good at ``until``, unless its run fails again.

    It ended at ``at`` and was heard of at ``heard``: what people did before that may yet be read.
    """
    return replace(incident, success={**success.as_json(), "ended": at, "heard": heard}, good_at=until)


def forgotten(incident: Incident, run_id: str) -> Incident:
    """The incident without a run that there is no longer."""
    return replace(incident, runs={name: mark for name, mark in _marks(incident).items() if name != run_id})


def task_recovered(incident: Incident, fact: Fact) -> Incident:
    """The incident after a task of one of its runs is well: it was run again, or a person said so."""
    mark = incident.runs.get(str(fact.run_id))
    if mark is None:
        return incident
    left = [member for member in mark["failed_tasks"] if member != fact.member]
    return replace(incident, runs={**incident.runs, str(fact.run_id): {**mark, "failed_tasks": left}})


def failed_members(incident: Incident, run_id: str) -> tuple[str, ...]:
    """The tasks that failed in one run of the incident."""
    if (mark := incident.runs.get(run_id)) is not None:
        return tuple(mark["failed_tasks"])
    return incident.failed_tasks if incident.run_id == run_id else ()


def _marks(incident: Incident) -> dict[str, Any]:
    """The marks; of an incident that an older version wrote, one that is made of what it says of itself."""
    if incident.runs or not incident.run_id:
        return dict(incident.runs)
    mark = {**RunMark(incident.run_id, begun=incident.first_seen).as_json(), "failed": incident.first_seen}
    return {incident.run_id: {**mark, "failed_tasks": list(incident.failed_tasks), "try": incident.try_number}}


def _is_repaired(mark: dict[str, Any], success: RunMark, at: float) -> bool:
    if mark["run_id"] == success.run_id:
        return bool(at >= mark["failed"] - _CLOCKS_AGREE_S)
    return bool(mark["failed"] <= success.begun) and repairs(success, RunMark.from_json(mark))


def _bounded(runs: dict[str, Any]) -> dict[str, Any]:
    while len(runs) > _MOST_RUNS:
        ordinary = (name for name, mark in runs.items() if mark["kind"] != "backfill" and mark["partition"] is None)
        del runs[next(ordinary, next(iter(runs)))]
    return runs


def _tasks(one: Incident) -> set[str]:
    return {_INDEX.sub("", member) for member in one.failed_tasks}
