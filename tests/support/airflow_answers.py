"""An Airflow API server that tells of two DAGs, ``bad`` and ``good``, as far as the watcher asks."""

from __future__ import annotations

import re
from datetime import datetime, timezone

__all__ = ["airflow_answer", "dag", "run", "task"]


def _ago(now, seconds):
    return datetime.fromtimestamp(now - seconds, timezone.utc).isoformat()


def task(name, now, state="failed"):
    return {
        "dag_id": name, "dag_run_id": "r1", "task_id": "t", "map_index": -1, "try_number": 1, "state": state,
        "hostname": "h", "duration": 3.0, "start_date": _ago(now, 40), "end_date": _ago(now, 30), "operator_name": "X",
        "pool": "default_pool", "queued_when": _ago(now, 900), "scheduled_when": _ago(now, 900),
    }  # fmt: skip


def run(name, now):
    return {
        "dag_id": name, "dag_run_id": "r2", "state": "failed", "start_date": _ago(now, 60), "end_date": _ago(now, 29),
        "duration": 31.0, "run_type": "manual", "logical_date": None, "run_after": _ago(now, 60),
    }  # fmt: skip


def dag(name):
    return {
        "dag_id": name, "is_paused": False, "has_import_errors": False, "owners": ["ann"], "tags": [],
        "relative_fileloc": f"{name}.py", "next_dagrun_run_after": None, "bundle_version": None, "last_expired": None,
        "timetable_summary": None, "max_active_runs": 16,
    }  # fmt: skip


def airflow_answer(path, states, now):  # noqa: PLR0911 - one for each path
    """The answer at ``path`` (below ``/api/v2``) about tasks and runs in ``states``; None for a 404."""
    if path == "/monitor/health":
        return {"scheduler": {"latest_scheduler_heartbeat": _ago(now, 600), "status": "unhealthy"}}
    if "/logs/" in path:
        return {"content": [{"event": "Task failed with exception", "logger": "task",
                             "error_detail": [{"exc_type": "MemoryError", "exc_value": ""}]}]}  # fmt: skip
    if re.search(r"/taskInstances$", path):
        rows = [task(name, now) for name in ("bad", "good")]
        return {"task_instances": [one for one in rows if not states or one["state"] in states]}
    if re.search(r"/dags/~/dagRuns$", path):
        return {"dag_runs": [run(name, now) for name in ("bad", "good") if "failed" in states]}
    if re.search(r"/dagRuns$", path):
        return {"dag_runs": [], "total_entries": 0}
    if path.endswith("/details"):
        return {**dag("x"), "params": {}, "dag_run_timeout": None}
    if path == "/dags":
        return {"dags": [dag(name) for name in ("bad", "good")]}
    if path == "/importErrors":
        broken = {"filename": "broken.py", "timestamp": _ago(now, 10), "stack_trace": "SyntaxError: x"}
        return {"import_errors": [{**broken, "import_error_id": 1}]}
    return {"event_logs": [], "pools": [], "total_entries": 0}
