"""Ways to fail that take several steps: what is late, what waits, and what Airflow takes out of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.failing_platform import settle, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.failing_platform import Failing
    from benchmarks.failing_ways import Way
    from observability.local.api import Api

__all__ = ["be_late", "lose_a_task"]

_RUNNING_S = 120.0


def be_late(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    """Miss each deadline, leave a run waiting for ever, and trigger one of a paused DAG."""
    lose_a_task(failing, api)
    for name in ("late_run", "few_rows", "stale", "late_by_airflow"):
        failing.trigger(api, name)
    _wait_for_the_run_before(failing, api)
    _trigger_a_paused_one(failing, api)
    settle(failing, ways, patience_s=150)


def lose_a_task(failing: Failing, api: Api) -> None:
    """Take a task out of a DAG's file while a run goes on that has not come to it."""
    run_id = failing.trigger(api, "removed")
    first = f"/dags/way_removed/dagRuns/{run_id}/taskInstances/first"
    until(lambda: api.call("GET", first)["state"] == "running", _RUNNING_S)
    failing.began["removed"] = time.time()
    path = failing.dags / "removed_later.py"
    path.write_text(path.read_text().replace("first() >> work()", "first()"))


def _wait_for_the_run_before(failing: Failing, api: Api) -> None:
    for day in (1, 2):
        run_id = failing.trigger(api, "waits_for_ever", logical_date=f"2026-01-0{day}T00:00:00Z")
        path = f"/dags/way_waits_for_ever/dagRuns/{run_id}"
        if day == 1:
            until(lambda path=path: api.call("GET", path)["state"] == "failed", _RUNNING_S)
    failing.began["waits_for_ever"] = time.time()


def _trigger_a_paused_one(failing: Failing, api: Api) -> None:
    api.call("PATCH", "/dags/way_triggered", json={"is_paused": True})
    failing.trigger(api, "triggers")

    def runs() -> list[str]:
        return [run["dag_run_id"] for run in api.pages("/dags/way_triggered/dagRuns", "dag_runs")]

    until(runs, _RUNNING_S)
    failing.began["triggered"] = time.time()
    failing.runs["triggered"] = runs()
