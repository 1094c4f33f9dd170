"""The words that other declarations choose from: levels, severities, causes, components."""

from __future__ import annotations

from typing import Literal

__all__ = ["CAUSES", "CAUSE_LABELS", "COMPONENTS", "FieldType", "Level", "MetricType", "Outcome", "Severity", "Status"]

Level = Literal["debug", "info", "warning", "error", "critical"]
Outcome = Literal["success", "failure", "unknown"]
Severity = Literal["info", "warning", "error", "critical"]
Status = Literal["firing", "suspected", "attempt", "warned", "resolved", "noted"]
FieldType = Literal["keyword", "text", "long", "double", "date", "boolean", "object"]
MetricType = Literal["counter", "gauge", "timer", "set"]

CAUSES: dict[str, str] = {
    "app": "The task's own code raised.",
    "data": "The data broke a rule that was declared for it.",
    "dependency": "Something the task called (database, API, file share) did not serve it.",
    "timeout": "The task, sensor or run took longer than it was allowed to.",
    "oom": "The process was killed for the memory it used.",
    "killed": "The process was ended by a signal, or left without reporting.",
    "lost_heartbeat": "The worker or supervisor stopped reporting.",
    "stuck_queued": "The task was queued and no worker took it.",
    "import": "The DAG's file no longer parses, or no longer contains the DAG or the task.",
    "deadline": "A deadline was missed, or may be: something is late, or not as was expected.",
    "upstream": "A task before it failed.",
    "cancelled": "A person ended it.",
    "platform": "Airflow or Contrail itself failed.",
}
"""The bounded set of reasons why something failed; the same word in log, metric tag and alert."""

CAUSE_LABELS: dict[str, str] = {
    "app": "error in the task's code",
    "data": "bad data",
    "dependency": "a service it calls failed",
    "timeout": "took longer than allowed",
    "oom": "out of memory",
    "killed": "process killed",
    "lost_heartbeat": "worker stopped responding",
    "stuck_queued": "no worker took it",
    "import": "DAG file broken or changed",
    "deadline": "deadline missed or at risk",
    "upstream": "an earlier task failed",
    "cancelled": "ended by a person",
    "platform": "platform fault",
}
"""The words that people read for each cause: in messages, command output, pages and boards."""

COMPONENTS: tuple[str, ...] = (
    "task",
    "scheduler",
    "dag-processor",
    "triggerer",
    "api-server",
    "worker",
    "relay",
    "watcher",
)
"""Values of ``airflow.component``: who wrote the line."""
