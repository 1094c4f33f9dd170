"""The DAGs that `benchmarks versions` runs, by groups, and what a person does while they run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.versions_airflow import until
from observability.local.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.versions_airflow import Versioned

__all__ = ["GROUPS", "Group", "play"]

_PATIENCE_S = 420.0
_ALL_PARSED = "dag_processing.total_parse_time"
"""Airflow's processor sends it when it has been through all files."""
_AT_ONCE = 8
_LIVE = ("queued", "running")


@dataclass(frozen=True)
class Group:
    """DAGs that one platform runs: those of ``files``, or Airflow's own examples."""

    files: tuple[str, ...] = ()
    versions: tuple[str, ...] = ("3.3", "3.4")
    examples: bool = False
    quick: tuple[str, ...] = field(default=())


GROUPS = {
    "loops": Group(
        ("loops_of_3_4.py",), ("3.4",), quick=("loop_fails", "loop_killed", "loop_mapped_retries", "loop_forked")
    ),
    "beside": Group(("beside_loops_of_3_4.py",), ("3.4",), quick=("plain",)),
    "features": Group(("features.py",), quick=("f_hitl", "f_trigger_parent", "f_trigger_child")),
    "examples": Group(examples=True, quick=("example_bash_operator", "refine_estimate")),
}
_STARTED_BY_OTHERS = {
    "f_trigger_child", "f_asset_consumer", "f_partition_consumer", "partition_consumer", "example_asset_with_watchers",
}  # fmt: skip
_CONF = {
    "example_trigger_target_dag": {"message": "from the trial"},
    "example_params_ui_tutorial": {"required_field": "what a person says"},
}
_DATED = {"example_branch_dop_operator_v3"}
"""It reads the logical date of its run, and each run of the next minutes depends on the one before."""
_WATCHED = tuple(map(Path, ("/tmp/test", "/tmp/region-flags/us.flag", "/tmp/region-flags/eu.flag")))
"""As the example names them. It says that one is enough, but its schedule asks for all three."""
_LEFT_OUT = {
    "example_kubernetes_executor": "needs Kubernetes",
    "example_local_kubernetes_executor": "needs Kubernetes",
    "example_external_task_marker_parent": "waits for a run of another day",
    "example_external_task_marker_child": "waits for a run of another day",
}


def play(airflow: Versioned, group: Group, *, quick: bool, only: tuple[str, ...] = ()) -> list[str]:
    """Run every DAG of a group, or those that match a glob of ``only``, to its end; their names.

    Raises RuntimeError where one does not end.
    """
    dags = _parsed(airflow)
    chosen = [one for one in dags if one not in _LEFT_OUT and (not quick or one in group.quick)]
    chosen = [one for one in chosen if not only or any(fnmatchcase(one, glob) for glob in only)]
    with suppress(PlatformError):  # there already
        airflow.api.call("POST", "/pools", json={"name": "feature_one", "slots": 1})
    for dag_id in chosen:
        if dag_id != "drained":
            airflow.api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    for dag_id in chosen:
        until(lambda: len(_live(airflow)) < _AT_ONCE, _PATIENCE_S, f"a free place for {dag_id}")
        _start(airflow, dag_id)
    for dag_id in chosen:
        _PEOPLE.get(dag_id, _nobody)(airflow)
    until(lambda: _at_rest(airflow, chosen), _PATIENCE_S, f"the end of {_live(airflow)}")
    return chosen


def _parsed(airflow: Versioned) -> list[str]:
    """Every DAG, once all files were parsed. Raises RuntimeError for a file that does not parse."""
    until(lambda: _sent(airflow, _ALL_PARSED), _PATIENCE_S, "the first parse of all DAG files")
    if broken := list(airflow.api.pages("/importErrors", "import_errors")):
        raise RuntimeError(f"{broken[0]['filename']} does not parse: {broken[0]['stack_trace']}")
    found: list[str] = until(lambda: _names(airflow), _PATIENCE_S, "a DAG")
    return found


def _sent(airflow: Versioned, metric: str) -> bool:
    return any(one.get("metric.name") == metric for one in airflow.documents("airflow.statsd"))


def _names(airflow: Versioned) -> list[str]:
    """The DAGs: those of the group's files, or the examples of Airflow's core."""
    mine = ("/airflow/example_dags/", str(airflow.home))
    found = airflow.api.pages("/dags", "dags")
    return sorted(dag["dag_id"] for dag in found if any(folder in dag["fileloc"] for folder in mine))


def _live(airflow: Versioned) -> list[str]:
    found = airflow.api.pages("/dags/~/dagRuns", "dag_runs", {"state": list(_LIVE)})
    return [run["dag_id"] for run in found]


def _at_rest(airflow: Versioned, chosen: list[str]) -> bool:
    """True once no run is live. A DAG that the clock starts is paused between two runs: some begin each minute."""
    live = set(_live(airflow))
    clocked = {run["dag_id"] for run in airflow.api.pages("/dags/~/dagRuns", "dag_runs", {"run_type": ["scheduled"]})}
    for dag_id in clocked.intersection(chosen) - live:
        airflow.api.call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})
    return not live


def _start(airflow: Versioned, dag_id: str) -> None:
    if dag_id in _STARTED_BY_OTHERS or dag_id == "drained":
        return
    if dag_id == "f_backfilled":
        asked = {"dag_id": dag_id, "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-05T00:00:00Z"}
        airflow.api.call("POST", "/backfills", json={**asked, "max_active_runs": 2, "reprocess_behavior": "none"})
        return
    date = datetime.now(timezone.utc).isoformat() if dag_id in _DATED else None
    airflow.api.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": date, "conf": _CONF.get(dag_id, {})})


def _instances(airflow: Versioned, dag_id: str) -> list[dict[str, Any]]:
    return list(airflow.api.pages(f"/dags/{dag_id}/dagRuns/~/taskInstances", "task_instances", {"order_by": "id"}))


def _ended(airflow: Versioned, dag_id: str) -> bool:
    runs = list(airflow.api.pages(f"/dags/{dag_id}/dagRuns", "dag_runs"))
    return bool(runs) and all(run["state"] not in _LIVE for run in runs)


def _answer(dag_id: str, **chosen: str) -> Callable[[Versioned], None]:
    """Answer the questions of a DAG, once the watcher has told people that nobody did."""

    def did(airflow: Versioned) -> None:
        until(lambda: all(_waiting(airflow, dag_id, one) for one in chosen), _PATIENCE_S, f"the questions of {dag_id}")
        until(lambda: _is_told(airflow, dag_id), 120, f"the message that {dag_id} waits for an answer")
        for task_id, option in chosen.items():
            run_id = (_waiting(airflow, dag_id, task_id) or {})["dag_run_id"]
            path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"
            airflow.api.call("PATCH", path, json={"chosen_options": [option]})

    return did


def _waiting(airflow: Versioned, dag_id: str, task_id: str) -> dict[str, Any] | None:
    states = {"awaiting_input", "deferred"}
    found = [one for one in _instances(airflow, dag_id) if one["task_id"] == task_id and one["state"] in states]
    return found[0] if found else None


def _is_told(airflow: Versioned, dag_id: str) -> bool:
    return any("nobody" in str(one) for one in airflow.messages() if one["dag_id"] == dag_id)


def _fork(airflow: Versioned) -> None:
    """Clear the second of three iterations, so that Airflow runs the loop again from there."""
    until(lambda: _ended(airflow, "loop_forked"), _PATIENCE_S, "the end of loop_forked")
    airflow.replaced = _instances(airflow, "loop_forked")
    (second,) = [
        one
        for one in airflow.replaced
        if one["task_id"] == "body.step" and (one["loop_iteration"] or {}).get("iteration") == 1
    ]
    asked = {"dry_run": False, "only_failed": False, "task_instance_ids": [second["id"]], "include_downstream": True}
    body = {**asked, "dag_run_id": second["dag_run_id"]}
    airflow.api.call("POST", "/dags/loop_forked/clearTaskInstances", json=body)
    until(lambda: len(_instances(airflow, "loop_forked")) and _ended(airflow, "loop_forked"), _PATIENCE_S, "the fork")


def _drain(airflow: Versioned) -> None:
    """Let a scheduled DAG begin two runs, and drain it."""
    path = "/dags/drained"
    airflow.api.call("PATCH", path, json={"is_paused": False})
    runs = lambda: list(airflow.api.pages(f"{path}/dagRuns", "dag_runs"))  # noqa: E731
    until(lambda: len(runs()) > 1, _PATIENCE_S, "two runs of drained")
    airflow.api.call("PATCH", path, json={"scheduling_state": "draining"})
    until(lambda: airflow.api.call("GET", path)["is_paused"], _PATIENCE_S, "the pause of drained")


def _write_watched_files(airflow: Versioned) -> None:
    """Write the files that the watchers of an example wait for, and wait for the run that they begin.

    Airflow watches for a DAG that is not paused from its next parse on, which is asked for.
    """
    dag = airflow.api.call("GET", "/dags/example_asset_with_watchers")
    airflow.api.call("PUT", f"/parseDagFile/{dag['file_token']}")
    for path in _WATCHED:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    until(lambda: _ended(airflow, dag["dag_id"]), _PATIENCE_S, "the run that begins when three files are there")


def _nobody(_airflow: Versioned) -> None:
    """Nothing is done by a person."""


_PEOPLE: dict[str, Callable[[Any], None]] = {
    "f_hitl": _answer("f_hitl", asks="yes", approves="Approve"),
    "loop_forked": _fork,
    "drained": _drain,
    "example_asset_with_watchers": _write_watched_files,
}
