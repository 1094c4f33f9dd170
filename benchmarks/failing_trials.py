"""Every way to fail, made to happen on a real platform."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from benchmarks.failing_people import end_as_people_do
from benchmarks.failing_platform import settle, until
from benchmarks.failing_ways import WAYS

if TYPE_CHECKING:
    from benchmarks.failing_platform import Failing
    from observability.local.api import Api

__all__ = ["PARTS", "try_all"]

PARTS = ("tasks", "people", "files", "queue", "components")
"""The trials that may be run by themselves, in order."""


def try_all(failing: Failing, *, parts: tuple[str, ...] = PARTS) -> None:
    """Make every way happen, and wait until each has been told or its patience is over."""
    later = {"import_error", "vanished", "deferred", "never_started", "auto_paused", "stuck_queued"}
    with failing.api() as api:
        until(lambda: len(_dags(api)) > 31, 60)  # noqa: PLR2004 - all files have been parsed
        failing.trigger(api, "auto_paused")
        if "tasks" in parts:
            for way in WAYS:
                if f"way_{way.name}" in _dags(api) and way.name not in later and not way.ends:
                    failing.trigger(api, way.name)
            _by_hand(failing, api)
            _deadlock(failing, api)
            settle(failing, [way for way in WAYS if not way.component and way.name not in later])
        if "people" in parts:
            end_as_people_do(failing, api)
        if "files" in parts:
            _files(failing)
            _second_run_of(failing, api, "auto_paused")
            settle(failing, [way for way in WAYS if way.name in {"import_error", "vanished", "auto_paused"}])
        if "queue" in parts:
            _queue(failing, api)
        if "components" in parts:
            _components(failing, api)


def _dags(api: Api) -> set[str]:
    return {one["dag_id"] for one in api.pages("/dags", "dags")}


def _files(failing: Failing) -> None:
    (failing.dags / "broken_later.py").write_text("from airflow.sdk import DAG\n\nwith DAG(\n")
    (failing.dags / "gone_later.py").unlink()
    failing.began |= {"import_error": time.time(), "vanished": time.time()}


def _second_run_of(failing: Failing, api: Api, name: str) -> None:
    first = failing.runs[name][0]
    until(lambda: api.call("GET", f"/dags/way_{name}/dagRuns/{first}")["state"] == "failed", 60)
    failing.began[name] = time.time()
    failing.trigger(api, name)


def _by_hand(failing: Failing, api: Api) -> None:
    run_id = failing.runs["by_hand"][0]
    path = f"/dags/way_by_hand/dagRuns/{run_id}/taskInstances/work"
    until(lambda: api.call("GET", path)["state"] == "running", 120)
    failing.began["by_hand"] = time.time()
    api.call("PATCH", path, json={"new_state": "failed"})


def _deadlock(failing: Failing, api: Api) -> None:
    """Clear a run that ended well, so that it cannot end again."""
    path = f"/dags/way_deadlock/dagRuns/{failing.runs['deadlock'][0]}"
    until(lambda: api.call("GET", path)["state"] == "success", 120)
    failing.began["deadlock"] = time.time()
    asked = {
        "dry_run": False, "only_failed": False, "task_ids": ["numbers"], "include_downstream": True,
        "dag_run_id": failing.runs["deadlock"][0],
    }  # fmt: skip
    api.call("POST", "/dags/way_deadlock/clearTaskInstances", json=asked)


def _queue(failing: Failing, api: Api) -> None:
    """Stop every worker of the executor, so that what is queued stays so."""
    workers = [one for one in failing.component("scheduler").children() if "LocalExecutor" in " ".join(one.cmdline())]
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        run_id = failing.trigger(api, "stuck_queued")
        path = f"/dags/way_stuck_queued/dagRuns/{run_id}/taskInstances/work"
        until(lambda: api.call("GET", path)["state"] == "queued", 60)
        failing.began["stuck_queued"] = time.time()
        settle(failing, [way for way in WAYS if way.name == "stuck_queued"])
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)


def _components(failing: Failing, api: Api) -> None:
    run_id = failing.trigger(api, "deferred")
    path = f"/dags/way_deferred/dagRuns/{run_id}/taskInstances/work"
    until(lambda: api.call("GET", path)["state"] == "deferred", 60)
    api.call("PATCH", "/dags/way_never_started", json={"is_paused": False})
    stopped = [failing.component(name) for name in ("triggerer", "dag-processor", "scheduler")]
    failing.began |= {name: time.time() for name in ("deferred", "dag_processor", "scheduler", "never_started")}
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        wanted = [way for way in WAYS if way.component or way.name == "never_started"]
        settle(failing, wanted, patience_s=130)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)
