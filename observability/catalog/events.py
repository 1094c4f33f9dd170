"""Every kind of event: its data stream, log line, metrics, alert, and what it says of an incident."""

from __future__ import annotations

from msgspec import Struct

from observability.catalog.incidents import IncidentUse
from observability.catalog.vocabulary import Level, Outcome, Severity

__all__ = ["EVENTS", "EventSpec", "MetricUse"]


class MetricUse(Struct, frozen=True):
    """The metric that an event feeds, and from which of its fields (None: one, the event itself).

    ``scale`` turns the field's unit into the metric's (1e-6 from ns to ms). ``unless`` names a field and the
    value with which the event does not feed it, because another event has.
    """

    metric: str
    field: str | None = None
    scale: float = 1.0
    unless: tuple[str, str] | None = None


class EventSpec(Struct, frozen=True):
    """The consequences of an event: its data stream, log line, metrics, and what it says of an incident.

    ``message`` is a ``str.format_map`` template over the event's document, with ``.`` as ``_``, and ``cause_label``.
    ``log`` False: recorded, but no line in the task's log. ``alert`` names the incident's severity.
    """

    dataset: str
    level: Level
    outcome: Outcome
    message: str
    description: str
    fields: tuple[str, ...] = ()
    metrics: tuple[MetricUse, ...] = ()
    log: bool = True
    alert: Severity | None = None
    incident: IncidentUse | None = None


_FAILURE = (
    "airflow.cause",
    "event.reason",
    "error.type",
    "error.message",
    "error.stack_trace",
    "error.fingerprint",
    "error.frame",
    "process.exit_code",
    "airflow.signal",
    "airflow.peak_rss",
    "airflow.memory_limit",
    "airflow.cpu_time",
    "event.duration",
    "airflow.state",
    "event.provider",
)
_ATTEMPT = (
    MetricUse("contrail.task.attempts", unless=("event.provider", "relay+reconciler")),  # task.killed counted it
    MetricUse("contrail.task.duration_ms", "event.duration", 1e-6),
    MetricUse("contrail.task.peak_rss_bytes", "airflow.peak_rss"),
)
_OUTCOME = (*_ATTEMPT, MetricUse("contrail.task.outcomes"))
_RUN = (MetricUse("contrail.dag_run.outcomes"), MetricUse("contrail.dag_run.duration_ms", "event.duration", 1e-6))
_INCIDENT = (
    "incident.id",
    "incident.key",
    "incident.state",
    "incident.title",
    "incident.severity",
    "incident.count",
    "incident.age",
    "incident.runbook",
    "airflow.cause",
    "event.reason",
    "error.fingerprint",
    "airflow.asset",
)
_FINDING = ("airflow.cause", "event.reason", "event.provider")
_OVER = ("airflow.cause", "event.reason", "event.duration", "event.provider")
_DEADLINE = (
    "deadline.name",
    "deadline.occasion",
    "deadline.due",
    "deadline.lateness",
    "event.reason",
    "incident.severity",
    "airflow.cause",
    "event.provider",
    "airflow.asset",
)
_NOTIFICATION = (
    "notification.channel",
    "notification.kind",
    "notification.state",
    "notification.attempts",
    "incident.id",
    "incident.key",
    "airflow.cause",
    "event.reason",
    "event.duration",
    "airflow.asset",
)

EVENTS: dict[str, EventSpec] = {
    "task.started": EventSpec(
        "etl.event", "info", "unknown", "Attempt {airflow_try_number} began", "An attempt began.",
        ("airflow.state",), (MetricUse("contrail.task.started"),), log=False,
        incident=IncidentUse("task", "noted"),
    ),
    "task.succeeded": EventSpec(
        "etl.event", "info", "success", "Task succeeded on attempt {airflow_try_number}", "A task succeeded.",
        ("event.duration", "airflow.peak_rss", "airflow.memory_limit", "airflow.cpu_time", "airflow.state", "airflow.triggered", "event.provider"),
        _OUTCOME, log=False,
        incident=IncidentUse("task", "resolved"),
    ),
    "task.failed": EventSpec(
        "etl.event", "error", "failure", "Task failed for good: {cause_label}: {event_reason}",
        "A task failed and will not be tried again.", _FAILURE, _OUTCOME, alert="error",
        incident=IncidentUse("task", "firing", elsewhere=True),
    ),
    "task.retried": EventSpec(
        "etl.event", "warning", "failure", "Attempt {airflow_try_number} failed and will be retried: {cause_label}: {event_reason}",
        "An attempt failed; the task will be tried again.", _FAILURE, _ATTEMPT,
        incident=IncidentUse("task", "attempt"),
    ),
    "task.skipped": EventSpec(
        "etl.event", "info", "unknown", "Task skipped", "A task skipped itself.",
        ("event.duration", "event.reason", "airflow.state"), (*_ATTEMPT[:2], MetricUse("contrail.task.outcomes")),
    ),
    "task.killed": EventSpec(
        "etl.event", "error", "failure", "The task's process died without a word: {event_reason}",
        "An attempt's process ended by a signal or left without reporting; the supervisor said so in the log.",
        _FAILURE, (MetricUse("contrail.task.attempts"),), log=False, alert="error",
        incident=IncidentUse("task", "suspected"),
    ),
    "task.stuck": EventSpec(
        "etl.event", "error", "failure", "Task is stuck: {event_reason}", "A task was queued and no worker took it.",
        _FAILURE, (MetricUse("contrail.task.stuck"),), log=False, alert="error",
        incident=IncidentUse("stuck", "firing"),
    ),
    "dag_run.started": EventSpec(
        "etl.event", "info", "unknown", "Run began", "A DAG run began.",
        ("airflow.state", "airflow.upstream", "airflow.schedule_delay"),
        (MetricUse("contrail.dag_run.started"), MetricUse("contrail.dag_run.schedule_delay_ms", "airflow.schedule_delay", 1e-6)),
        log=False,
        incident=IncidentUse("run", "noted"),
    ),
    "dag_run.succeeded": EventSpec(
        "etl.event", "info", "success", "Run succeeded", "A DAG run succeeded.", ("event.duration", "airflow.state"), _RUN, log=False,
        incident=IncidentUse("run", "resolved"),
    ),
    "dag_run.failed": EventSpec(
        "etl.event", "error", "failure", "Run failed: {event_reason}", "A DAG run failed.",
        ("event.duration", "event.reason", "airflow.cause", "airflow.state", "event.provider"), _RUN, log=False, alert="error",
        incident=IncidentUse("run", "firing", elsewhere=True),
    ),
    "dag_run.overdue": EventSpec(
        "etl.event", "error", "failure", "Run never started: {event_reason}", "A scheduled run did not begin when it was due.",
        ("event.reason", "airflow.cause", "event.provider"), (MetricUse("contrail.dag_run.overdue"),), log=False, alert="error",
        incident=IncidentUse("overdue", "firing"),
    ),
    "step.measured": EventSpec(
        "etl.event", "info", "success", "Step {etl_step}: {etl_rows_in} rows in, {etl_rows_out} out, {etl_rows_rejected} rejected",
        "A measured step of a task ended well.",
        ("etl.step", "etl.table", "etl.rows_in", "etl.rows_out", "etl.rows_rejected", "etl.bytes", "etl.watermark", "etl.watermark_age",
         "event.duration"),
        (
            MetricUse("contrail.step.rows_in", "etl.rows_in"),
            MetricUse("contrail.step.rows_out", "etl.rows_out"),
            MetricUse("contrail.step.rows_rejected", "etl.rows_rejected"),
            MetricUse("contrail.step.bytes", "etl.bytes"),
            MetricUse("contrail.step.duration_ms", "event.duration", 1e-6),
            MetricUse("contrail.step.watermark_age_ms", "etl.watermark_age", 1e-6),
        ),
        incident=IncidentUse("rows", "noted"),
    ),
    "step.failed": EventSpec(
        "etl.event", "error", "failure", "Step {etl_step} failed: {error_type}: {error_message}", "A measured step raised.",
        ("etl.step", "etl.table", "etl.rows_in", "etl.rows_out", "etl.rows_rejected", "event.duration", "error.type", "error.message"),
        (MetricUse("contrail.step.duration_ms", "event.duration", 1e-6),),
    ),
    "rows.rejected": EventSpec(
        "etl.event", "warning", "failure", "{etl_rows_rejected} rows broke rule {etl_rule}", "Rows went to quarantine, one event per rule.",
        ("etl.step", "etl.table", "etl.rule", "etl.rows_rejected"), (MetricUse("contrail.rows.rejected", "etl.rows_rejected"),),
    ),
    "schema.drifted": EventSpec(
        "etl.event", "warning", "unknown", "Columns of {etl_table} changed (new: {etl_columns_added}; gone: {etl_columns_removed})",
        "An input has other columns than it had.", ("etl.table", "etl.columns_added", "etl.columns_removed"),
        (MetricUse("contrail.schema.drifts"),), alert="warning",
        incident=IncidentUse("data", "firing"),
    ),
    "asset.updated": EventSpec(
        "etl.event", "info", "success", "Asset updated: {airflow_asset}", "A task updated an asset.",
        ("airflow.asset",), (MetricUse("contrail.asset.updates"),), log=False,
        incident=IncidentUse("asset", "noted"),
    ),
    "dag.import_failed": EventSpec(
        "etl.event", "error", "failure", "DAG file no longer parses: {event_reason}", "A DAG file has an import error.",
        ("airflow.cause", "event.reason", "error.stack_trace", "error.fingerprint", "error.frame", "log.file.path", "event.provider"),
        (MetricUse("contrail.dag.import_failures"),), log=False, alert="error",
        incident=IncidentUse("import", "firing", elsewhere=True),
    ),
    "dag.vanished": EventSpec(
        "etl.event", "error", "failure", "DAG is gone: {event_reason}", "A DAG that was there is no longer parsed.",
        ("airflow.cause", "event.reason", "event.provider"), (MetricUse("contrail.dag.vanished"),), log=False, alert="error",
        incident=IncidentUse("dag", "firing"),
    ),
    "dag.auto_paused": EventSpec(
        "etl.event", "error", "failure", "Airflow paused the DAG: {event_reason}", "Airflow paused a DAG after too many failed runs.",
        ("airflow.cause", "event.reason", "event.provider"), (MetricUse("contrail.dag.auto_paused"),), log=False, alert="error",
        incident=IncidentUse("paused", "firing"),
    ),
    "deadline.approached": EventSpec(
        "contrail.alert", "warning", "unknown", "Deadline {deadline_name} comes near: {event_reason}", "A deadline is about to be missed.",
        (*_DEADLINE, "deadline.expected", "deadline.chance"), (MetricUse("contrail.deadline.approached"),), log=False, alert="warning",
        incident=IncidentUse("deadline", "warned"),
    ),
    "deadline.missed": EventSpec(
        "contrail.alert", "error", "failure", "Deadline {deadline_name} missed: {event_reason}", "A deadline was missed.",
        _DEADLINE, (MetricUse("contrail.deadline.missed"),), log=False, alert="error",
        incident=IncidentUse("deadline", "firing"),
    ),
    "deadline.recovered": EventSpec(
        "contrail.alert", "info", "success", "Deadline {deadline_name} recovered: {event_reason}", "What was late has happened.",
        _DEADLINE, (MetricUse("contrail.deadline.recovered"),), log=False,
        incident=IncidentUse("deadline", "resolved"),
    ),
    "deadline.upcoming": EventSpec(
        "contrail.alert", "info", "unknown", "Deadline {deadline_name} of {deadline_occasion} is due at {deadline_due}", "Something is due.",
        ("deadline.name", "deadline.occasion", "deadline.due", "event.reason", "deadline.expected", "deadline.chance", "deadline.likely_from",
         "deadline.likely_until", "deadline.earliest", "deadline.latest", "event.provider", "airflow.asset"),
        (MetricUse("contrail.deadline.upcoming"),), log=False,
    ),
    "deadline.kept": EventSpec(
        "contrail.alert", "info", "success", "Deadline {deadline_name} of {deadline_occasion} was kept", "What was due has happened in time.",
        ("deadline.name", "deadline.occasion", "deadline.due", "event.reason", "event.provider", "airflow.asset"), (MetricUse("contrail.deadline.kept"),),
        log=False,
    ),
    "component.silent": EventSpec(
        "contrail.alert", "critical", "failure", "{airflow_component} is silent: {event_reason}", "A component stopped its heartbeat.",
        (*_FINDING, "airflow.hostname"), (MetricUse("contrail.component.silent"),), log=False, alert="critical",
        incident=IncidentUse("component", "firing"),
    ),
    "component.recovered": EventSpec(
        "contrail.alert", "info", "success", "{airflow_component} is back: {event_reason}", "A silent component has a heartbeat again.",
        (*_OVER, "airflow.hostname"), (MetricUse("contrail.component.downtime_ms", "event.duration", 1e-6),), log=False,
        incident=IncidentUse("component", "resolved"),
    ),
    "task.unstuck": EventSpec(
        "etl.event", "info", "success", "Task goes on: {event_reason}", "A task that was stuck waits no longer.",
        _OVER, (MetricUse("contrail.task.unstuck"),), log=False,
        incident=IncidentUse("stuck", "resolved"),
    ),
    "task.removed": EventSpec(
        "etl.event", "warning", "failure", "Task was removed: {event_reason}",
        "Airflow took a task out of a run because the DAG no longer has it; the run went on without it.",
        ("airflow.cause", "event.reason", "airflow.state", "event.provider"), (MetricUse("contrail.task.outcomes"),), log=False, alert="warning",
        incident=IncidentUse("task", "firing"),
    ),
    "dag_run.stuck": EventSpec(
        "etl.event", "error", "failure", "Run is stuck: {event_reason}", "A run goes on, and no task of it is ever scheduled.",
        _FINDING, (MetricUse("contrail.dag_run.stuck"),), log=False, alert="error", incident=IncidentUse("stuck", "firing"),
    ),
    "dag_run.unstuck": EventSpec(
        "etl.event", "info", "success", "Run goes on: {event_reason}", "A run that was stuck goes on.",
        _OVER, (MetricUse("contrail.dag_run.unstuck"),), log=False,
        incident=IncidentUse("stuck", "resolved"),
    ),
    "dag.import_repaired": EventSpec(
        "etl.event", "info", "success", "DAG file parses again", "A DAG file has no import error any more.",
        (*_OVER, "log.file.path"), (MetricUse("contrail.dag.import_repairs"),), log=False, incident=IncidentUse("import", "resolved"),
    ),
    "dag.returned": EventSpec(
        "etl.event", "info", "success", "DAG is back: {event_reason}", "A DAG that was gone is parsed again.",
        _OVER, (MetricUse("contrail.dag.returned"),), log=False,
        incident=IncidentUse("dag", "resolved"),
    ),
    "dag.unpaused": EventSpec(
        "etl.event", "info", "success", "DAG runs again: {event_reason}", "A DAG that Airflow had paused was unpaused.",
        _OVER, (MetricUse("contrail.dag.unpaused"),), log=False,
        incident=IncidentUse("paused", "resolved"),
    ),
    "channel.broken": EventSpec(
        "contrail.alert", "critical", "failure", "Channel {notification_channel} takes no messages: {event_reason}",
        "A channel does not take messages, or a test message did not arrive.", (*_FINDING, "notification.channel"),
        (MetricUse("contrail.channel.broken"),), log=False, alert="critical", incident=IncidentUse("delivery", "firing"),
    ),
    "channel.recovered": EventSpec(
        "contrail.alert", "info", "success", "Channel {notification_channel} takes messages again", "A channel takes messages again.",
        (*_OVER, "notification.channel"), (MetricUse("contrail.channel.downtime_ms", "event.duration", 1e-6),), log=False,
        incident=IncidentUse("delivery", "resolved"),
    ),
    "rules.rejected": EventSpec(
        "contrail.alert", "warning", "failure", "Alert rules rejected: {event_reason}",
        "The file of alert rules cannot be used; the old rules stay in force.", (*_FINDING, "log.file.path"),
        (MetricUse("contrail.rules.rejected"),), log=False, alert="warning", incident=IncidentUse("rules", "firing"),
    ),
    "rules.accepted": EventSpec(
        "contrail.alert", "info", "success", "Alert rules accepted: {event_reason}", "The file of alert rules can be used again.",
        (*_OVER, "log.file.path"), (MetricUse("contrail.rules.accepted"),), log=False, incident=IncidentUse("rules", "resolved"),
    ),
    "rule.fired": EventSpec(
        "contrail.alert", "error", "failure", "Kibana's rule fired: {event_reason}",
        "A rule of Kibana fired for something that the watcher had not seen.",
        (*_FINDING, "rule.id", "incident.severity", "incident.runbook"), (MetricUse("contrail.rule.fired"),), log=False,
        alert="error", incident=IncidentUse("rule", "firing"),
    ),
    "rule.recovered": EventSpec(
        "contrail.alert", "info", "success", "Kibana's rule recovered: {event_reason}", "A rule of Kibana that fired is quiet again.",
        (*_OVER, "rule.id"), (MetricUse("contrail.rule.recovered"),), log=False, incident=IncidentUse("rule", "resolved"),
    ),
    "incident.opened": EventSpec(
        "contrail.alert", "error", "failure", "Incident opened: {event_reason}", "Something went wrong that was not known.",
        _INCIDENT, (MetricUse("contrail.incident.opened"),), log=False,
    ),
    "incident.acknowledged": EventSpec(
        "contrail.alert", "info", "unknown", "Incident acknowledged: {event_reason}", "A person took the incident.",
        _INCIDENT, (MetricUse("contrail.incident.time_to_acknowledge_ms", "incident.age", 1e-6),), log=False,
    ),
    "incident.reopened": EventSpec(
        "contrail.alert", "info", "unknown", "Incident reopened: {event_reason}",
        "A person took back that the incident was taken, or over.", _INCIDENT, (MetricUse("contrail.incident.reopened"),),
        log=False,
    ),
    "incident.escalated": EventSpec(
        "contrail.alert", "error", "failure", "Incident escalated: {event_reason}", "Nobody took the incident in time.", _INCIDENT,
        (MetricUse("contrail.incident.escalated"),), log=False,
    ),
    "incident.resolved": EventSpec(
        "contrail.alert", "info", "success", "Incident resolved: {event_reason}", "The incident is over.", _INCIDENT,
        (MetricUse("contrail.incident.resolved"), MetricUse("contrail.incident.time_to_resolve_ms", "incident.age", 1e-6)), log=False,
    ),
    "audit.recorded": EventSpec(
        "airflow.audit", "info", "unknown", "{user_name} {deed}",
        "A person, or a program in their name, asked for something that stands in Airflow's event log. The outcome is `success` where"
        " Airflow showed that it did it, `failure` where nothing changed.",
        ("event.outcome", "user.name", "airflow.audit_event", "airflow.audit_extra", "event.category", "event.type"),
        (MetricUse("contrail.audit.recorded"),), log=False,
    ),
    "notification.sent": EventSpec(
        "contrail.alert", "info", "success", "Notified {notification_channel}: {event_reason}", "A channel accepted a notification.",
        _NOTIFICATION,
        (
            MetricUse("contrail.notification.deliveries"),
            MetricUse("contrail.notification.latency_ms", "event.duration", 1e-6),
        ),
        log=False,
    ),
    "notification.failed": EventSpec(
        "contrail.alert", "error", "failure", "Could not notify {notification_channel}: {event_reason}",
        "A channel did not take a notification; it is tried again until it is dead.", _NOTIFICATION,
        (MetricUse("contrail.notification.deliveries"),), log=False, alert="critical",
    ),
    "telemetry.lost": EventSpec(
        "contrail.alert", "error", "failure", "{telemetry_count} observations lost at {telemetry_stage}: {telemetry_reason}",
        "Observations were lost, rejected or contained.",
        ("telemetry.stream", "telemetry.sink", "telemetry.stage", "telemetry.reason", "telemetry.count"),
        (MetricUse("contrail.telemetry.losses", "telemetry.count"),), log=False, alert="warning",
        incident=IncidentUse("telemetry", "firing"),
    ),
    "sink.failed": EventSpec(
        "contrail.alert", "error", "failure", "{telemetry_stage}: {event_reason}",
        "A sink takes no records from a relay, or refuses documents for good.",
        ("telemetry.sink", "telemetry.stage", "telemetry.count", "airflow.cause", "event.reason", "event.provider"),
        (MetricUse("contrail.sink.failed"),), log=False, alert="error", incident=IncidentUse("sink", "firing"),
    ),
    "sink.recovered": EventSpec(
        "contrail.alert", "info", "success", "{telemetry_stage}: {event_reason}", "A sink takes records from a relay again.",
        ("telemetry.sink", "telemetry.stage", *_OVER), (MetricUse("contrail.sink.downtime_ms", "event.duration", 1e-6),), log=False,
        incident=IncidentUse("sink", "resolved"),
    ),
    "canary.verified": EventSpec(
        "etl.event", "info", "success", "Canary {canary_sequence} arrived", "The last canary's events are in the store.",
        ("canary.sequence", "event.duration"), (MetricUse("contrail.canary.age_ms", "event.duration", 1e-6),),
        incident=IncidentUse("canary", "resolved"),
    ),
    "canary.missing": EventSpec(
        "etl.event", "error", "failure", "Canary {canary_sequence} did not arrive: {event_reason}",
        "The last canary's events are not in the store: the telemetry path is broken.", ("canary.sequence", "event.reason"),
        (MetricUse("contrail.canary.missing"),), alert="critical", incident=IncidentUse("canary", "firing"),
    ),
}
"""Every kind of event by its ``event.action``."""
