"""The services of the drills' watcher: an Airflow API, the index that Kibana's rules write to, and a chat's webhook.

The rows are recorded from a real Airflow (``recorded/airflow-api.json``); what differs from the record is what a drill
is about: a state, a name, a time. ``act`` says how far the play is: 0 all is well, 1 all is wrong, 2 it is over.
"""

from __future__ import annotations

import json
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from observability.dashboards.kibana.rules import rules
from observability.dashboards.names import Names

RECORDED = json.loads((Path(__file__).parent / "recorded" / "airflow-api.json").read_text("utf-8"))
ALERT_INDEX = "contrail-kibana-alerts"
WELL, WRONG, OVER = 0, 1, 2


def ago(seconds):
    """A moment as Airflow writes it."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def task(dag, state, run="r1", task_id="load", **more):
    """A task instance as the API lists it."""
    about = {"dag_id": dag, "dag_run_id": run, "task_id": task_id, "state": state, "try_number": 1, "map_index": -1}
    times = {"start_date": ago(60), "end_date": None, "queued_when": ago(600), "scheduled_when": ago(610)}
    return {**RECORDED["task_instance"], **about, **times, **more}


def run(dag, state, began_s, **more):
    """A run as the API lists it."""
    about = {"dag_id": dag, "dag_run_id": "r1", "state": state, "run_after": ago(began_s), "logical_date": None}
    ended = None if state == "running" else ago(0)
    return {**RECORDED["dag_run"], **about, "start_date": ago(began_s), "end_date": ended, **more}


class Services:
    """One server for all of them, on a port of its own; use it in a ``with``."""

    def __init__(self):
        self.act = WELL
        self.looks = 0
        self._since = ago(0)
        handler = type("Handler", (_Handler,), {"services": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def turn(self, act):
        """Go on to the next act."""
        self.act, self.looks, self._since = act, 0, ago(0)

    # Airflow

    def dags(self):
        names = ["drills", "drill_gone", "drill_paused", "drill_overdue", "drill_waits", "drill_late", "drill_near"]
        if self.act == WRONG:
            names.remove("drill_gone")
        due = {"drill_overdue": self._since} if self.act == WRONG else {}
        paused = "drill_paused" if self.act == WRONG else ""
        return [
            {
                **RECORDED["dag"],
                "dag_id": name,
                "relative_fileloc": f"{name}.py",
                "is_paused": name == paused,
                "next_dagrun_run_after": due.get(name),
            }
            for name in names
        ]

    def runs(self):
        active = "running" if self.act == WRONG else "success"
        waiting = [run("drill_waits", "running", 600)] if self.act == WRONG else []
        late = [] if self.act == WELL else [run("drill_late", active, 3600), run("drill_near", active, 3300)]
        return waiting + late

    def tasks(self):
        if self.act != WRONG:
            return []
        stuck = task("drills", "queued", task_id="stuck", start_date=None)
        removed = task("drills", "removed", task_id="taken_out")
        busy = [task(dag, "running", queued_when=None, scheduled_when=None) for dag in ("drill_late", "drill_near")]
        return [stuck, removed, *busy, task("drill_waits", None, start_date=None)]

    def health(self):
        beat = ago(200 if self.act == WRONG else 1)
        told = json.loads(json.dumps(RECORDED["health"]))
        for name in ("scheduler", "triggerer", "dag_processor"):
            told[name] |= {f"latest_{name}_heartbeat": beat, "status": "unhealthy" if self.act == WRONG else "healthy"}
        return told

    def answer(self, path, asked):  # noqa: PLR0911 - one for each path
        parts = path.strip("/").split("/")
        states = asked.get("state", [])
        if path == "/monitor/health":
            return 200, self.health()
        if path == "/dags":
            self.looks += 1
            return 200, {"dags": self.dags(), "total_entries": len(self.dags())}
        if parts[-1] == "details":
            return 200, {**RECORDED["dag"], "dag_id": parts[1], "params": {}, "dag_run_timeout": None}
        if parts[-1] == "dagRuns":
            found = [one for one in self.runs() if one["state"] in states or not states]
            found = [one for one in found if parts[1] in {"~", one["dag_id"]}]
            return 200, {"dag_runs": found, "total_entries": len(found)}
        if parts[-1] == "taskInstances":
            found = [one for one in self.tasks() if one["state"] in states or not states]
            found = [one for one in found if parts[1] in {"~", one["dag_id"]}]
            return 200, {"task_instances": found, "total_entries": len(found)}
        if parts[-2:-1] == ["dags"]:
            return 200, {**RECORDED["dag"], "dag_id": parts[-1]}
        if parts[-2:-1] == ["dagRuns"]:  # a run that is not listed has not been deleted
            known = [one for one in self.runs() if one["dag_id"] == parts[1]]
            return 200, (known or [run(parts[1], "success", 60, dag_run_id=parts[-1])])[0]
        if path == "/importErrors":
            broken = {**RECORDED["import_error"], "filename": "drill_broken.py", "timestamp": self._since}
            return 200, {"import_errors": [broken] if self.act == WRONG else []}
        if path == "/eventLogs":
            paused = {**RECORDED["event_log"], "event": "paused", "dag_id": "drill_paused", "when": self._since}
            wanted = self.act == WRONG and ("paused" in asked.get("event", []) or "excluded_events" in asked)
            return 200, {"event_logs": [{**paused, "event_log_id": 7}] if wanted else []}
        lists = {"pools": "pools", "assets": "assets", "events": "asset_events"}
        return (200, {lists[parts[-1]]: []}) if parts[-1] in lists else (404, {"detail": "not found"})

    # Kibana

    def alerts(self, since):
        """The document that the action of Kibana's rule has written, as its own template has it."""
        body = next(one for one in rules(Names()).values() if "relay-lag" in one["tags"])
        template = next(one for one in body["actions"] if "documents" in one["params"])["params"]["documents"][0]
        group = {WRONG: "query matched", OVER: "recovered"}.get(self.act)
        filled = {"alert": "elasticsearch", "group": group, "value": "6.5 min", "kibana_rule_id": "r"}
        alert = {**template, **filled, "@timestamp": self._since[:-4] + "Z"}
        return [{"_id": group, "_source": alert}] if group and alert["@timestamp"] >= since else []


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, _request, _address):
        pass  # a client that is stopped lets go of its connection


class _Handler(BaseHTTPRequestHandler):
    services: Services
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body would wait 40 ms for the acknowledgement of its headers

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body):
        url = urlsplit(self.path)
        if url.path.startswith("/api/v2"):
            self._send(*self.services.answer(url.path.removeprefix("/api/v2"), parse_qs(url.query)))
        elif url.path == f"/{ALERT_INDEX}/_search":
            since = json.loads(body)["query"]["range"]["@timestamp"]["gte"]
            self._send(200, {"hits": {"hits": self.services.alerts(since)}})
        elif url.path == "/chat":
            self._send(503 if self.services.act == WRONG else 200, {})
        else:
            self._send(404, {})

    def _send(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass
