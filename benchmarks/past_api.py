"""A stand-in for Airflow's API with a long past: as many runs as wanted, in rows of Airflow's size.

Started as ``python -m benchmarks.past_api RUNS TASKS SPAN_S``; it prints its address. The rows are made when they are
asked for, so that the server needs next to no memory.
"""

from __future__ import annotations

import math
import sys
import time
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

__all__ = ["PastApi"]

_DAGS = 500
_LASTS_S = 600.0
_FILLING = "x" * 40


class PastApi(ThreadingHTTPServer):
    """Answers for ``/dagRuns`` and ``/taskInstances`` of all DAGs, by window of ``run_after`` and page."""

    daemon_threads = True

    def __init__(self, runs: int, tasks: int, span_s: float, now: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.runs, self.tasks, self.begin = runs, tasks, now - span_s
        self.every_s = span_s / runs

    @property
    def url(self) -> str:
        """The address, without a path."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, asked: dict[str, list[str]]) -> dict[str, Any]:
        """The answer at ``path``."""
        first, last = self._bounds(asked)
        limit, offset = int(asked.get("limit", ["50"])[0]), int(asked.get("offset", ["0"])[0])
        each = 1 if path.endswith("/dagRuns") else self.tasks
        total = (last - first) * each
        places = range(first * each + offset, first * each + min(total, offset + limit))
        if each == 1 and path.endswith("/dagRuns"):
            return {"dag_runs": [self._run(at) for at in places], "total_entries": total}
        return {"task_instances": [self._task(*divmod(at, each)) for at in places], "total_entries": total}

    def _bounds(self, asked: dict[str, list[str]]) -> tuple[int, int]:
        since = (_moment(asked, "run_after_gte") - self.begin) / self.every_s
        until = (_moment(asked, "run_after_lte") - self.begin) / self.every_s
        return min(self.runs, max(0, math.ceil(since))), min(self.runs, max(0, math.floor(until) + 1))

    def _run(self, number: int) -> dict[str, Any]:
        at = self.begin + number * self.every_s
        return {
            "dag_id": f"dag_{number % _DAGS:03d}", "dag_run_id": f"scheduled__{_iso(at)}", "state": "success",
            "start_date": _iso(at), "end_date": _iso(at + _LASTS_S), "duration": _LASTS_S, "run_type": "scheduled",
            "logical_date": _iso(at), "run_after": _iso(at),
            "dag_versions": [{"id": _FILLING, "bundle_name": _FILLING}],
        }  # fmt: skip

    def _task(self, number: int, task: int) -> dict[str, Any]:
        at = self.begin + number * self.every_s
        start, end = at + task * _LASTS_S / self.tasks, at + (task + 1) * _LASTS_S / self.tasks
        return {
            "id": f"{number:08d}-{task:04d}-{_FILLING}", "task_id": f"task_{task:02d}",
            "dag_id": f"dag_{number % _DAGS:03d}",
            "dag_run_id": f"scheduled__{_iso(at)}", "map_index": -1, "logical_date": _iso(at), "run_after": _iso(at),
            "start_date": _iso(start), "end_date": _iso(end), "duration": end - start, "state": "success",
            "try_number": 1, "max_tries": 2, "task_display_name": f"task_{task:02d}", "hostname": _FILLING,
            "unixname": "airflow", "pool": "default_pool", "pool_slots": 1, "queue": "default", "priority_weight": 1,
            "operator": "PythonOperator", "operator_name": "PythonOperator", "queued_when": _iso(start),
            "scheduled_when": _iso(start), "pid": 1, "executor": None, "executor_config": "{}", "note": None,
            "rendered_map_index": None, "rendered_fields": {"op_args": [_FILLING], "op_kwargs": {"day": _FILLING}},
            "trigger": None, "triggerer_job": None,
            "dag_version": {"id": _FILLING, "version_number": 1, "dag_id": f"dag_{number % _DAGS:03d}",
                            "bundle_name": "dags-folder", "bundle_version": None, "created_at": _iso(at)},
        }  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: the second would wait for the first one's acknowledgement
    server: PastApi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        answer = (
            {"access_token": "none"}
            if parts.path == "/auth/token"
            else self.server.answer(parts.path, parse_qs(parts.query))
        )
        body = orjson.dumps(answer)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


def _moment(asked: dict[str, list[str]], name: str) -> float:
    return datetime.fromisoformat(asked[name][0]).timestamp()


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone.utc).isoformat()


def _main(runs: str, tasks: str, span_s: str) -> None:
    server = PastApi(int(runs), int(tasks), float(span_s), time.time())
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
