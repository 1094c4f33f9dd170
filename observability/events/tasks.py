"""The events of tasks and runs."""

from __future__ import annotations

from typing import ClassVar

from observability.events.event import Event, Failure, Finding, Over

__all__ = [
    "DagRunFailed",
    "DagRunOverdue",
    "DagRunStarted",
    "DagRunStuck",
    "DagRunSucceeded",
    "DagRunUnstuck",
    "TaskFailed",
    "TaskKilled",
    "TaskRemoved",
    "TaskRetried",
    "TaskSkipped",
    "TaskStarted",
    "TaskStuck",
    "TaskSucceeded",
    "TaskUnstuck",
]


class TaskStarted(Event, frozen=True, kw_only=True):
    """An attempt began."""

    action: ClassVar[str] = "task.started"
    state: str = "running"


class TaskSucceeded(Event, frozen=True, kw_only=True):
    """A task succeeded; duration in ns, memory in bytes, ``triggered`` the path of a run that it began."""

    action: ClassVar[str] = "task.succeeded"
    duration_ns: int | None = None
    peak_rss: int | None = None
    memory_limit: int | None = None
    cpu_time_ns: int | None = None
    state: str = "success"
    triggered: str | None = None
    provider: str = "callback"


class TaskFailed(Failure, frozen=True, kw_only=True):
    """A task failed and will not be tried again."""

    action: ClassVar[str] = "task.failed"


class TaskRetried(Failure, frozen=True, kw_only=True):
    """An attempt failed and the task will be tried again."""

    action: ClassVar[str] = "task.retried"
    state: str = "up_for_retry"


class TaskKilled(Failure, frozen=True, kw_only=True):
    """An attempt's process ended without reporting; ``exit_code`` is negative for a signal."""

    action: ClassVar[str] = "task.killed"
    state: str = "killed"
    provider: str = "relay"


class TaskStuck(Failure, frozen=True, kw_only=True):
    """A task was queued and no worker took it."""

    action: ClassVar[str] = "task.stuck"
    state: str = "queued"
    provider: str = "reconciler"


class TaskUnstuck(Over, frozen=True, kw_only=True):
    """A task that was stuck waits no longer; ``duration_ns`` is how long it was known to be stuck."""

    action: ClassVar[str] = "task.unstuck"
    cause: str = "stuck_queued"


class TaskRemoved(Finding, frozen=True, kw_only=True):
    """Airflow took a task out of a run, which went on without it."""

    action: ClassVar[str] = "task.removed"
    cause: str = "import"
    state: str = "removed"


class TaskSkipped(Event, frozen=True, kw_only=True):
    """A task skipped itself."""

    action: ClassVar[str] = "task.skipped"
    duration_ns: int | None = None
    reason: str | None = None
    state: str = "skipped"


class DagRunStarted(Event, frozen=True, kw_only=True):
    """A run began; ``upstream`` are the paths of the attempts whose updates of assets began it."""

    action: ClassVar[str] = "dag_run.started"
    upstream: tuple[str, ...] | None = None
    schedule_delay_ns: int | None = None
    state: str = "running"


class DagRunSucceeded(Event, frozen=True, kw_only=True):
    """A run succeeded."""

    action: ClassVar[str] = "dag_run.succeeded"
    duration_ns: int | None = None
    state: str = "success"


class DagRunFailed(Event, frozen=True, kw_only=True):
    """A run failed."""

    action: ClassVar[str] = "dag_run.failed"
    reason: str
    cause: str | None = None
    duration_ns: int | None = None
    state: str = "failed"
    provider: str = "callback"


class DagRunOverdue(Finding, frozen=True, kw_only=True):
    """A scheduled run did not begin when it was due."""

    action: ClassVar[str] = "dag_run.overdue"


class DagRunStuck(Finding, frozen=True, kw_only=True):
    """A run goes on, and no task of it is ever scheduled."""

    action: ClassVar[str] = "dag_run.stuck"
    cause: str = "stuck_queued"


class DagRunUnstuck(Over, frozen=True, kw_only=True):
    """A run that was stuck goes on."""

    action: ClassVar[str] = "dag_run.unstuck"
    cause: str = "stuck_queued"
