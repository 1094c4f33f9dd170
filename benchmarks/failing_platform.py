"""A real platform whose DAGs fail, and what was said about each."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from benchmarks.failing_ways import WAYS
from observability.local.api import Api
from observability.local.keys import password
from observability.local.layout import Layout
from observability.local.ports import any_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.failing_ways import Way

__all__ = ["Failing", "Outcome", "alerts_of", "failing_platform", "judge", "settle", "slowness", "unexplained", "until"]

_OWN = ("component:", "delivery:", "overdue:", "rules:", "sink:")
"""Beginnings of the keys of incidents that are about no DAG of a way."""
_CONTRAIL = (sys.executable, "-m", "observability.cli")
_DAGS = Path(__file__).parent / "failing_dags"
_SILENT_S = 20
_SLOWEST = 3.0
_RULES = f"""\
timing: {{storm_messages: 500}}
thresholds: {{queued: 25s, unanswered: 15s, overdue: 15s, component_silent: {_SILENT_S}s}}
channels:
  file: {{type: file, rate_per_minute: 10000}}
  nobody: {{type: webhook, url: "env:NOBODY", allow: [127.0.0.1]}}
receivers: {{everybody: {{channels: [file]}}, nobody: {{channels: [nobody], fallback: file}}}}
routes: [{{match: {{dag: way_no_channel}}, receiver: nobody}}, {{receiver: everybody}}]
deadlines:
  - {{name: late_run, dag: way_late_run, run_finishes_within: 6s, warn: 1}}
  - {{name: few_rows, dag: way_few_rows, step: load, rows_at_least: 1000}}
  - {{name: stale, asset: "ways://stale", fresh_within: 30s, warn: 1}}
"""


@dataclass
class Failing:
    """A running platform, and when each way was set going."""

    environment: dict[str, str]
    layout: Layout
    url: str
    dags: Path
    began: dict[str, float] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    silent_s: dict[str, float] = field(default_factory=dict)
    """The oldest heartbeat of each component that Airflow's own health was seen to have; its age in seconds."""

    def contrail(self, *arguments: str, timeout_s: float = 60) -> str:
        """The output of a command."""
        done = subprocess.run(
            [*_CONTRAIL, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=True,
        )
        return done.stdout

    def sent(self) -> list[dict[str, Any]]:
        """Every notification so far."""
        found: list[dict[str, Any]] = json.loads(self.contrail("alerts", "sent", "--since", "1h", "--json"))
        return found

    def told(self) -> list[dict[str, Any]]:
        """The lines in the file of the demo's channel: the same without starting a process."""
        path = self.layout.home / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def api(self) -> Api:
        """A session with Airflow."""
        return Api(self.url, password(self.layout))

    def look_at_health(self, over: threading.Event) -> None:
        """Note how old heartbeats become, until ``over``: on a busy machine a component may really be silent."""
        while not over.wait(2):
            with suppress(httpx.HTTPError, ValueError):
                for key, said in httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json().items():
                    if beat := said.get(f"latest_{key}_heartbeat"):
                        name, age = key.replace("_", "-"), time.time() - datetime.fromisoformat(beat).timestamp()
                        self.silent_s[name] = max(age, self.silent_s.get(name, 0.0))

    def component(self, name: str) -> psutil.Process:
        """The process of a component."""
        return psutil.Process(json.loads(self.layout.state.read_text())["components"][name]["pid"])

    def trigger(self, api: Api, name: str, **more: Any) -> str:
        """Start a run of a way."""
        self.began.setdefault(name, time.time())
        body = {"logical_date": None, **more}
        run_id = str(api.call("POST", f"/dags/way_{name}/dagRuns", json=body)["dag_run_id"])
        self.runs.setdefault(name, []).append(run_id)
        return run_id


@contextmanager
def failing_platform(home: Path, *, mapped: int = 40, parallelism: int = 6, database: str = "") -> Iterator[Failing]:
    """Start a platform with these DAGs below ``home``, and end it; its Airflow on ``database``, else on SQLite."""
    port, statsd = any_port(socket.SOCK_STREAM), str(any_port(socket.SOCK_DGRAM))
    dags = home / "dags"
    shutil.copytree(_DAGS, dags, ignore=shutil.ignore_patterns("__pycache__"))
    (home / "rules.yaml").write_text(_RULES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
    environment = {
        **kept,
        "CONTRAIL_HOME": str(home / "contrail"),
        "CONTRAIL_AIRFLOW__PORT": str(port),
        "CONTRAIL_AIRFLOW__DAGS_FOLDER": str(dags),
        "CONTRAIL_AIRFLOW__PARALLELISM": str(parallelism),
        "CONTRAIL_RELAY__STATSD_PORT": statsd,
        "CONTRAIL_STATSD__PORT": statsd,
        "CONTRAIL_WATCH__RULES_FILE": str(home / "rules.yaml"),
        "CONTRAIL_WATCH__RECONCILE_S": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "PYTHONPATH": str(dags),
        "PLAIN_CALLBACKS": str(home / "plain.jsonl"),
        "WAYS_MAPPED": str(mapped),
        "NOBODY": "http://127.0.0.1:1/",
        **({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database} if database else {}),
    }
    layout = Layout(home / "contrail")
    over = threading.Event()
    try:
        subprocess.run([*_CONTRAIL, "up", "--detach"], env=environment, check=True, timeout=600, capture_output=True)
        failing = Failing(environment, layout, f"http://127.0.0.1:{port}", dags)
        threading.Thread(target=failing.look_at_health, args=(over,), daemon=True).start()
        yield failing
    finally:
        over.set()
        subprocess.run([*_CONTRAIL, "down"], env=environment, check=False, timeout=60, capture_output=True)


def alerts_of(way: Way, failing: Failing, sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages that told of this way: whatever was said of its DAG, but of earlier runs, and of its incident."""
    opened = [one for one in sent if is_new(one) and not _is_given_up(one)]
    began = failing.began.get(way.name, 0.0) - 1
    if way.incident.startswith(_OWN):
        return [one for one in opened if way.incident in one["incident_key"] and _moment(one) >= began]
    earlier = failing.runs.get(way.name, [])[:-1]
    mine = [one for one in opened if one["dag_id"] == f"way_{way.name}" and one["run_id"] not in earlier]
    mine = [one for one in mine if not one["incident_key"].startswith("component:")]
    by_key = [one for one in opened if way.incident and way.incident in one["incident_key"] and one not in mine]
    return mine + by_key


def unexplained(failing: Failing, sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages about nothing that was made to happen, but silences that Airflow's own health had too."""
    claimed = [one for way in WAYS for one in alerts_of(way, failing, sent)]
    left = [one for one in sent if is_new(one) and not _is_given_up(one) and one not in claimed]
    runs = [run for of_way in failing.runs.values() for run in of_way]
    return [
        one
        for one in left
        if one["run_id"] not in runs
        and failing.silent_s.get(one["incident_key"].removeprefix("component:"), 0.0) < _SILENT_S
    ]


def is_new(one: dict[str, Any]) -> bool:
    """True for a message that disturbs somebody."""
    return one["kind"] in {"opened", "reminder", "escalated", "digest"}


def _is_given_up(one: dict[str, Any]) -> bool:
    """True for a row of a channel that did not take it: its fallback has another."""
    return str(one.get("channel")) == "nobody"


def _moment(one: dict[str, Any]) -> float:
    return datetime.fromisoformat(one["time"].replace("Z", "+00:00")).timestamp()


def settle(failing: Failing, ways: list[Way], patience_s: float | None = None) -> None:
    """Wait until each of ``ways`` has been told, or its patience is over."""
    begun = time.time()

    def told() -> bool:
        sent = failing.told()
        left = [way for way in ways if len(alerts_of(way, failing, sent)) < way.alerts]
        return not [w for w in left if time.time() < begun + slowness() * (patience_s or w.patience_s)]

    until(told, 150, every_s=0.5)
    time.sleep(3)  # a second message would come now


def slowness() -> float:
    """The factor by which to wait longer for what Airflow does than on a quiet machine, by the load of this one."""
    return min(_SLOWEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2))


def until(holds: Callable[[], Any], within_s: float, every_s: float = 0.3) -> None:
    """Ask until ``holds()``, for so long at most; longer on a busy machine."""
    deadline = time.monotonic() + slowness() * within_s
    while not holds():
        if time.monotonic() > deadline:
            return
        time.sleep(every_s)


def plain_notes(failing: Failing) -> list[dict[str, Any]]:
    """The notifications of the plain callbacks."""
    path = Path(failing.environment["PLAIN_CALLBACKS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True)
class Outcome:
    """The result of one way to fail: the messages, and how many plain callbacks were called for it."""

    way: Way
    alerts: list[dict[str, Any]]
    plain: int
    began: float | None

    @property
    def causes(self) -> list[str]:
        """The causes that were told."""
        return [str(one["cause"]) for one in self.alerts]

    @property
    def cause_is_right(self) -> bool:
        """True if each message named the right cause and the right task."""
        task = self.way.task
        return all(
            one["cause"] in self.way.causes and (self.way.incident or one["task_id"] == task) for one in self.alerts
        )

    @property
    def seconds(self) -> float | None:
        """From the moment it was set going to its message; includes Airflow's own time."""
        if not self.alerts or self.began is None:
            return None
        return max(0.0, _moment(self.alerts[0]) - self.began)

    @property
    def is_good(self) -> bool:
        """True if it was told as often as it should be, with the right cause."""
        return len(self.alerts) == self.way.alerts and self.cause_is_right

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "way": self.way.name, "alerts": len(self.alerts), "expected": self.way.alerts, "causes": self.causes,
            "seconds": None if self.seconds is None else round(self.seconds, 1), "plain_callbacks": self.plain,
            "messages": [one["summary"] for one in self.alerts],
            "cause is right": self.cause_is_right, "good": self.is_good,
        }  # fmt: skip


def judge(failing: Failing, ways: Sequence[Way] = WAYS) -> list[Outcome]:
    """The results of each way to fail."""
    sent, notes = failing.sent(), plain_notes(failing)
    found = []
    for way in ways:
        last = (failing.runs.get(way.name) or [None])[-1]
        plain = [one for one in notes if one["dag_id"] == f"way_{way.name}" and one["run_id"] == last]
        found.append(Outcome(way, alerts_of(way, failing, sent), len(plain), failing.began.get(way.name)))
    return found
