"""Failures that people end: who did so stands in the message that it is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.failing_platform import settle, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.failing_platform import Failing
    from benchmarks.failing_ways import Way
    from observability.local.api import Api

__all__ = ["end_as_people_do", "ended_by", "is_ended_rightly"]


def end_as_people_do(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    """End failures as people do, each after it was told; then wait for what would be told of it as well."""
    for way in ways:
        failing.trigger(api, way.name)
    settle(failing, ways)
    runs = [f"/dags/way_{way.name}/dagRuns/{failing.runs[way.name][0]}" for way in ways]
    # Airflow refuses to delete a run that goes on, and a message may be there before its run has ended
    until(lambda: all(api.call("GET", run)["state"] == "failed" for run in runs), 120)
    for way in ways:
        run_id = failing.runs[way.name][0]
        run = f"/dags/way_{way.name}/dagRuns/{run_id}"
        _DEEDS[way.name](api, way.name, run, run_id)
    until(lambda: all(ended_by(way, failing) for way in ways), 90)
    time.sleep(20)  # the DAGs are listed every fifteen seconds


def _clear(api: Api, name: str, _run: str, run_id: str) -> None:
    asked = {"dry_run": False, "task_ids": ["work"], "dag_run_id": run_id}
    api.call("POST", f"/dags/way_{name}/clearTaskInstances", json=asked)


_DEEDS: dict[str, Callable[[Api, str, str, str], object]] = {
    "set_success": lambda api, _, run, __: api.call(
        "PATCH", f"{run}/taskInstances/work", json={"new_state": "success"}
    ),
    "set_skipped": lambda api, _, run, __: api.call(
        "PATCH", f"{run}/taskInstances/work", json={"new_state": "skipped"}
    ),
    "run_set_success": lambda api, _, run, __: api.call("PATCH", run, json={"state": "success"}),
    "cleared": _clear,
    "run_deleted": lambda api, _, run, __: api.call("DELETE", run),
    "dag_deleted": lambda api, name, _, __: api.call("DELETE", f"/dags/way_{name}"),
}


def ended_by(way: Way, failing: Failing) -> list[str]:
    """Words of a way's resolutions about who ended it."""
    run_id = failing.runs.get(way.name, [""])[0]
    over = [one for one in failing.told() if one["kind"] == "resolved" and one["run_id"] == run_id]
    return [dict(one["details"]).get("Resolved by", "") for one in over]


def is_ended_rightly(way: Way, failing: Failing) -> bool:
    """True if one resolution said who ended a way, in the words that are expected; true of ways that nobody ends."""
    run_id = failing.runs.get(way.name, [""])[0]
    return not way.ends or ended_by(way, failing) == [way.ends.format(run=run_id)]
