"""Every kind of finding: how it is made to happen on the hosts, and the event that says it everywhere."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from benchmarks.everywhere_hosts import until
from observability.watch.ledger.database import Ledger, read_cursor
from observability.watch.rules.deadline import CLOCK_CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.everywhere_hosts import Hosts

__all__ = ["CONTROLS", "FINDINGS", "Finding", "rules", "start_run"]

CONTROLS = ("late_control", "way_fine", "way_retry_then_success")
"""DAGs of which nothing may be said anywhere."""
_BROKEN = "from airflow.sdk import DAG\n\nwith DAG(\n"


@dataclass(frozen=True)
class Finding:
    """A kind of finding. ``where`` is what its events have beside the action; ``words`` stand in its message."""

    name: str
    group: str
    action: str
    where: dict[str, str]
    begin: Callable[[Hosts], None]
    within_s: float = 90.0
    words: tuple[str, ...] = ()
    told: bool = True
    end: Callable[[Hosts], None] | None = None
    causes: tuple[str, ...] = field(default=())

    @property
    def dag_id(self) -> str:
        """The DAG that it is about, "" where it is about none."""
        return self.where.get("airflow.dag_id", "")


def rules() -> str:
    """The watcher's rules: short thresholds, a deadline of each kind, and a channel that nobody answers."""
    deadlines = [
        {"name": "run", "dag": "late_run", "run_finishes_within": "6s", "warn": 0.5},
        {"name": "task", "dag": "late_task", "task": "work", "task_finishes_within": "6s", "warn": 0.5},
        {"name": "start", "dag": "late_start", "starts_by": _soon(), "warn": 0.9},
        {"name": "done", "dag": "late_done", "run_finishes_by": _soon(), "warn": 0.9},
        {"name": "publish", "dag": "late_publish", "task": "work", "task_finishes_by": _soon(), "warn": 0.9},
        {"name": "the-report", "parts": [{"dag": "late_publish"}], "ready_by": _soon(), "warn": 0.9},
        {"name": "asset-by", "asset": "everywhere://late/never", "fresh_by": _soon(), "warn": 0.9},
        {"name": "asset", "asset": "everywhere://late/asset", "fresh_within": "30s", "warn": 0.5},
        {"name": "slow", "dag": "late_slow", "slower_than_usual": 3, "history_least": 3, "warn": 1},
        {"name": "few-rows", "dag": "late_few_rows", "step": "load", "rows_at_least": 1000},
        {"name": "odd-rows", "dag": "late_odd_rows", "step": "load", "rows_unlike_usual": 4, "history_least": 3},
        {"name": "odd-rejects", "dag": "late_odd_rejects", "rejects_above_usual": True, "history_least": 3},
        {"name": "odd-start", "dag": "late_odd_start", "starts_later_than_usual": True, "history_least": 3},
        {"name": "odd-failures", "dag": "late_odd_failures", "fails_more_than_usual": True},
        {"name": "stale", "asset": "everywhere://late/stale", "staler_than_usual": True, "history_least": 3, "warn": 1},
        {"name": "success", "dag": "late_success", "success_within": "45s", "warn": 0.5},
        {"name": "control", "asset": "everywhere://late/control", "fresh_within": "1h"},
        {"name": "control-rows", "dag": "late_control", "step": "load", "rows_at_least": 1000},
    ]
    return json.dumps(
        {
            "timing": {"storm_messages": 5000, "flap_messages": 5000},
            "thresholds": {"queued": "40s", "overdue": "15s", "component_silent": "20s"},
            "channels": {
                "file": {"type": "file", "rate_per_minute": 10000},
                "nobody": {"type": "webhook", "url": "env:NOBODY", "allow": ["127.0.0.1"]},
            },
            "receivers": {"everybody": {"channels": ["file"]}, "nobody": {"channels": ["nobody"], "fallback": "file"}},
            "routes": [
                {"match": {"dag": "late_channel"}, "receiver": "nobody"},
                {"receiver": "everybody"},
            ],
            "deadlines": deadlines,
        }
    )


def _soon() -> str:
    return (datetime.now(timezone.utc) + timedelta(minutes=2)).strftime("%H:%M")


def start_run(hosts: Hosts, dag_id: str, **conf: Any) -> str:
    """Unpause a DAG once it is parsed, and start a run of it; the run's id."""
    until(lambda: hosts.call("GET", f"/dags/{dag_id}"), 120)
    hosts.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
    answer = hosts.call("POST", f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
    return str((answer or {}).get("dag_run_id", ""))


def _ended(hosts: Hosts, dag_id: str, run_id: str, within_s: float = 120) -> None:
    path = f"/dags/{dag_id}/dagRuns/{run_id}"
    until(lambda: (hosts.call("GET", path) or {}).get("state") in {"success", "failed"}, within_s)


def _state(hosts: Hosts, dag_id: str, run_id: str, *states: str) -> None:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/work"
    until(lambda: (hosts.call("GET", path) or {}).get("state") in states, 120)


def _way(name: str, **more: Any) -> Finding:
    """One of the ways to fail of ``failing_dags/ways.py``, by a run of it."""
    dag_id = f"way_{name}"
    given = {"action": "task.failed", "begin": lambda hosts: start_run(hosts, dag_id), **more}
    return Finding(name, "tasks", where={"airflow.dag_id": dag_id}, **given)


def _late(name: str, action: str = "deadline.missed", **more: Any) -> Finding:
    dag_id = f"late_{name}"
    given = {"begin": lambda hosts: start_run(hosts, dag_id, seconds=14), **more}
    return Finding(f"deadline {name}", "deadlines", action, {"airflow.dag_id": dag_id}, **given)


def _by_hand(hosts: Hosts) -> None:
    run_id = start_run(hosts, "way_by_hand")
    _state(hosts, "way_by_hand", run_id, "running")
    hosts.call("PATCH", f"/dags/way_by_hand/dagRuns/{run_id}/taskInstances/work", json={"new_state": "failed"})


def _deadlock(hosts: Hosts) -> None:
    run_id = start_run(hosts, "way_deadlock")
    _ended(hosts, "way_deadlock", run_id)
    asked = {
        "dry_run": False, "only_failed": False, "task_ids": ["numbers"], "include_downstream": True,
        "dag_run_id": run_id,
    }  # fmt: skip
    hosts.call("POST", "/dags/way_deadlock/clearTaskInstances", json=asked)


def _auto_paused(hosts: Hosts) -> None:
    for _ in range(2):
        _ended(hosts, "way_auto_paused", start_run(hosts, "way_auto_paused"))


def _several(dag_id: str, usual: dict[str, Any], unusual: dict[str, Any]) -> Callable[[Hosts], None]:
    """Four runs that are alike, and one that is not."""

    def begin(hosts: Hosts) -> None:
        for _ in range(4):
            _ended(hosts, dag_id, start_run(hosts, dag_id, **usual))
        start_run(hosts, dag_id, **unusual)

    return begin


def _starts_after_its_time(hosts: Hosts) -> None:
    """A run that waits for the one before it, which takes longer than a minute."""
    _several("late_odd_start", {"seconds": 0}, {"seconds": 80})(hosts)
    start_run(hosts, "late_odd_start")


def _fails_more(hosts: Hosts) -> None:
    """Of twenty runs the first ten are good, then most fail; the last one is good, so that no failure is open."""
    for number in range(20):
        run_id = start_run(hosts, "late_odd_failures", fails=10 <= number < 18)  # noqa: PLR2004 - the eight that fail
    _ended(hosts, "late_odd_failures", run_id, 400)


def _updates_then_none(hosts: Hosts) -> None:
    for _ in range(5):
        _ended(hosts, "late_stale", start_run(hosts, "late_stale"))


def _import_error(hosts: Hosts) -> None:
    until(lambda: hosts.call("GET", "/dags/way_import_error"), 120)
    hosts.edit_dags("broken_later.py", _BROKEN)


def _vanished(hosts: Hosts) -> None:
    until(lambda: hosts.call("GET", "/dags/way_vanished"), 120)
    time.sleep(45)  # the watcher, which looks every fifteen seconds, has seen it too
    hosts.edit_dags("gone_later.py", None)


def _frozen(service: str, host: str, before: str = "") -> Callable[[Hosts], None]:
    """Hold a component as a host does that hangs; ``before`` is a DAG that then waits for it."""

    def begin(hosts: Hosts) -> None:
        if before == "way_never_started":
            until(lambda: hosts.call("GET", f"/dags/{before}"), 120)
            hosts.call("PATCH", f"/dags/{before}", json={"is_paused": False})
        elif before:
            _state(hosts, before, start_run(hosts, before), "deferred")
        hosts.signal(service, host, signal.SIGSTOP)

    return begin


def _thawed(service: str, host: str) -> Callable[[Hosts], None]:
    return lambda hosts: hosts.signal(service, host, signal.SIGCONT)


def _two_schedulers(hosts: Hosts) -> None:
    """A second scheduler on a host of its own, which hangs once the watcher has seen both at work."""
    hosts.start("scheduler", "dagproc")
    if not until(lambda: len(_scheduling(hosts)) > 1, 300, 1):
        raise TimeoutError("the second scheduler does not appear among Airflow's jobs")
    if not until(lambda: _known_schedulers(hosts) > 1, 300, 1):
        raise TimeoutError("the watcher does not see both schedulers at work")
    hosts.signal("scheduler", "dagproc", signal.SIGSTOP)


def _scheduling(hosts: Hosts) -> set[str]:
    """The hosts on which a scheduler runs, as Airflow says."""
    listed = (hosts.call("GET", "/jobs", params={"job_type": "SchedulerJob", "is_alive": True}) or {}).get("jobs", [])
    return {str(job["hostname"]) for job in listed if job["state"] == "running"}


def _known_schedulers(hosts: Hosts) -> int:
    """The schedulers that the watcher saw at work, by what it remembers from one look to the next."""
    with Ledger(hosts.settings("watch", "embedded").ledger_url).transaction() as connection:
        remembered = read_cursor(connection, "reconcile") or {}
    return sum(one.startswith("scheduler|") for one in remembered.get("peers", {}).get("with_it", {}))


def _silent(component: str, service: str, host: str, before: str = "", within_s: float = 100) -> Finding:
    return Finding(
        f"{component} silent", "components", "component.silent", {"airflow.component": component},
        _frozen(service, host, before), within_s, (f"component:{component}",), end=_thawed(service, host),
    )  # fmt: skip


def _dead_sink(hosts: Hosts) -> None:
    """Take a store away from the relay of one host, until people know; what waited arrives afterwards."""
    hosts.restart("relay", "worker-b", CONTRAIL_CLOUDWATCH__ENDPOINT_URL="http://127.0.0.1:1")
    until(lambda: any("cloudwatch of worker-b" in json.dumps(one) for one in hosts.messages()), 150, 1)
    time.sleep(20)  # the pages are looked at
    hosts.restart("relay", "worker-b")


def _waits_for_ever(hosts: Hosts) -> None:
    """A run whose task may not begin before that of the run before succeeds, which has failed."""
    for day in (1, 2):
        until(lambda: hosts.call("GET", "/dags/late_waits"), 120)
        hosts.call("PATCH", "/dags/late_waits", json={"is_paused": False})
        asked = {"logical_date": f"2026-01-0{day}T00:00:00Z", "conf": {}}
        answer = hosts.call("POST", "/dags/late_waits/dagRuns", json=asked)
        if day == 1:
            _ended(hosts, "late_waits", str((answer or {}).get("dag_run_id", "")))


def _break_rules(hosts: Hosts) -> None:
    path = hosts.home / "watch" / "rules.yaml"
    path.with_suffix(".kept").write_text(path.read_text())
    path.write_text("routes: [")


def _mend_rules(hosts: Hosts) -> None:
    path = hosts.home / "watch" / "rules.yaml"
    path.with_suffix(".kept").replace(path)


def _nothing(_hosts: Hosts) -> None:
    """Another finding makes it happen."""


def _store_fresh_then_late(hosts: Hosts) -> None:
    _ended(hosts, "late_asset", start_run(hosts, "late_asset"))


def _starts_late(hosts: Hosts) -> None:
    """Set the times of day that are due once the watcher looks: what was due before that is not judged."""
    _unpaused(hosts, "late_start")
    _unpaused(hosts, "late_done")
    _unpaused(hosts, "late_publish")
    path = hosts.home / "watch" / "rules.yaml"
    asked = json.loads(path.read_text())
    for deadline in asked["deadlines"]:
        for clock in set(CLOCK_CONDITIONS) & deadline.keys():
            deadline[clock] = _soon()
    path.write_text(json.dumps(asked))


def _unpaused(hosts: Hosts, dag_id: str) -> None:
    until(lambda: hosts.call("GET", f"/dags/{dag_id}"), 120)
    hosts.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})


def _recovers(hosts: Hosts) -> None:
    """The run that was missing comes: once the deadline is said to be missed."""
    until(lambda: any("late_success" in str(one.get("dag_id")) for one in hosts.messages()), 200, 1)
    time.sleep(1)
    start_run(hosts, "late_success")


FINDINGS: tuple[Finding, ...] = (
    *(_late(name, within_s=120) for name in ("run", "task", "airflow")),
    _late("start", begin=_starts_late, within_s=480),
    _late("done", begin=_nothing, within_s=480),
    _late("publish", begin=_nothing, within_s=480),
    Finding(
        "deadline product", "deadlines", "deadline.missed", {"deadline.name": "the-report"}, _nothing, 480,
        ("the-report",),
    ),
    Finding(
        "deadline asset by the clock", "deadlines", "deadline.missed", {"deadline.name": "asset-by"}, _nothing, 480,
        ("everywhere://late/never",),
    ),
    _late("slow", begin=_several("late_slow", {"seconds": 1}, {"seconds": 45}), within_s=240),
    _late("few_rows", begin=lambda hosts: start_run(hosts, "late_few_rows", rows=5)),
    _late("odd_rows", begin=_several("late_odd_rows", {"rows": 1000}, {"rows": 3}), within_s=240),
    _late("odd_rejects", begin=_several("late_odd_rejects", {"rejected": 2}, {"rejected": 5000}), within_s=240),
    _late("odd_start", begin=_starts_after_its_time, within_s=300),
    _late("odd_failures", begin=_fails_more, within_s=300),
    Finding(
        "deadline stale", "deadlines", "deadline.missed", {"deadline.name": "stale"}, _updates_then_none, 240,
        ("everywhere://late/stale",),
    ),
    _late("success", begin=lambda hosts: _unpaused(hosts, "late_success"), within_s=150),
    Finding(
        "deadline asset", "deadlines", "deadline.missed", {"deadline.name": "asset"}, _store_fresh_then_late, 150,
        ("everywhere://late/asset",),
    ),
    Finding(
        "deadline comes near", "deadlines", "deadline.approached", {"airflow.dag_id": "late_success"}, _nothing, 120,
        told=False,
    ),
    Finding(
        "deadline recovered", "deadlines", "deadline.recovered", {"airflow.dag_id": "late_success"}, _recovers, 300,
        told=False,
    ),
    Finding(
        "asset updated", "deadlines", "asset.updated", {"airflow.dag_id": "late_control"}, _nothing, told=False
    ),
    Finding(
        "schema drift", "deadlines", "schema.drifted", {"airflow.dag_id": "late_drift"},
        lambda hosts: start_run(hosts, "late_drift") and None,
    ),
    Finding(
        "rows rejected", "deadlines", "rows.rejected", {"airflow.dag_id": "late_rejected"},
        lambda hosts: start_run(hosts, "late_rejected") and None, told=False,
    ),
    _way("exception"),
    _way("retry_then_failure"),
    Finding(
        "attempt retried", "tasks", "task.retried", {"airflow.dag_id": "way_retry_then_failure"}, _nothing, told=False
    ),
    _way("fail_exception"),
    _way("execution_timeout"),
    _way("sensor_timeout"),
    _way("trigger_timeout"),
    _way("template"),
    _way("system_exit"),
    _way("command_killed"),
    _way("trigger_fails"),
    _way("sigkill"),
    Finding("process killed", "tasks", "task.killed", {"airflow.dag_id": "way_sigkill"}, _nothing, told=False),
    _way("os_exit"),
    _way("segfault"),
    _way("runner_fails"),
    _way("oom"),
    _way("supervisor_killed", within_s=150),
    _way("stuck", action="task.stuck", within_s=120),
    _way("run_timeout", action="dag_run.failed"),
    _way("deadlock", action="dag_run.failed", begin=_deadlock, within_s=150),
    _way("by_hand", begin=_by_hand, within_s=120),
    _way("upstream"),
    Finding("run failed", "tasks", "dag_run.failed", {"airflow.dag_id": "way_upstream"}, _nothing),
    _way("mapped"),
    _way("callback_raises"),
    Finding(
        "file does not parse", "files", "dag.import_failed", {}, _import_error, 120, ("broken_later",)
    ),
    Finding("DAG vanished", "files", "dag.vanished", {"airflow.dag_id": "way_vanished"}, _vanished, 200),
    Finding("DAG auto-paused", "files", "dag.auto_paused", {"airflow.dag_id": "way_auto_paused"}, _auto_paused, 150),
    Finding(
        "channel fails", "files", "notification.failed", {"notification.channel": "nobody"},
        lambda hosts: start_run(hosts, "late_channel") and None, 120, ("nobody",),
    ),
    Finding(
        "channel broken", "files", "channel.broken", {"notification.channel": "nobody"}, _nothing, 150, ("nobody",)
    ),
    Finding("rules rejected", "files", "rules.rejected", {}, _break_rules, 60, ("rules.yaml",), end=_mend_rules),
    Finding("run waits for ever", "files", "dag_run.stuck", {"airflow.dag_id": "late_waits"}, _waits_for_ever, 150),
    _silent("triggerer", "triggerer", "trig", "way_deferred"),
    _silent("dag-processor", "dag-processor", "dagproc"),
    _silent("scheduler", "scheduler", "sched", "way_never_started", 120),
    Finding(
        "run never started", "components", "dag_run.overdue", {"airflow.dag_id": "way_never_started"}, _nothing, 200,
        told=False,  # its silent scheduler's message says so
    ),
    Finding(
        "sink fails", "relays", "sink.failed", {"telemetry.sink": "cloudwatch"}, _dead_sink, 240,
        ("cloudwatch of worker-b",),
    ),
    Finding(
        "relay silent", "relays", "component.silent", {"airflow.component": "relay", "airflow.hostname": "worker-a"},
        _frozen("relay", "worker-a"), 170, ("relay of worker-a",), end=_thawed("relay", "worker-a"),
    ),
    Finding(
        "one of two schedulers silent", "peers", "component.silent",
        {"airflow.component": "scheduler", "airflow.hostname": "dagproc"}, _two_schedulers, 400,
        ("scheduler", "dagproc"), end=_thawed("scheduler", "dagproc"),
    ),
    Finding(
        "API server silent", "api", "component.silent", {"airflow.component": "api-server"},
        _frozen("api-server", "api"), 170, ("component:api-server",), end=_thawed("api-server", "api"),
    ),
)  # fmt: skip
"""Each row of docs/alerts.md's table that is not a control, and each condition of a deadline."""
