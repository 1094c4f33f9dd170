"""Every way to fail, made to happen on a real platform."""

from __future__ import annotations

import signal
import sqlite3
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from benchmarks.failing_late import be_late
from benchmarks.failing_people import end_as_people_do
from benchmarks.failing_platform import alerts_of, settle, until
from benchmarks.failing_ways import PARTS, WAYS
from observability.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psutil

    from benchmarks.failing_platform import Failing
    from benchmarks.failing_ways import Way
    from observability.local.api import Api

__all__ = ["try_all"]

_AT_ONCE = 6
"""So many runs go on at a time, as many as there are slots: a task that waits for one would be stuck by itself."""
_RUNNING_S = 120.0
_ENDED = {"success", "failed"}


def try_all(failing: Failing, ways: Sequence[Way] = WAYS) -> None:
    """Make ``ways`` happen, part by part, and wait until each has been told or its patience is over.

    A part that Airflow refuses is named, and its ways stand as what they are by then: the others are still tried.
    """
    tries = {
        "tasks": _tasks, "people": end_as_people_do, "files": _files, "late": be_late, "queue": _queue,
        "delivery": _delivery, "components": _components, "api": _api,
    }  # fmt: skip
    with failing.api() as api:
        until(lambda: {f"way_{way.name}" for way in WAYS if way.begins_alone} <= _dags(api), 60)
        for part in PARTS:
            if mine := [way for way in ways if way.part == part]:
                try:
                    tries[part](failing, api, mine)
                except PlatformError as error:
                    print(f"{part}: {error}", file=sys.stderr)


def _dags(api: Api) -> set[str]:
    return {one["dag_id"] for one in api.pages("/dags", "dags")}


def _tasks(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    lasting = ("stuck", "no_slots", "no_active_tasks", "unanswered")
    shut = {"name": "ways_shut", "slots": 0, "description": "nobody may run", "include_deferred": False}
    api.call("POST", "/pools", json=shut)
    alone = sorted((way for way in ways if way.begins_alone), key=lambda way: way.name not in lasting)
    for way in alone:
        until(lambda: len(_under_way(failing, api, lasting)) < _AT_ONCE, _RUNNING_S)
        failing.trigger(api, way.name)
    names = {way.name for way in ways}
    for name, deed in {"by_hand": _by_hand, "run_by_hand": _run_by_hand, "deadlock": _deadlock}.items():
        if name in names:
            failing.trigger(api, name)
            deed(failing, api)
    until(lambda: not _under_way(failing, api, lasting), _RUNNING_S)
    settle(failing, ways)


def _under_way(failing: Failing, api: Api, lasting: Sequence[str]) -> list[str]:
    """The runs that take a slot, or will."""
    left_out = {run for name in lasting for run in failing.runs.get(name, ())}
    live = api.pages("/dags/~/dagRuns", "dag_runs", {"state": ["queued", "running"]})
    return [run["dag_run_id"] for run in live if run["dag_run_id"] not in left_out]


def _by_hand(failing: Failing, api: Api) -> None:
    path = f"{_running(failing, api, 'by_hand')}/taskInstances/work"
    api.call("PATCH", path, json={"new_state": "failed"})


def _run_by_hand(failing: Failing, api: Api) -> None:
    api.call("PATCH", _running(failing, api, "run_by_hand"), json={"state": "failed"})


def _running(failing: Failing, api: Api, name: str) -> str:
    """The path of a way's run, once its task runs."""
    run = f"/dags/way_{name}/dagRuns/{failing.runs[name][0]}"
    until(lambda: api.call("GET", f"{run}/taskInstances/work")["state"] == "running", _RUNNING_S)
    failing.began[name] = time.time()
    return run


def _deadlock(failing: Failing, api: Api) -> None:
    """Clear a run that ended well, so that it cannot end again."""
    path = f"/dags/way_deadlock/dagRuns/{failing.runs['deadlock'][0]}"
    until(lambda: api.call("GET", path)["state"] == "success", _RUNNING_S)
    failing.began["deadlock"] = time.time()
    asked = {
        "dry_run": False, "only_failed": False, "task_ids": ["numbers"], "include_downstream": True,
        "dag_run_id": failing.runs["deadlock"][0],
    }  # fmt: skip
    api.call("POST", "/dags/way_deadlock/clearTaskInstances", json=asked)


def _files(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    first = failing.trigger(api, "auto_paused")
    until(lambda: {"way_import_error", "way_vanished"} <= _dags(api), _RUNNING_S)
    time.sleep(20)  # the watcher, which lists the DAGs every fifteen seconds, has seen them too
    failing.began |= {"import_error": time.time(), "vanished": time.time()}
    (failing.dags / "broken_later.py").write_text("from airflow.sdk import DAG\n\nwith DAG(\n")
    (failing.dags / "gone_later.py").unlink()
    until(lambda: api.call("GET", f"/dags/way_auto_paused/dagRuns/{first}")["state"] == "failed", 60)
    failing.began["auto_paused"] = time.time()
    failing.trigger(api, "auto_paused")
    settle(failing, ways)


def _queue(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    """Stop every worker of the executor, so that what is queued stays so."""
    workers = [one for one in failing.component("scheduler").children() if "LocalExecutor" in " ".join(one.cmdline())]
    with _held(workers):
        run_id = failing.trigger(api, "stuck_queued")
        path = f"/dags/way_stuck_queued/dagRuns/{run_id}/taskInstances/work"
        until(lambda: api.call("GET", path)["state"] == "queued", 60)
        failing.began["stuck_queued"] = time.time()
        settle(failing, ways)


def _delivery(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    """A channel that nobody answers, rules that cannot be read, and a store that lets nobody write."""
    failing.began["channel"] = time.time()
    failing.trigger(api, "no_channel")
    settle(failing, [way for way in ways if way.name in {"no_channel", "channel"}])
    rules = failing.layout.home.parent / "rules.yaml"
    kept = rules.read_text()
    failing.began["rules"] = time.time()
    rules.write_text("routes: [")
    settle(failing, [way for way in ways if way.name == "rules"])
    rules.write_text(kept)
    store = failing.layout.home / "store.db"
    failing.began["sink"] = time.time()
    with closing(sqlite3.connect(store, isolation_level=None, timeout=60)) as database:
        database.execute("BEGIN IMMEDIATE")  # as a backup or a person's shell would; readers go on
        settle(failing, [way for way in ways if way.name == "sink"])
        database.execute("ROLLBACK")


def _components(failing: Failing, api: Api, ways: Sequence[Way]) -> None:
    run_id = failing.trigger(api, "deferred")
    path = f"/dags/way_deferred/dagRuns/{run_id}/taskInstances/work"
    until(lambda: api.call("GET", path)["state"] == "deferred", 60)
    api.call("PATCH", "/dags/way_never_started", json={"is_paused": False})
    failing.began |= {way.name: time.time() for way in ways}
    with _held([failing.component(name) for name in ("triggerer", "dag-processor", "scheduler")]):
        settle(failing, ways, patience_s=130)
        time.sleep(60 - time.time() % 60 + 20)  # a run is due meanwhile, and overdue
    runs = "/dags/way_never_started/dagRuns"
    until(lambda: [run for run in api.pages(runs, "dag_runs") if run["state"] in _ENDED], _RUNNING_S)
    time.sleep(10)  # what was held back for the scheduler would come now


def _api(failing: Failing, _api: Api, ways: Sequence[Way]) -> None:
    server = failing.component("api-server")
    failing.began["api_server"] = time.time()
    with _held([server, *server.children(recursive=True)]):
        settle(failing, ways, patience_s=180)
    way = next(iter(ways))
    until(lambda: len(alerts_of(way, failing, failing.told())) > way.alerts, 15)


@contextmanager
def _held(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """Hold processes as a host does that hangs."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
