"""Run again what failed, and stop that: by Airflow's own REST API, whoever carries the request there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from observability.errors import ArgumentError
from observability.watch.sources.api import path_of

if TYPE_CHECKING:
    from observability.watch.incidents import Incident

__all__ = ["Change", "failed_tasks", "run_of", "send_to_airflow"]

_SHOWN = 5


class Change(Protocol):
    """A request that changes something in Airflow: method, path below ``/api/v2``, body; answers its JSON."""

    def __call__(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Raises an error with Airflow's own words where it refuses."""


def run_of(incident: Incident) -> str:
    """The run that is run again: the last one that failed so."""
    return str(incident.last_run or incident.run_id)


def failed_tasks(change: Change, incident: Incident) -> str:
    """The tasks that a rerun would clear, in words; Airflow changes nothing for that."""
    return _named(_clear(change, incident, dry_run=True))


def send_to_airflow(change: Change, act: str, incident: Incident) -> str:
    """Have Airflow do the act ``rerun`` or ``stop``, and answer what it did it to.

    Raises :class:`ArgumentError` where nothing of the run has failed any more.
    """
    if act == "stop":
        change("PATCH", path_of("dags", str(incident.dag_id), "dagRuns", run_of(incident)), {"state": "failed"})
        return f"run {run_of(incident)}"
    return _named(_clear(change, incident, dry_run=False))


def _clear(change: Change, incident: Incident, *, dry_run: bool) -> list[str]:
    found = _cleared(change, incident, dry_run=dry_run, only_failed=True)
    if not found and (stopped := _stopped(change, incident)):
        found = _cleared(change, incident, dry_run=dry_run, only_failed=False, task_ids=stopped)
    if not found:
        raise ArgumentError(f"nothing of run {run_of(incident)} has failed any more: there is nothing to clear")
    return list(dict.fromkeys(str(one.get("task_id")) for one in found))


def _stopped(change: Change, incident: Incident) -> list[str]:
    """The tasks of the incident, where a rerun was stopped before it came to them: Airflow calls them skipped then."""
    about = {member.partition("[")[0] for member in (*incident.failed_tasks, incident.task_id or "") if member}
    every = _cleared(change, incident, dry_run=True, only_failed=False) if about else []
    states = {str(one.get("task_id")): one.get("state") for one in every}
    return sorted(about) if about and all(states.get(task) == "skipped" for task in about) else []


def _cleared(change: Change, incident: Incident, **how: Any) -> list[dict[str, Any]]:
    """The task instances that Airflow clears, or would clear."""
    body = {"dag_run_id": run_of(incident), "include_downstream": True, "reset_dag_runs": True, **how}
    answer = change("POST", path_of("dags", str(incident.dag_id), "clearTaskInstances"), body)
    found = answer.get("task_instances") if isinstance(answer, dict) else None
    return [one for one in found or () if isinstance(one, dict)]


def _named(tasks: list[str]) -> str:
    more = f" and {len(tasks) - _SHOWN} more" if len(tasks) > _SHOWN else ""
    return f"{', '.join(tasks[:_SHOWN])}{more}"
