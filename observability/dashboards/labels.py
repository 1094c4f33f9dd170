"""The words of people for values that documents keep as identifiers: a legend, a cell and a filter show these."""

from __future__ import annotations

from observability import catalog

__all__ = ["LABELS", "word"]

_ACTIONS = {
    "canary.missing": "Canary did not arrive",
    "canary.verified": "Canary arrived",
    "component.recovered": "Component is back",
    "component.silent": "Component is silent",
    "dag.auto_paused": "Paused by Airflow",
    "dag.import_failed": "File does not parse",
    "dag.vanished": "DAG is gone",
    "dag_run.failed": "Run failed",
    "dag_run.overdue": "Run did not start",
    "dag_run.started": "Run started",
    "dag_run.succeeded": "Run succeeded",
    "deadline.approached": "Deadline is near",
    "deadline.kept": "Deadline kept",
    "deadline.upcoming": "Something is due",
    "deadline.missed": "Deadline missed",
    "deadline.recovered": "Done after its deadline",
    "incident.acknowledged": "Acknowledged",
    "incident.reopened": "Reopened",
    "incident.escalated": "Escalated",
    "incident.opened": "Opened",
    "incident.resolved": "Resolved",
    "notification.failed": "Not delivered",
    "notification.sent": "Delivered",
    "asset.updated": "Asset updated",
    "audit.recorded": "Entry of the event log",
    "channel.broken": "Channel takes no messages",
    "channel.recovered": "Channel works again",
    "dag.import_repaired": "File parses again",
    "dag.returned": "DAG is back",
    "dag.unpaused": "Unpaused",
    "dag_run.stuck": "Run is stuck",
    "dag_run.unstuck": "Run goes on",
    "rows.rejected": "Rows rejected",
    "rule.fired": "Rule of Kibana fired",
    "rule.recovered": "Rule of Kibana is over",
    "rules.accepted": "Alert rules are in force again",
    "rules.rejected": "Alert rules cannot be used",
    "schema.drifted": "Columns changed",
    "sink.failed": "Sink takes no records",
    "sink.recovered": "Sink works again",
    "step.failed": "Step failed",
    "step.measured": "Step measured",
    "task.failed": "Failed",
    "task.killed": "Process killed",
    "task.retried": "Failed, will be retried",
    "task.skipped": "Skipped",
    "task.started": "Started",
    "task.stuck": "Task is stuck",
    "task.removed": "Removed from its run",
    "task.succeeded": "Succeeded",
    "task.unstuck": "Task goes on",
    "telemetry.lost": "Observations lost",
}
_CATEGORIES = {
    "configuration": "Configuration",
    "iam": "Users and roles",
    "process": "Runs and tasks",
    "session": "Log-ins",
}
_STATES = {"up_for_retry": "to be retried"}
_KINDS = {"early_warning": "early warning"}

LABELS: dict[str, dict[str, str]] = {
    "event.action": {
        action: _ACTIONS.get(action, action.replace(".", " ").replace("_", " ").capitalize())
        for action in catalog.EVENTS
    },
    "airflow.cause": {name: label[:1].upper() + label[1:] for name, label in catalog.CAUSE_LABELS.items()},
    "airflow.state": _STATES,
    "airflow.audit_event": {name: words[:1].upper() + words[1:] for name, words in catalog.AUDIT_EVENTS.items()},
    "event.category": _CATEGORIES,
    "notification.kind": _KINDS,
}
"""Field → value → what people read. A value that is not named is shown as it is."""


def word(field: str, value: str) -> str:
    """The words that people read for a value of a field."""
    return LABELS.get(field, {}).get(value, value)
