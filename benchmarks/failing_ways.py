"""The ways to fail, and what is expected of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

__all__ = ["PARTS", "WAYS", "Way", "can_be_tried"]

PARTS = ("tasks", "people", "files", "late", "queue", "delivery", "components", "api")
"""The groups of ways that may be tried by themselves, in order."""


@dataclass(frozen=True)
class Way:
    """A way to fail: what is expected of it. ``alerts`` is how many messages, ``plain`` what callbacks can see.

    ``row`` begins a row of the table of ways in docs/alerts.md. ``ends`` is what the resolution says of who ended it,
    with ``{run}`` for the run. ``incident`` is the key of its incident where that is about no run of its own DAG.
    """

    name: str
    causes: tuple[str, ...] = ("app",)
    alerts: int = 1
    task: str | None = "work"
    incident: str = ""
    patience_s: float = 90.0
    ends: str = ""
    part: str = "tasks"
    row: str = "exception"
    waits: bool = False

    @property
    def begins_alone(self) -> bool:
        """True if to run its DAG is all that has to be done."""
        return self.part == "tasks" and not self.waits


def _component(name: str, **more: object) -> Way:
    given = {"part": "components", "row": "scheduler, dag processor, triggerer dead", "task": None} | more
    return Way(name.replace("-", "_"), ("platform",), incident=f"component:{name}", **given)  # type: ignore[arg-type]


_TIMEOUT = "execution timeout, sensor timeout, trigger timeout"
_DIES = "SIGKILL, `os._exit`, crash"
_PERSON = "marked failed by a person"
_DEADLINE = "deadline, freshness, rows"

WAYS = (
    Way("exception"),
    Way("dependency", ("dependency",)),
    Way("data", ("data",)),
    Way("error_group", ("dependency",)),
    Way("interrupted"),
    Way("no_module"),
    Way("run_succeeds"),
    Way("bash_exit"),
    Way("teardown", task="clean"),
    Way("not_mappable", task="numbers"),  # what hands on something that cannot be mapped fails
    Way("xcom"),
    Way("retry_then_success", alerts=0, row="retries, then success"),
    Way("retry_then_failure", row="retries, then failure"),
    Way("fail_exception", row="`AirflowFailException`"),
    Way("execution_timeout", ("timeout",), row=_TIMEOUT),
    Way("sensor_timeout", ("timeout",), row=_TIMEOUT),
    Way("sensor_rescheduled", ("timeout",), row=_TIMEOUT),
    Way("trigger_timeout", ("timeout",), row=_TIMEOUT),
    Way("template", row="template that does not render"),
    Way("system_exit", row="template that does not render"),
    Way("command_killed", ("killed",), row="a command of `BashOperator`"),
    Way("trigger_fails", ("dependency",), row="a trigger raises"),
    Way("sigkill", ("killed",), row=_DIES),
    Way("sigkill_retried", alerts=0, row=_DIES),
    Way("sigkill_each", ("killed",), row=_DIES),
    Way("sigint", ("killed",), row=_DIES),
    Way("sigterm", alerts=0, row=_DIES),  # Airflow 3 calls on_kill and lets the task go on: it succeeds
    Way("segfault", ("killed",), row=_DIES),
    Way("runner_fails", ("killed",), row=_DIES),
    Way("os_exit", ("killed",), row=_DIES),
    Way("oom", ("oom",), row="out of memory: `MemoryError`"),
    Way("oom_kernel", ("oom",), row="out of memory: killed by the kernel"),
    Way("supervisor_killed", ("lost_heartbeat",), patience_s=120, row="worker or supervisor killed"),
    Way("stuck", ("stuck_queued",), row="never to be queued"),
    Way("no_slots", ("stuck_queued",), row="never to be queued"),
    Way("no_active_tasks", ("stuck_queued",), row="never to be queued"),
    Way("fail_fast", row="stopped by the DAG's `fail_fast`"),
    Way("unanswered", ("deadline",), row="a question to a person"),
    Way("unanswered_in_time", ("timeout",), row="nobody answers until the question's own time-out"),
    Way("waits_for_ever", ("stuck_queued",), task=None, part="late", row="run of which no task is ever scheduled"),
    Way("triggered", ("stuck_queued",), task=None, part="late", row="run that another DAG triggered"),
    Way("removed", ("import",), part="late", row="task that Airflow took out of a run"),
    Way("run_timeout", ("timeout",), task=None, row="DAG run timeout"),
    Way("deadlock", task=None, waits=True, row="all tasks deadlocked", patience_s=150),
    Way("by_hand", ("cancelled",), waits=True, row=_PERSON),
    Way("run_by_hand", ("cancelled",), waits=True, row=_PERSON),
    Way("upstream", task="first", row="upstream failed"),
    Way("mapped", row="mapped task, 300 of 400 fail"),
    Way("import_error", ("import",), task=None, part="files", row="DAG file does not parse", incident="broken_later"),
    Way("vanished", ("import",), task=None, part="files", row="DAG vanished"),
    Way("auto_paused", ("platform",), task=None, part="files", row="DAG auto-paused"),
    Way("callback_raises", row="a callback that raises itself"),
    *(
        Way(name, ends=ends, part="people")
        for name, ends in {
            "set_success": "work was set to success by admin",
            "set_skipped": "work was set to skipped by admin",
            "run_set_success": "run {run} was set to success by admin",
            "cleared": "run {run} succeeded after work was cleared by admin",
            "run_deleted": "run {run} was deleted by admin",
            "dag_deleted": "the DAG was deleted by admin",
        }.items()
    ),
    Way("fine", alerts=0),
    Way("skipped", alerts=0),
    *(
        Way(name, ("deadline",), task=None, incident=f"deadline:{name}:", part="late", row=_DEADLINE)
        for name in ("late_run", "few_rows", "stale", "late_by_airflow")
    ),
    Way("stuck_queued", ("stuck_queued",), part="queue", row="stuck in queued"),
    Way("no_channel", part="delivery"),
    Way("channel", ("platform",), task=None, incident="delivery:nobody", part="delivery", row="a channel, the canary"),
    Way("rules", ("platform",), task=None, incident="rules:", part="delivery", row="a channel, the canary"),
    Way("sink", ("platform",), task=None, incident="sink:", part="delivery", row="a sink takes no records"),
    Way("deferred", ("platform",), incident="component:triggerer", part="components", row="deferred task"),
    _component("dag-processor"),
    _component("scheduler"),
    Way("never_started", ("platform",), alerts=0, task=None, incident="overdue:", part="components",
        row="scheduled run never started"),
    _component("api-server", part="api", row="API server dead", patience_s=180),
)  # fmt: skip
"""Every way of the table in docs/alerts.md; ``never_started`` is explained by its scheduler's incident."""


def can_be_tried(way: Way) -> bool:
    """False where this machine cannot do it: the kernel's killing needs a memory cgroup that we may make."""
    return way.name != "oom_kernel" or _can_make_cgroups()


@lru_cache
def _can_make_cgroups() -> bool:
    for parent, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = parent / f"contrail-way-{os.getpid()}-{uuid4().hex[:6]}"
        try:
            group.mkdir()
        except OSError:
            continue
        there = (group / limit).exists()
        group.rmdir()
        if there:
            return True
    return False
