"""Find out whether Airflow carried out a request that stands in its event log.

Airflow writes a request down before it decides about it: one that it refused (403, 404, 409, 422) stands there with
state and name as one that was carried out does. What Airflow has now tells them apart, where a change has a moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.timestamps import iso, parsed
from observability.watch.facts import seconds
from observability.watch.sources.api import path_of
from observability.watch.sources.isolation import ODD_ANSWERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from observability.catalog import Outcome
    from observability.watch.sources.api import AirflowApi

__all__ = ["TAKES_S", "is_judged", "may_be_done", "outcome_of"]

TAKES_S = 10.0
"""A change within this time after a request is that of the request."""
_WITHOUT_ASKING = ("contrail.", "paused")
"""Entries that are written after the deed: our own acts, and the pause that Airflow's scheduler makes."""
_SLASH = "/"


def outcome_of(api: AirflowApi, row: Mapping[str, Any]) -> Outcome:
    """``success`` where Airflow has what was asked, since then; ``failure`` where nothing has changed.

    It is ``unknown`` where neither can be seen, and where Airflow cannot be asked now.
    """
    name = str(row.get("event"))
    if name.startswith(_WITHOUT_ASKING):
        return "success"
    judge = _JUDGES.get(name)
    if judge is None:
        return "unknown"
    try:
        return judge(api, _Request.of(row))
    except ODD_ANSWERS:
        return "unknown"


def is_judged(row: Mapping[str, Any]) -> bool:
    """True where Airflow is asked about a request of this kind."""
    return row.get("event") in _JUDGES


def may_be_done(api: AirflowApi, row: Mapping[str, Any]) -> bool:
    """True where a request was carried out, or is of a kind of which that cannot be known.

    It is not where a state was asked for that the run or task did not get then.
    """
    outcome = outcome_of(api, row)
    asks_state = row.get("event") in _STATES and bool(_asked_state(_body(row)))
    return outcome == "success" or (outcome == "unknown" and not asks_state)


@dataclass(frozen=True, slots=True)
class _Request:
    """A row of the event log, and the body of its request; its moment as Airflow has it, and in seconds since 1970."""

    dag_id: str
    run_id: str
    task_id: str | None
    owner: str | None
    at: str
    when: float
    body: dict[str, Any]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Request:
        """The request. Raises LookupError where it does not say what it is about."""
        body = _body(row)
        run_id = row.get("run_id") or body.get("dag_run_id") or ""
        if not isinstance(row["dag_id"], str) or _SLASH in run_id:
            raise LookupError("a request about several DAGs, or about a run of which Airflow cannot be asked")
        at = row["when"]
        return cls(row["dag_id"], run_id, row.get("task_id"), row.get("owner"), at, seconds(at), body)

    @property
    def runs(self) -> str:
        """The path of the DAG's runs."""
        return path_of("dags", self.dag_id, "dagRuns")

    @property
    def run(self) -> str:
        """The path of the run. Raises LookupError where the request names none."""
        if not self.run_id:
            raise LookupError("the request names no run")
        return f"{self.runs}{path_of(self.run_id)}"

    def since(self) -> dict[str, str]:
        """The filter of what has changed since the request."""
        return {"updated_at_gte": self.at, "order_by": "id"}

    def then(self) -> dict[str, str]:
        """The filter of what was changed last by the request."""
        return {**self.since(), "updated_at_lte": iso(self.when + TAKES_S, "microseconds")}

    def is_then(self, moment: str | None) -> bool:
        """True if a moment that Airflow shows is that of the request."""
        return moment is not None and 0 <= parsed(moment).timestamp() - self.when <= TAKES_S


def _task(api: AirflowApi, asked: _Request) -> Outcome:
    if _asked_state(asked.body) is None:
        return _note(api, asked, f"{asked.run}{path_of('taskInstances', str(asked.task_id), *_index(asked))}")
    return _tasks(api, asked, lambda one: one["task_id"] == asked.task_id, task_id=asked.task_id)


def _group(api: AirflowApi, asked: _Request) -> Outcome:
    inside = f"{asked.body['group_id']}."
    return _tasks(api, asked, lambda one: one["task_id"].startswith(inside))


def _tasks(api: AirflowApi, asked: _Request, is_meant: Callable[[dict[str, Any]], bool], **more: Any) -> Outcome:
    """The outcome of a request for a state of tasks of a run."""

    def changed(filters: dict[str, str]) -> Iterator[dict[str, Any]]:
        listed = api.pages(f"{asked.run}/taskInstances", "task_instances", **more, **filters)
        return (one for one in listed if is_meant(one) and one["map_index"] in (_index(asked) or {one["map_index"]}))

    state = _asked_state(asked.body)
    if state is not None and any(one["state"] == state for one in changed(asked.then())):
        return "success"
    return "unknown" if next(changed(asked.since()), None) or api.once(asked.run) is None else "failure"


def _run(api: AirflowApi, asked: _Request) -> Outcome:
    state = _asked_state(asked.body)
    if state is None:
        return _note(api, asked, asked.run)

    def changed(filters: dict[str, str]) -> Iterator[dict[str, Any]]:
        listed = api.pages(asked.runs, "dag_runs", **filters)
        return (one for one in listed if one["dag_run_id"] == asked.run_id)

    run = api.once(asked.run)
    if run is None:
        return "unknown"
    if state == "queued" and asked.is_then(run["queued_at"]):  # it is under way since
        return "success"
    if any(one["state"] == state for one in changed(asked.then())):
        return "success"
    return "unknown" if next(changed(asked.since()), None) else "failure"


def _note(api: AirflowApi, asked: _Request, path: str) -> Outcome:
    found = api.once(path)
    has_it = found is not None and "note" in asked.body and found["note"] == asked.body["note"]
    return "success" if has_it else "unknown"


def _clear(api: AirflowApi, asked: _Request) -> Outcome:
    run = api.once(asked.run)
    return "success" if run is not None and asked.is_then(run["queued_at"]) else "unknown"


def _trigger(api: AirflowApi, asked: _Request) -> Outcome:
    listed = api.pages(asked.runs, "dag_runs", **asked.since())
    return "success" if any(_is_triggered_by(one, asked) for one in listed) else "unknown"


def _is_triggered_by(run: dict[str, Any], asked: _Request) -> bool:
    by = run.get("triggering_user_name", asked.owner)  # Airflow 3.0 does not say
    began = asked.is_then(run["queued_at"]) or asked.is_then(run["run_after"])  # a run that was cleared is queued anew
    return asked.run_id in {"", run["dag_run_id"]} and by == asked.owner and began


def _pause(api: AirflowApi, asked: _Request) -> Outcome:
    dag = api.once(path_of("dags", asked.dag_id))
    has_it = dag is not None and str(dag["is_paused"]).lower() == str(asked.body.get("is_paused")).lower()
    return "success" if has_it else "unknown"


_STATES = frozenset({"patch_task_instance", "patch_task_group_instances", "patch_dag_run"})
_JUDGES: dict[str, Callable[[AirflowApi, _Request], Outcome]] = {
    "patch_task_instance": _task,
    "patch_task_group_instances": _group,
    "patch_dag_run": _run,
    "post_clear_task_instances": _clear,
    "clear_dag_run": _clear,
    "trigger_dag_run": _trigger,
    "patch_dag": _pause,
}
"""Of other entries nothing that Airflow shows says when it was changed, or what there was before it was deleted."""


def _asked_state(body: dict[str, Any]) -> str | None:
    state = body.get("new_state") or body.get("state")
    return state if isinstance(state, str) else None


def _index(asked: _Request) -> tuple[int, ...]:
    """The map index in the path of the request, if there is one."""
    index = asked.body.get("map_index")
    return () if index is None else (int(index),)


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        body = json.loads(str(row.get("extra")))
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
