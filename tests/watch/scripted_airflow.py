"""An API server of Airflow that answers from a script, and a reconciler that asks it."""

from __future__ import annotations

import re

import httpx

from observability.watch.rules.config import Thresholds
from observability.watch.sources.api import AirflowApi
from observability.watch.sources.reconcile import Reconciler

NOW = 1_767_960_000.0  # 2026-01-09T12:00:00Z
TASK = {
    "dag_id": "load", "dag_run_id": "r1", "task_id": "t", "map_index": -1, "try_number": 1, "state": "failed",
    "hostname": "h",
    "duration": 3.0, "start_date": "2026-01-09T11:59:00Z", "end_date": "2026-01-09T11:59:30Z", "operator_name": "X",
    "pool": "default_pool",
    "queued_when": "2026-01-09T11:50:00Z", "scheduled_when": "2026-01-09T11:50:00Z",
}  # fmt: skip
RUN = {
    "dag_id": "load", "dag_run_id": "r1", "state": "failed", "start_date": "2026-01-09T11:58:00Z", "duration": 60.0,
    "end_date": "2026-01-09T11:59:31Z", "run_type": "manual", "logical_date": None,
}  # fmt: skip
DAG = {
    "dag_id": "load", "is_paused": False, "has_import_errors": False, "owners": ["ann"], "tags": [{"name": "team"}],
    "relative_fileloc": "load.py", "next_dagrun_run_after": None,
    "bundle_version": None, "last_expired": None, "timetable_summary": None,
}  # fmt: skip
BEATS = {"scheduler": "2026-01-09T12:01:58Z", "triggerer": "2026-01-09T12:01:58Z", "dag_processor": None}


class Airflow:
    """An API server: lists by path, and how often each request fails first."""

    def __init__(self):
        self.tasks, self.runs, self.dags, self.events, self.errors = [], [], [DAG], [], []
        self.unhealthy: list[str] = []
        self.beats = dict(BEATS)
        self.params = {}
        self.assets, self.updates, self.forbidden = [], [], ""
        self.failing = 0
        self.has_task = True
        self.active: int | None = None
        self.words: object = []
        self.pools, self.questions = [], []
        self.deleted = False
        self.date = ""
        self.asked = []

    def answer(self, request):
        path = request.url.path.removeprefix("/api/v2")
        self.asked.append((path, dict(request.url.params)))
        if path == "/auth/token":
            return httpx.Response(201, json={"access_token": "secret-token"})
        if self.failing:
            self.failing -= 1
            return httpx.Response(500, text="database is locked")
        if request.headers.get("Authorization") != "Bearer secret-token":
            return httpx.Response(401)
        if self.forbidden and path.startswith(self.forbidden):
            return httpx.Response(403)
        found = self.found(path, request.url.params)
        headers = {"Date": self.date} if self.date else {}
        return httpx.Response(404 if found is None else 200, json=found, headers=headers)

    def found(self, path, params):  # noqa: PLR0911 - one for each path
        states = params.get_list("state")
        if path.endswith("/details"):
            return {**DAG, "dag_run_timeout": "PT30S", "params": self.params}
        if re.search(r"/taskInstances$", path):
            return {"task_instances": [one for one in self.tasks if not states or one["state"] in states]}
        if "/logs/" in path:
            return {"content": self.words}
        if re.search(r"/taskInstances/t(/\d+)?$", path):
            return self.tasks[0] if self.tasks else None
        if re.search(r"/tasks/t$", path):
            return {"task_id": "t"} if self.has_task else None
        if re.fullmatch(r"/dags/[^/]+", path):
            return None if self.deleted else {**DAG, "is_stale": True}
        if path.endswith("/dagRuns"):
            found = {"dag_runs": [one for one in self.runs if one["state"] in states]}
            return found if self.active is None else {**found, "total_entries": self.active}
        lists = {
            "/dags": ("dags", self.dags),
            "/pools": ("pools", self.pools),
            "/dags/~/dagRuns/~/hitlDetails": ("hitl_details", self.questions),
            "/importErrors": ("import_errors", self.errors),
            "/assets": ("assets", self.assets),
            "/assets/events": ("asset_events", self.updates),
        }
        if path == "/eventLogs":
            only = {name: params[name] for name in ("event", "dag_id") if name in params}
            return {"event_logs": [one for one in self.events if only.items() <= one.items()]}
        if path == "/monitor/health":
            said = {name: {f"latest_{name}_heartbeat": beat} for name, beat in self.beats.items()}
            return said | {name: {**said[name], "status": "unhealthy"} for name in self.unhealthy}
        return {lists[path][0]: lists[path][1]}


def reconciler_of(airflow, folder, monkeypatch):
    """A reconciler that asks ``airflow``; task logs lie in ``folder``."""
    monkeypatch.setenv("CONTRAIL_API_USERNAME", "watcher")
    monkeypatch.setenv("CONTRAIL_API_PASSWORD", "hunter2")
    api = AirflowApi("http://airflow")
    api._http = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(airflow.answer))
    return Reconciler(api, folder, Thresholds, "test")


def told(facts):
    return [(fact.kind, fact.status, fact.cause) for fact in facts]
