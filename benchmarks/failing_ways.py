"""The ways to fail, and what is expected of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["WAYS", "Way"]


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
