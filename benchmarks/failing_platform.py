"""A real platform whose DAGs fail in every way there is, and what was said about each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from observability.cli.platform.api import Api
from observability.cli.platform.keys import password
from observability.cli.platform.layout import Layout
from observability.cli.platform.ports import any_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WAYS", "Failing", "Outcome", "Way", "ended_by", "failing_platform", "judge", "try_all"]

_CONTRAIL = (sys.executable, "-m", "observability.cli")
_DAGS = Path(__file__).parent / "failing_dags"
_RULES = """\
timing: {storm_messages: 500}
thresholds: {queued: 25s, overdue: 15s, component_silent: 20s}
channels: {file: {type: file, rate_per_minute: 10000}}
receivers: {everybody: {channels: [file]}}
routes: [{receiver: everybody}]
"""


@dataclass(frozen=True)
class Way:
    """A way to fail: what is expected of it. ``alerts`` is how many messages, ``plain`` what callbacks can see.

    ``ends`` is what the resolution says of who ended it, with ``{run}`` for the run.
    """

    name: str
    causes: tuple[str, ...] = ("app",)
    alerts: int = 1
    task: str | None = "work"
    component: str = ""
    runs: int = 1
    patience_s: float = 90.0
    ends: str = ""


WAYS = (
    Way("exception"),
    Way("retry_then_success", alerts=0),
    Way("retry_then_failure"),
    Way("fail_exception"),
    Way("execution_timeout", ("timeout",)),
    Way("sigkill", ("killed",)),
    Way("sigkill_retried", alerts=0),
    Way("oom", ("oom",)),
    Way("segfault", ("killed",)),
    Way("runner_fails", ("killed",)),
    Way("os_exit", ("killed",)),
    Way("system_exit"),
    Way("command_killed", ("killed",)),
    Way("template"),
    Way("supervisor_killed", ("lost_heartbeat",), patience_s=120),
    Way("stuck", ("stuck_queued",)),
    Way("run_timeout", ("timeout",), task=None),
    Way("deadlock", task=None),
    Way("by_hand", ("cancelled",)),
    Way("upstream", task="first"),
    Way("mapped"),
    Way("import_error", ("import",), task=None),
    Way("vanished", ("import",), task=None),
    Way("auto_paused", ("platform",), task=None, runs=2),
    Way("sensor_timeout", ("timeout",)),
    Way("callback_raises"),
    Way("trigger_timeout", ("timeout",)),
    Way("trigger_fails", ("dependency",)),
    Way("set_success", ends="work was set to success by admin"),
    Way("set_skipped", ends="work was set to skipped by admin"),
    Way("run_set_success", ends="run {run} was set to success by admin"),
    Way("cleared", ends="run {run} succeeded after work was cleared by admin"),
    Way("run_deleted", ends="run {run} was deleted by admin"),
    Way("dag_deleted", ends="the DAG was deleted by admin"),
    Way("fine", alerts=0),
    Way("stuck_queued", ("stuck_queued",)),
    Way("deferred", ("platform",), component="triggerer"),
    Way("dag_processor", ("platform",), task=None, component="dag-processor"),
    Way("scheduler", ("platform",), task=None, component="scheduler"),
    Way("never_started", ("platform",), alerts=0, task=None),  # the scheduler's incident explains it
)
"""Every way, in the order of the table in docs/alerts.md."""


@dataclass
class Failing:
    """A running platform, and when each way was set going."""

    environment: dict[str, str]
    layout: Layout
    url: str
    dags: Path
    began: dict[str, float] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)

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
        """What stands in the file of the demo's channel: the same without starting a process."""
        path = self.layout.home / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def api(self) -> Api:
        """A session with Airflow."""
        return Api(self.url, password(self.layout))

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
        "CONTRAIL_WATCH__ROUTES": str(home / "rules.yaml"),
        "CONTRAIL_WATCH__RECONCILE_S": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "PYTHONPATH": str(dags),
        "PLAIN_CALLBACKS": str(home / "plain.jsonl"),
        "WAYS_MAPPED": str(mapped),
        **({"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database} if database else {}),
    }
    layout = Layout(home / "contrail")
    subprocess.run([*_CONTRAIL, "up", "--detach"], env=environment, check=True, timeout=200, capture_output=True)
    try:
        yield Failing(environment, layout, f"http://127.0.0.1:{port}", dags)
    finally:
        subprocess.run([*_CONTRAIL, "down"], env=environment, check=False, timeout=60, capture_output=True)


def try_all(failing: Failing, *, parts: tuple[str, ...] = ("tasks", "files", "queue", "components")) -> None:
    """Make every way happen, and wait until each has been told or its patience is over."""
    later = {"import_error", "vanished", "deferred", "never_started", "auto_paused", "stuck_queued"}
    with failing.api() as api:
        _until(lambda: len(_dags(api)) > 31, 60)  # noqa: PLR2004 - all files have been parsed
        failing.trigger(api, "auto_paused")
        if "tasks" in parts:
            for way in WAYS:
                if f"way_{way.name}" in _dags(api) and way.name not in later and not way.ends:
                    failing.trigger(api, way.name)
            _by_hand(failing, api)
            _deadlock(failing, api)
            _settle(failing, [way for way in WAYS if not way.component and way.name not in later])
        if "people" in parts:
            _people(failing, api)
        if "files" in parts:
            _files(failing)
            _second_run_of(failing, api, "auto_paused")
            _settle(failing, [way for way in WAYS if way.name in {"import_error", "vanished", "auto_paused"}])
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
    _until(lambda: api.call("GET", f"/dags/way_{name}/dagRuns/{first}")["state"] == "failed", 60)
    failing.began[name] = time.time()
    failing.trigger(api, name)


def _by_hand(failing: Failing, api: Api) -> None:
    run_id = failing.runs["by_hand"][0]
    path = f"/dags/way_by_hand/dagRuns/{run_id}/taskInstances/work"
    _until(lambda: api.call("GET", path)["state"] == "running", 120)
    failing.began["by_hand"] = time.time()
    api.call("PATCH", path, json={"new_state": "failed"})


def _people(failing: Failing, api: Api) -> None:
    """End failures as people do, each after it was told."""
    ways = [way for way in WAYS if way.ends]
    for way in ways:
        failing.trigger(api, way.name)
    _settle(failing, ways)
    for way in ways:
        run_id = failing.runs[way.name][0]
        run = f"/dags/way_{way.name}/dagRuns/{run_id}"
        _DEEDS[way.name](api, way.name, run, run_id)
    _until(lambda: all(ended_by(way, failing) for way in ways), 90)


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


def _deadlock(failing: Failing, api: Api) -> None:
    """Clear a run that ended well, so that it cannot end again."""
    path = f"/dags/way_deadlock/dagRuns/{failing.runs['deadlock'][0]}"
    _until(lambda: api.call("GET", path)["state"] == "success", 120)
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
        _until(lambda: api.call("GET", path)["state"] == "queued", 60)
        failing.began["stuck_queued"] = time.time()
        _settle(failing, [way for way in WAYS if way.name == "stuck_queued"])
    finally:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)


def _components(failing: Failing, api: Api) -> None:
    run_id = failing.trigger(api, "deferred")
    path = f"/dags/way_deferred/dagRuns/{run_id}/taskInstances/work"
    _until(lambda: api.call("GET", path)["state"] == "deferred", 60)
    api.call("PATCH", "/dags/way_never_started", json={"is_paused": False})
    stopped = [failing.component(name) for name in ("triggerer", "dag-processor", "scheduler")]
    failing.began |= {name: time.time() for name in ("deferred", "dag_processor", "scheduler", "never_started")}
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    try:
        wanted = [way for way in WAYS if way.component or way.name == "never_started"]
        _settle(failing, wanted, patience_s=130)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)


def alerts_of(way: Way, failing: Failing, sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages that told of this way: of its last run, or of its component."""
    opened = [one for one in sent if one["kind"] in {"opened", "reminder", "escalated", "digest"}]
    if way.component:
        return [one for one in opened if one["incident_key"] == f"component:{way.component}"]
    mine = [one for one in opened if one["dag_id"] == f"way_{way.name}"]
    if way.name == "import_error":
        return [one for one in opened if one["incident_key"].endswith("broken_later.py")]
    if way.name == "auto_paused":
        return [one for one in mine if one["run_id"] is None]
    last = failing.runs.get(way.name, [None])[-1]
    return [one for one in mine if one["run_id"] == last] if last else mine


def _settle(failing: Failing, ways: list[Way], patience_s: float | None = None) -> None:
    """Wait until each of ``ways`` has been told, or its patience is over."""
    begun = time.time()

    def told() -> bool:
        sent = failing.told()
        left = [way for way in ways if len(alerts_of(way, failing, sent)) < way.alerts]
        return not [w for w in left if time.time() < begun + (patience_s or w.patience_s)]

    _until(told, 150, every_s=0.5)
    time.sleep(3)  # a second message would come now


def _until(holds: Callable[[], Any], within_s: float, every_s: float = 0.3) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return
        time.sleep(every_s)


def plain_notes(failing: Failing) -> list[dict[str, Any]]:
    """What the plain callbacks told."""
    path = Path(failing.environment["PLAIN_CALLBACKS"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@dataclass(frozen=True)
class Outcome:
    """What became of one way: the messages, and how many plain callbacks were called for it."""

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
        """Whether each message named the right cause and the right task."""
        task = self.way.task
        return all(
            one["cause"] in self.way.causes and (self.way.component or one["task_id"] == task) for one in self.alerts
        )

    @property
    def seconds(self) -> float | None:
        """From the moment it was set going to its message; includes Airflow's own time."""
        if not self.alerts or self.began is None:
            return None
        moment = datetime.fromisoformat(self.alerts[0]["time"].replace("Z", "+00:00")).timestamp()
        return max(0.0, moment - self.began)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "way": self.way.name, "alerts": len(self.alerts), "expected": self.way.alerts, "causes": self.causes,
            "seconds": None if self.seconds is None else round(self.seconds, 1), "plain_callbacks": self.plain,
            "messages": [one["summary"] for one in self.alerts],
        }  # fmt: skip


def judge(failing: Failing) -> list[Outcome]:
    """What became of each way."""
    sent, notes = failing.sent(), plain_notes(failing)
    found = []
    for way in WAYS:
        last = (failing.runs.get(way.name) or [None])[-1]
        plain = [one for one in notes if one["dag_id"] == f"way_{way.name}" and one["run_id"] == last]
        found.append(Outcome(way, alerts_of(way, failing, sent), len(plain), failing.began.get(way.name)))
    return found
