"""Every rule for Kibana and CloudWatch to watch with, beside the watcher, and the document by which Kibana reports one."""

from __future__ import annotations

from msgspec import Struct

from observability.catalog.fields import FieldSpec
from observability.catalog.vocabulary import Severity

__all__ = ["ALERT_DOCUMENT", "ALERT_INDEX", "MONITORS", "UNRULED", "AlertRule"]


class AlertRule(Struct, frozen=True):
    """A rule for Kibana and CloudWatch to watch with, beside the watcher.

    True when the sum (counters) or maximum (gauges) of ``metric``, or the number of ``event``
    documents, over ``window_s`` seconds is above ``above`` — or, with ``absent``, when there is none.
    """

    title: str
    severity: Severity
    runbook: str
    description: str
    metric: str | None = None
    event: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    above: float = 0
    window_s: int = 300
    absent: bool = False
    group_by: str | None = None


MONITORS: dict[str, AlertRule] = {
    "task-failed": AlertRule(
        "A task failed for good", "error", "task-failed", "Tasks that reached failed, per DAG.",
        metric="contrail.task.outcomes", event="task.failed", where=(("state", "failed"),), group_by="dag_id",
    ),
    "task-killed": AlertRule(
        "A task's process was killed", "error", "task-killed", "Attempts that died without a word.",
        metric="contrail.task.attempts", event="task.killed", where=(("state", "killed"),), group_by="dag_id",
    ),
    "task-stuck": AlertRule(
        "A task is stuck", "error", "task-stuck", "Tasks that are queued or scheduled, and nothing takes them, per DAG.",
        metric="contrail.task.stuck", event="task.stuck", group_by="dag_id",
    ),
    "task-removed": AlertRule(
        "A task was taken out of its run", "warning", "task-failed", "Tasks that Airflow removed because the DAG no longer has them, per DAG.",
        metric="contrail.task.outcomes", event="task.removed", where=(("state", "removed"),), group_by="dag_id",
    ),
    "dag-run-stuck": AlertRule(
        "A run is stuck", "error", "task-stuck", "Runs that go on, and no task of them is ever scheduled, per DAG.",
        metric="contrail.dag_run.stuck", event="dag_run.stuck", group_by="dag_id",
    ),
    "dag-run-failed": AlertRule(
        "A DAG run failed", "error", "dag-run-failed", "Runs that ended in failure, per DAG.",
        metric="contrail.dag_run.outcomes", event="dag_run.failed", where=(("state", "failed"),), group_by="dag_id",
    ),
    "dag-run-overdue": AlertRule(
        "A scheduled run did not begin", "error", "run-overdue", "Runs that were due and did not begin, per DAG.",
        metric="contrail.dag_run.overdue", event="dag_run.overdue", group_by="dag_id",
    ),
    "deadline-missed": AlertRule(
        "A deadline was missed", "error", "deadline-missed", "What SLAs were for.",
        metric="contrail.deadline.missed", event="deadline.missed", group_by="dag_id",
    ),
    "dag-import-failed": AlertRule(
        "A DAG file does not parse", "error", "dag-import-failed", "Import errors.",
        metric="contrail.dag.import_failures", event="dag.import_failed",
    ),
    "dag-vanished": AlertRule(
        "A DAG is gone", "error", "dag-vanished", "DAGs that no file contains any more.",
        metric="contrail.dag.vanished", event="dag.vanished", group_by="dag_id",
    ),
    "dag-auto-paused": AlertRule(
        "Airflow paused a DAG", "error", "dag-auto-paused", "DAGs that were paused after too many failed runs.",
        metric="contrail.dag.auto_paused", event="dag.auto_paused", group_by="dag_id",
    ),
    "rows-rejected": AlertRule(
        "Many rows rejected", "warning", "rows-rejected", "Rows in quarantine over an hour, per DAG.",
        metric="contrail.rows.rejected", event="rows.rejected", above=1000, window_s=3600, group_by="dag_id",
    ),
    "schema-drifted": AlertRule(
        "Columns changed", "warning", "schema-drifted", "Inputs whose columns are not those that they had, per DAG.",
        metric="contrail.schema.drifts", event="schema.drifted", group_by="dag_id",
    ),
    "data-stale": AlertRule(
        "Data is not fresh", "error", "data-stale", "The newest data is older than two days.",
        metric="contrail.step.watermark_age_ms", above=172_800_000, window_s=3600, group_by="dag_id",
    ),
    "component-silent": AlertRule(
        "A component is silent", "critical", "component-silent", "Scheduler, dag processor, triggerer, API server or a relay without heartbeat.",
        metric="contrail.component.heartbeat_age_ms", event="component.silent", above=60_000, group_by="component",
    ),
    "scheduler-heartbeat-absent": AlertRule(
        "No scheduler heartbeat", "critical", "component-silent", "Airflow's own scheduler heartbeat metric stopped.",
        metric="scheduler_heartbeat", window_s=300, absent=True,
    ),
    "telemetry-lost": AlertRule(
        "Observations are being lost", "warning", "telemetry-lost", "Records lost, rejected or contained.",
        metric="contrail.telemetry.losses", event="telemetry.lost", group_by="stage",
    ),
    "watcher-silent": AlertRule(
        "No watcher is at work", "critical", "component-silent", "The watcher's own heartbeat metric stopped: nobody is notified of anything.",
        metric="contrail.component.heartbeat_age_ms", where=(("component", "watcher"),), window_s=300, absent=True,
    ),
    "sink-failed": AlertRule(
        "A sink takes no records", "error", "sink-failed", "Sinks of relays that take no records, or refuse some for good.",
        metric="contrail.sink.failed", event="sink.failed", group_by="sink",
    ),
    "relay-lag": AlertRule(
        "The relay is behind", "warning", "relay-lag", "The oldest byte not yet sent is older than five minutes.",
        metric="contrail.relay.lag_ms", above=300_000, group_by="sink",
    ),
    "canary-silent": AlertRule(
        "The canary is silent", "critical", "canary-silent", "No canary has been verified for twenty minutes.",
        metric="contrail.canary.age_ms", event="canary.verified", window_s=1200, absent=True,
    ),
    "canary-missing": AlertRule(
        "A canary did not arrive", "critical", "canary-silent", "Rounds of the canary that are not in the store.",
        metric="contrail.canary.missing", event="canary.missing",
    ),
    "channel-broken": AlertRule(
        "A channel takes no messages", "critical", "notification-failed", "Channels that stopped taking messages.",
        metric="contrail.channel.broken", event="channel.broken", group_by="channel",
    ),
    "rules-rejected": AlertRule(
        "The file of alert rules cannot be used", "warning", "rules-broken", "The old rules stay in force until it is fixed.",
        metric="contrail.rules.rejected", event="rules.rejected",
    ),
    "notification-failed": AlertRule(
        "The alert path is broken", "critical", "notification-failed", "Notifications that a channel did not take.",
        metric="contrail.notification.deliveries", event="notification.failed", where=(("delivery", "failed"),), group_by="channel",
    ),
}
"""Rules for Kibana and CloudWatch; the runbook is ``docs/runbooks/<runbook>.md``."""

UNRULED: dict[str, str] = {
    "deadline.approached": "Nothing is wrong yet; deadline-missed watches what comes of it.",
    "rule.fired": "A rule of Kibana said it already.",
}
"""Kinds of event that may become an incident and that no rule watches, each with the reason."""

ALERT_INDEX = "contrail-kibana-alerts"
ALERT_DOCUMENT: dict[str, FieldSpec] = {
    "@timestamp": FieldSpec("date", "When the rule wrote the alert."),
    "rule": FieldSpec("keyword", "Key of the rule in MONITORS."),
    "title": FieldSpec("keyword", "The rule in words."),
    "group": FieldSpec("keyword", "query matched, or recovered."),
    "alert": FieldSpec("keyword", "What it is about: the value that the rule groups by, else the rule in words."),
    "group_by": FieldSpec("keyword", "Tag or field that the rule groups by; empty where it does not."),
    "value": FieldSpec("keyword", "What was found, with its unit."),
    "limit": FieldSpec("keyword", "What it is compared with, with its unit."),
    "severity": FieldSpec("keyword", "Severity of the rule."),
    "link": FieldSpec("keyword", "Address of the documents, in Kibana."),
    "runbook": FieldSpec("keyword", "Address of the runbook."),
    "rule_url": FieldSpec("keyword", "Address of the rule, in Kibana."),
    "kibana_rule_id": FieldSpec("keyword", "Kibana's id of the rule."),
}
"""The document that a Kibana rule writes to ALERT_INDEX, whenever it begins to hold or no longer does."""
