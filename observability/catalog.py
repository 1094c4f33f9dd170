"""The one catalogue: every event, field, metric and alert rule, declared once as data.

Index templates, dashboards, alarms, tag lists and the reference pages are generated from here
and compared in tests; code elsewhere refers to these names and never spells its own.
Imports nothing of ours.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = [
    "AIRFLOW_METRICS",
    "ALERT_DOCUMENT",
    "ALERT_INDEX",
    "CAUSES",
    "CAUSE_LABELS",
    "COMPONENTS",
    "DATASETS",
    "DIMENSIONS",
    "EVENTS",
    "FIELDS",
    "INCIDENT_KINDS",
    "METRICS",
    "MONITORS",
    "TAGS",
    "UNRULED",
    "AlertRule",
    "Dataset",
    "EventSpec",
    "FieldSpec",
    "IncidentKind",
    "IncidentUse",
    "MetricSpec",
    "MetricUse",
]

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
    "import": "The DAG's file no longer parses, or no longer contains the DAG.",
    "deadline": "Something did not happen by the time it was due.",
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
    "import": "DAG file cannot be loaded",
    "deadline": "missed a deadline",
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


class FieldSpec(Struct, frozen=True):
    """A field of a document: its Elasticsearch type, meaning and unit ('' where it has none)."""

    type: FieldType
    description: str
    unit: str = ""


FIELDS: dict[str, FieldSpec] = {
    # Elastic Common Schema 8.11
    "@timestamp": FieldSpec("date", "When it happened (UTC)."),
    "message": FieldSpec("text", "What happened, as a sentence."),
    "log.level": FieldSpec("keyword", "debug, info, warning, error or critical."),
    "log.logger": FieldSpec("keyword", "Name of the logger."),
    "log.file.path": FieldSpec("keyword", "File the line was read from, relative to the log folder."),
    "log.part": FieldSpec("long", "Place of a piece of a line too long for one document, from 0."),
    "event.id": FieldSpec("keyword", "Identity of the fact; equal facts have equal ids."),
    "event.category": FieldSpec("keyword", "Kinds of what was done: configuration, iam, process, session (ECS)."),
    "event.type": FieldSpec("keyword", "Ways in which: access, change, creation, deletion, start, end, info (ECS)."),
    "user.name": FieldSpec("keyword", "Who did it (ECS)."),
    "airflow.audit_event": FieldSpec("keyword", "Airflow's own name of what was done, as its event log has it."),
    "airflow.audit_extra": FieldSpec("text", "What Airflow wrote down beside it, without values of Connections and Variables."),
    "event.kind": FieldSpec("keyword", "event, alert or metric (ECS)."),
    "event.action": FieldSpec("keyword", "The kind of event, a key of EVENTS."),
    "event.outcome": FieldSpec("keyword", "success, failure or unknown."),
    "event.duration": FieldSpec("long", "How long it took.", "ns"),
    "event.sequence": FieldSpec("long", "Order of the events of one process."),
    "event.reason": FieldSpec("text", "Why, in a person's words."),
    "error.type": FieldSpec("keyword", "Class of the exception."),
    "error.message": FieldSpec("text", "Text of the exception, redacted."),
    "error.stack_trace": FieldSpec("text", "The traceback, redacted and bounded."),
    "error.fingerprint": FieldSpec("keyword", "Equal for the same error at the same place."),
    "error.frame": FieldSpec("keyword", "file:line in function, the last frame of the user's own code."),
    "service.name": FieldSpec("keyword", "airflow or contrail."),
    "service.environment": FieldSpec("keyword", "Deployment environment, for example prod."),
    "host.name": FieldSpec("keyword", "Host that wrote it."),
    "process.pid": FieldSpec("long", "Process that wrote it."),
    "process.exit_code": FieldSpec("long", "Exit code of a process that ended; negative for a signal."),
    "trace.id": FieldSpec("keyword", "W3C trace id of the DAG run."),
    # Airflow
    "airflow.dag_id": FieldSpec("keyword", "DAG."),
    "airflow.task_id": FieldSpec("keyword", "Task."),
    "airflow.run_id": FieldSpec("keyword", "DAG run."),
    "airflow.run_type": FieldSpec("keyword", "scheduled, manual, backfill, asset_triggered …"),
    "airflow.try_number": FieldSpec("long", "Attempt, from 1."),
    "airflow.map_index": FieldSpec("long", "Index of a mapped task, -1 where it is not mapped."),
    "airflow.iteration": FieldSpec(
        "keyword", "Iteration of a task loop, from 0; in a log as its path names it: that of a loop run again is 0.2."
    ),
    "airflow.loop_id": FieldSpec("keyword", "Task loop that an attempt is an iteration of."),
    "airflow.region_id": FieldSpec("keyword", "Region of a task instance (UUID), which Airflow asks for in a task loop."),
    "airflow.ti_id": FieldSpec("keyword", "Task instance (UUID)."),
    "airflow.logical_date": FieldSpec("date", "Logical date of the run, absent where it has none."),
    "airflow.partition_key": FieldSpec("keyword", "Partition that a run or an update of an asset is for."),
    "airflow.operator": FieldSpec("keyword", "Class of the operator."),
    "airflow.pool": FieldSpec("keyword", "Pool."),
    "airflow.queue": FieldSpec("keyword", "Queue."),
    "airflow.owner": FieldSpec("keyword", "Owner of the task."),
    "airflow.team": FieldSpec("keyword", "Team of the DAG, where Airflow knows one."),
    "airflow.tags": FieldSpec("keyword", "Tags of the DAG."),
    "airflow.bundle": FieldSpec("keyword", "DAG bundle."),
    "airflow.bundle_version": FieldSpec("keyword", "Version of the bundle that a run is of, where it has versions."),
    "airflow.dag_version": FieldSpec("long", "Version of the DAG that a run was created with, from 1."),
    "airflow.dag_file": FieldSpec("keyword", "Name of the DAG's file, without its folder and ending."),
    "airflow.component": FieldSpec("keyword", "Who wrote it, one of COMPONENTS."),
    "airflow.hostname": FieldSpec("keyword", "Host of the component that it is about, where there is one on each host."),
    "airflow.run_path": FieldSpec("keyword", "Path of the run or task in the Airflow UI, for links."),
    "airflow.cause": FieldSpec("keyword", "Why it failed, a key of CAUSES."),
    "airflow.state": FieldSpec("keyword", "State that it reached."),
    "airflow.upstream": FieldSpec("keyword", "Paths of the task attempts or runs whose updates of assets began a run."),
    "airflow.triggered": FieldSpec("keyword", "Path of the run that a task has triggered."),
    "event.provider": FieldSpec("keyword", "Who saw it: callback, listener, relay, reconciler, deadline, outbox, watcher, kibana."),
    "airflow.asset": FieldSpec("keyword", "Asset (URI) that it is about, or each that a message is about."),
    "airflow.peak_rss": FieldSpec("long", "Highest resident memory of the attempt.", "bytes"),
    "airflow.memory_limit": FieldSpec("long", "Memory limit of the attempt, where there is one.", "bytes"),
    "airflow.cpu_time": FieldSpec("long", "Processor time of the attempt.", "ns"),
    "airflow.extra": FieldSpec("object", "Keys of a log line beyond [elasticsearch] mapped_keys, each with its value."),
    "airflow.signal": FieldSpec("keyword", "Signal that ended the process."),
    # data outcomes
    "etl.step": FieldSpec("keyword", "Name of the measured step."),
    "etl.rows_in": FieldSpec("long", "Rows read.", "rows"),
    "etl.rows_out": FieldSpec("long", "Rows written.", "rows"),
    "etl.rows_rejected": FieldSpec("long", "Rows put in quarantine.", "rows"),
    "etl.bytes": FieldSpec("long", "Bytes written or read.", "bytes"),
    "etl.watermark": FieldSpec("date", "Newest moment that the data covers."),
    "etl.watermark_age": FieldSpec("long", "Age of the watermark when the step ended.", "ns"),
    "etl.table": FieldSpec("keyword", "Table, file or asset the step worked on."),
    "etl.rule": FieldSpec("keyword", "Validation rule that failed."),
    "etl.columns_added": FieldSpec("keyword", "Columns that were not there before."),
    "etl.columns_removed": FieldSpec("keyword", "Columns that are gone."),
    # deadlines, incidents, deliveries
    "deadline.name": FieldSpec("keyword", "Name of the deadline."),
    "deadline.due": FieldSpec("date", "When it was due."),
    "deadline.lateness": FieldSpec("long", "How late it is.", "ns"),
    "deadline.expected": FieldSpec("date", "When the run is expected to end, of its own history."),
    "deadline.occasion": FieldSpec("keyword", "The run, or the day, for which it is due."),
    "deadline.likely_from": FieldSpec("date", "The run ends between this"),
    "deadline.likely_until": FieldSpec("date", "and this with a chance of 50 %."),
    "deadline.earliest": FieldSpec("date", "The run ends between this"),
    "deadline.latest": FieldSpec("date", "and this with a chance of 90 %."),
    "deadline.chance": FieldSpec("double", "Chance that the deadline is missed, 0 to 1."),
    "incident.id": FieldSpec("keyword", "Incident."),
    "incident.key": FieldSpec("keyword", "What the incident is about; equal keys are one incident."),
    "incident.state": FieldSpec("keyword", "open, acknowledged or resolved."),
    "incident.title": FieldSpec("text", "The sentence that people are sent: what happened to what, and how bad it is."),
    "incident.severity": FieldSpec("keyword", "info, warning, error or critical."),
    "incident.count": FieldSpec("long", "Occurrences folded into it."),
    "incident.age": FieldSpec("long", "From first seen to this event.", "ns"),
    "incident.runbook": FieldSpec("keyword", "Runbook: the name of its page, or its address."),
    "notification.channel": FieldSpec("keyword", "Channel it went to."),
    "notification.kind": FieldSpec("keyword", "opened, update, reminder, escalated, resolved, early_warning, digest, test."),
    "notification.state": FieldSpec("keyword", "sent, failed or dead."),
    "notification.attempts": FieldSpec("long", "Tries so far."),
    "rule.id": FieldSpec("keyword", "A rule of Kibana and what it fired for (ECS): a key of MONITORS, then the group."),
    # telemetry about telemetry
    "telemetry.stream": FieldSpec("keyword", "Dataset the records belong to."),
    "telemetry.sink": FieldSpec("keyword", "embedded, elasticsearch, cloudwatch or otlp."),
    "telemetry.result": FieldSpec("keyword", "emitted, stored, rejected, duplicate, dropped, or history (left out: too old at the first start)."),
    "telemetry.stage": FieldSpec("keyword", "Where in the flow."),
    "telemetry.reason": FieldSpec("keyword", "Why records were lost or contained."),
    "telemetry.count": FieldSpec("long", "How many."),
    "canary.sequence": FieldSpec("long", "Number of the canary round."),
    "canary.probe": FieldSpec("long", "Canary round that this sample is for; it stands in a data stream of its own, for it never happened."),
    # metric documents
    "metric.name": FieldSpec("keyword", "Name of the metric, a key of METRICS or of Airflow's registry."),
    "metric.type": FieldSpec("keyword", "counter, gauge, timer or set."),
    "metric.value": FieldSpec("double", "Counter: sum; gauge: last; timer: mean; set: distinct values."),
    "metric.count": FieldSpec("long", "Samples in the interval."),
    "metric.sum": FieldSpec("double", "Sum of the samples."),
    "metric.min": FieldSpec("double", "Smallest sample."),
    "metric.max": FieldSpec("double", "Largest sample."),
    "metric.p50": FieldSpec("double", "Median of a timer."),
    "metric.p95": FieldSpec("double", "95th percentile of a timer."),
    "metric.p99": FieldSpec("double", "99th percentile of a timer."),
    "metric.interval": FieldSpec("long", "Length of the interval.", "ms"),
    "metric.tags": FieldSpec("object", "Tags that are not a field of ours, as flat strings."),
    # what Airflow's own Elasticsearch reader wants beside them
    "log_id": FieldSpec("keyword", "dag_id-task_id-run_id-map_index-try_number."),
    "offset": FieldSpec("long", "Order of the lines of one log_id."),
    "event": FieldSpec("text", "Airflow's own name for the message of a log line."),
    "level": FieldSpec("keyword", "Airflow's own name for log.level."),
    "logger": FieldSpec("keyword", "Airflow's own name for log.logger."),
    "timestamp": FieldSpec("date", "Airflow's own name for @timestamp."),
}
"""Every field that a document of ours may have; dotted names are literal keys (``subobjects: false``)."""


class Dataset(Struct, frozen=True):
    """A dataset: a log group, a journal, and a data stream ``<type>-<dataset>-<env>``.

    ``elsewhere`` is its name in Elasticsearch where another product owns the data stream that it would have.
    """

    type: Literal["logs", "metrics"]
    dataset: str
    description: str
    retention_days: int
    elsewhere: str = ""

    def template(self, prefix: str = "") -> str:
        """The index template of its streams; ``prefix`` is ``[elasticsearch] index_prefix``."""
        return f"{prefix}contrail-{self.elsewhere or self.dataset}"

    def stream(self, environment: str, prefix: str = "") -> str:
        """The data stream in Elasticsearch; of every environment for ``*``."""
        return f"{prefix}{self.type}-{self.elsewhere or self.dataset}-{environment}"


# metrics-airflow.statsd-* belongs to Elastic's own Airflow integration.
DATASETS: dict[str, Dataset] = {
    "airflow.task": Dataset("logs", "airflow.task", "Lines of task logs.", 30),
    "airflow.component": Dataset("logs", "airflow.component", "Lines of Airflow's components.", 14),
    "etl.event": Dataset("logs", "etl.event", "Events: what happened to runs, tasks and data.", 365),
    "contrail.alert": Dataset("logs", "contrail.alert", "Incidents and notifications.", 365),
    "airflow.audit": Dataset("logs", "airflow.audit", "Airflow's event log: who did what.", 365),
    "contrail.probe": Dataset("logs", "contrail.probe", "The canary's samples: events that never happened.", 3),
    "airflow.statsd": Dataset("metrics", "airflow.statsd", "Metric series, one document per interval.", 90, "contrail.statsd"),
}


class MetricSpec(Struct, frozen=True):
    """A metric of ours: StatsD type, unit, meaning, and the tags it may carry."""

    type: MetricType
    unit: str
    description: str
    tags: tuple[str, ...]


TAGS: dict[str, str] = {
    "dag_id": "airflow.dag_id",
    "task_id": "airflow.task_id",
    "operator": "airflow.operator",
    "state": "airflow.state",
    "cause": "airflow.cause",
    "team": "airflow.team",
    "pool": "airflow.pool",
    "env": "service.environment",
    "component": "airflow.component",
    "step": "etl.step",
    "rule": "etl.rule",
    "severity": "incident.severity",
    "channel": "notification.channel",
    "kind": "notification.kind",
    "deadline": "deadline.name",
    "stream": "telemetry.stream",
    "sink": "telemetry.sink",
    "result": "telemetry.result",
    "delivery": "notification.state",
    "stage": "telemetry.stage",
    "reason": "telemetry.reason",
    # what Airflow calls them in its own metrics
    "pool_name": "airflow.pool",
    "team_name": "airflow.team",
    "queue": "airflow.queue",
    "run_type": "airflow.run_type",
    "operator_name": "airflow.operator",
    "bundle_name": "airflow.bundle",
    "file_name": "airflow.dag_file",
    "hostname": "host.name",
}
"""Tags a metric may carry → the document field they become. Bounded values only: never run_id, try_number."""

_TASK = ("dag_id", "task_id", "operator", "state", "cause", "env")
_STEP = ("dag_id", "task_id", "step", "env")

METRICS: dict[str, MetricSpec] = {
    "contrail.task.started": MetricSpec("counter", "attempts", "Attempts that began.", ("dag_id", "task_id", "operator", "env")),
    "contrail.task.attempts": MetricSpec("counter", "attempts", "Attempts that ended, also those that are retried.", _TASK),
    "contrail.task.outcomes": MetricSpec("counter", "tasks", "Tasks that reached their final state.", _TASK),
    "contrail.task.duration_ms": MetricSpec("timer", "ms", "Duration of an attempt.", ("dag_id", "task_id", "operator", "state", "env")),
    "contrail.task.peak_rss_bytes": MetricSpec("gauge", "bytes", "Highest resident memory of an attempt.", ("dag_id", "task_id", "env")),
    "contrail.dag_run.started": MetricSpec("counter", "runs", "Runs that began.", ("dag_id", "env")),
    "contrail.dag_run.outcomes": MetricSpec("counter", "runs", "Runs that ended.", ("dag_id", "state", "cause", "env")),
    "contrail.dag_run.duration_ms": MetricSpec("timer", "ms", "Duration of a run.", ("dag_id", "state", "env")),
    "contrail.step.rows_in": MetricSpec("counter", "rows", "Rows that steps read.", _STEP),
    "contrail.step.rows_out": MetricSpec("counter", "rows", "Rows that steps wrote.", _STEP),
    "contrail.step.rows_rejected": MetricSpec("counter", "rows", "Rows that steps put in quarantine.", _STEP),
    "contrail.step.bytes": MetricSpec("counter", "bytes", "Bytes that steps moved.", _STEP),
    "contrail.step.duration_ms": MetricSpec("timer", "ms", "Duration of a step.", _STEP),
    "contrail.step.watermark_age_ms": MetricSpec("gauge", "ms", "Age of the newest data after a step.", _STEP),
    "contrail.rows.rejected": MetricSpec("counter", "rows", "Rejected rows by rule.", ("dag_id", "task_id", "rule", "env")),
    "contrail.schema.drifts": MetricSpec("counter", "drifts", "Inputs whose columns changed.", ("dag_id", "task_id", "env")),
    "contrail.asset.updates": MetricSpec("counter", "updates", "Updates of assets by tasks.", ("dag_id", "task_id", "env")),
    "contrail.task.stuck": MetricSpec("counter", "tasks", "Tasks found stuck: queued or scheduled, and nothing takes them.", ("dag_id", "task_id", "env")),
    "contrail.task.unstuck": MetricSpec("counter", "tasks", "Stuck tasks that go on.", ("dag_id", "task_id", "env")),
    "contrail.dag_run.overdue": MetricSpec("counter", "runs", "Scheduled runs that did not begin when due.", ("dag_id", "env")),
    "contrail.dag_run.stuck": MetricSpec("counter", "runs", "Running runs of which no task is ever scheduled.", ("dag_id", "env")),
    "contrail.dag_run.unstuck": MetricSpec("counter", "runs", "Stuck runs that go on.", ("dag_id", "env")),
    "contrail.dag.vanished": MetricSpec("counter", "DAGs", "DAGs that are no longer parsed.", ("dag_id", "env")),
    "contrail.dag.returned": MetricSpec("counter", "DAGs", "Vanished DAGs that are parsed again.", ("dag_id", "env")),
    "contrail.dag.auto_paused": MetricSpec("counter", "DAGs", "DAGs that Airflow paused after failed runs.", ("dag_id", "env")),
    "contrail.dag.unpaused": MetricSpec("counter", "DAGs", "DAGs that Airflow had paused and that run again.", ("dag_id", "env")),
    "contrail.dag.import_failures": MetricSpec("counter", "files", "DAG files that stopped parsing.", ("dag_id", "env")),
    "contrail.dag.import_repairs": MetricSpec("counter", "files", "DAG files that parse again.", ("dag_id", "env")),
    "contrail.deadline.approached": MetricSpec("counter", "deadlines", "Deadlines that came near.", ("dag_id", "deadline", "env")),
    "contrail.deadline.upcoming": MetricSpec("counter", "deadlines", "Things that are due, and news of when they will be done.", ("dag_id", "deadline", "env")),
    "contrail.deadline.kept": MetricSpec("counter", "deadlines", "Deadlines kept.", ("dag_id", "deadline", "env")),
    "contrail.deadline.missed": MetricSpec("counter", "deadlines", "Deadlines missed.", ("dag_id", "deadline", "env")),
    "contrail.deadline.recovered": MetricSpec("counter", "deadlines", "Late things that have happened since.", ("dag_id", "deadline", "env")),
    "contrail.component.heartbeat_age_ms": MetricSpec("gauge", "ms", "Time since a component's last heartbeat.", ("component", "env")),
    "contrail.component.silent": MetricSpec("counter", "components", "Components found dead or silent.", ("component", "env")),
    "contrail.component.downtime_ms": MetricSpec("timer", "ms", "From a component's silence to its next heartbeat.", ("component", "env")),
    "contrail.channel.broken": MetricSpec("counter", "channels", "Channels that stopped taking messages.", ("channel", "env")),
    "contrail.channel.downtime_ms": MetricSpec("timer", "ms", "From a channel's first refusal to its recovery.", ("channel", "env")),
    "contrail.rules.rejected": MetricSpec("counter", "files", "Files of alert rules that cannot be used.", ("env",)),
    "contrail.rules.accepted": MetricSpec("counter", "files", "Files of alert rules that can be used again.", ("env",)),
    "contrail.rule.fired": MetricSpec("counter", "rules", "Rules of Kibana that found what the watcher had not seen.", ("severity", "env")),
    "contrail.rule.recovered": MetricSpec("counter", "rules", "Rules of Kibana that are quiet again.", ("env",)),
    "contrail.audit.recorded": MetricSpec("counter", "deeds", "Rows of Airflow's event log that people caused.", ("dag_id", "env")),
    "contrail.incident.opened": MetricSpec("counter", "incidents", "Incidents opened.", ("dag_id", "cause", "severity", "env")),
    "contrail.incident.escalated": MetricSpec("counter", "incidents", "Incidents that nobody took in time.", ("dag_id", "cause", "severity", "env")),
    "contrail.incident.reopened": MetricSpec("counter", "incidents", "Incidents that people gave back or reopened.", ("dag_id", "cause", "severity", "env")),
    "contrail.incident.resolved": MetricSpec("counter", "incidents", "Incidents resolved.", ("dag_id", "cause", "severity", "env")),
    "contrail.incident.open": MetricSpec("gauge", "incidents", "Incidents open now.", ("severity", "env")),
    "contrail.incident.time_to_acknowledge_ms": MetricSpec("timer", "ms", "From opened to acknowledged.", ("severity", "env")),
    "contrail.incident.time_to_resolve_ms": MetricSpec("timer", "ms", "From opened to resolved.", ("severity", "env")),
    "contrail.notification.deliveries": MetricSpec("counter", "notifications", "Deliveries tried, by result.", ("channel", "kind", "delivery", "env")),
    "contrail.notification.latency_ms": MetricSpec("timer", "ms", "From the fact to its delivery.", ("channel", "env")),
    "contrail.relay.records": MetricSpec("counter", "records", "Records handled, by result.", ("stream", "sink", "result", "env")),
    "contrail.relay.lag_bytes": MetricSpec("gauge", "bytes", "Bytes on disk not yet acknowledged.", ("stream", "sink", "env")),
    "contrail.relay.lag_ms": MetricSpec("gauge", "ms", "Age of the oldest byte not yet acknowledged.", ("stream", "sink", "env")),
    "contrail.relay.rss_bytes": MetricSpec("gauge", "bytes", "Memory of the relay.", ("env",)),
    "contrail.relay.up": MetricSpec("gauge", "relays", "1 while a relay runs, 0 when it was asked to end; by host.name.", ("env",)),
    "contrail.relay.dead_letters": MetricSpec("gauge", "records", "Records in the dead-letter files.", ("sink", "env")),
    "contrail.sink.failed": MetricSpec("counter", "sinks", "Sinks of relays that take no records, or refuse some for good.", ("sink", "env")),
    "contrail.sink.downtime_ms": MetricSpec("timer", "ms", "From a sink's failure to its recovery.", ("sink", "env")),
    "contrail.telemetry.losses": MetricSpec("counter", "records", "Observations lost or contained, by stage and reason.", ("stage", "reason", "env")),
    "contrail.telemetry.folded_series": MetricSpec("counter", "series", "Series folded together by the budget.", ("stream", "env")),
    "contrail.canary.age_ms": MetricSpec("gauge", "ms", "Time the last canary took to reach the store.", ("env",)),
    "contrail.canary.missing": MetricSpec("counter", "rounds", "Rounds of the canary that did not arrive.", ("env",)),
    "contrail.watcher.lag_ms": MetricSpec("gauge", "ms", "From a fact's time to its reading by the watcher.", ("env",)),
}

_DAG_RUN = ("dag_id", "run_type", "env")
_TRIED = ("dag_id", "task_id", "queue", "env")

AIRFLOW_METRICS: dict[str, MetricSpec] = {
    "scheduler_heartbeat": MetricSpec("counter", "heartbeats", "Heartbeats of the scheduler.", ("env",)),
    "dag_processor_heartbeat": MetricSpec("counter", "heartbeats", "Heartbeats of the dag processor.", ("env",)),
    "triggerer_heartbeat": MetricSpec("counter", "heartbeats", "Heartbeats of the triggerer.", ("env",)),
    "scheduler.scheduler_loop_duration": MetricSpec("timer", "ms", "One loop of the scheduler.", ("env",)),
    "scheduler.critical_section_duration": MetricSpec("timer", "ms", "Time in the scheduler's critical section.", ("env",)),
    "scheduler.tasks.starving": MetricSpec("gauge", "tasks", "Tasks without an open slot in their pool.", ("env",)),
    "scheduler.tasks.executable": MetricSpec("gauge", "tasks", "Tasks ready to be queued.", ("env",)),
    "scheduler.dagruns.running": MetricSpec("gauge", "runs", "Runs that are running.", ("env",)),
    "executor.open_slots": MetricSpec("gauge", "slots", "Open slots of the executor.", ("env",)),
    "executor.queued_tasks": MetricSpec("gauge", "tasks", "Tasks queued on the executor.", ("env",)),
    "executor.running_tasks": MetricSpec("gauge", "tasks", "Tasks running on the executor.", ("env",)),
    "pool.open_slots": MetricSpec("gauge", "slots", "Open slots of a pool.", ("pool_name", "env")),
    "pool.running_slots": MetricSpec("gauge", "slots", "Slots of a pool in use.", ("pool_name", "env")),
    "pool.queued_slots": MetricSpec("gauge", "slots", "Slots of a pool taken by queued tasks.", ("pool_name", "env")),
    "triggers.running": MetricSpec("gauge", "triggers", "Triggers running on a triggerer.", ("hostname", "env")),
    "triggerer.capacity_left": MetricSpec("gauge", "triggers", "Triggers that a triggerer could still take.", ("hostname", "env")),
    "dag_processing.total_parse_time": MetricSpec("gauge", "s", "Time to parse all DAG files once.", ("env",)),
    # Airflow's registry says milliseconds; its dag processor sends seconds.
    "dag_processing.last_duration": MetricSpec("timer", "s", "Time to parse one DAG file.", ("bundle_name", "file_name", "env")),
    "dag_processing.import_errors": MetricSpec("gauge", "files", "DAG files with an import error.", ("env",)),
    "dag_processing.file_path_queue_size": MetricSpec("gauge", "files", "DAG files waiting to be parsed.", ("env",)),
    "dagbag_size": MetricSpec("gauge", "DAGs", "DAGs found by the last scan.", ("env",)),
    "dagrun.schedule_delay": MetricSpec("timer", "ms", "From when a run was due to its start.", ("dag_id", "env")),
    "dagrun.first_task_scheduling_delay": MetricSpec("timer", "ms", "From when a run was due to its first task's start.", _DAG_RUN),
    "dagrun.first_task_start_delay": MetricSpec("timer", "ms", "From a run's queueing to its first task's start.", _DAG_RUN),
    "task.scheduled_duration": MetricSpec("timer", "ms", "Time a task waited to be queued.", _TRIED),
}
"""Airflow's own metrics that our boards and rules use, named as its registry names them."""

_BY = {
    "contrail.task.started": ("dag_id",),
    "contrail.task.attempts": ("dag_id", "state", "cause"),
    "contrail.task.outcomes": ("dag_id", "state", "cause"),
    "contrail.task.duration_ms": ("dag_id",),
    "contrail.dag_run.outcomes": ("dag_id", "state"),
    "contrail.dag_run.duration_ms": ("dag_id",),
    "contrail.step.rows_in": ("dag_id",),
    "contrail.step.rows_out": ("dag_id",),
    "contrail.step.rows_rejected": ("dag_id",),
    "contrail.step.watermark_age_ms": ("dag_id",),
    "contrail.rows.rejected": ("dag_id", "rule"),
    "contrail.task.stuck": ("dag_id",),
    "contrail.dag_run.overdue": ("dag_id",),
    "contrail.dag_run.stuck": ("dag_id",),
    "contrail.dag.vanished": ("dag_id",),
    "contrail.dag.auto_paused": ("dag_id",),
    "contrail.deadline.missed": ("dag_id",),
    "contrail.component.heartbeat_age_ms": ("component",),
    "contrail.component.silent": ("component",),
    "contrail.channel.broken": ("channel",),
    "contrail.incident.opened": ("severity", "cause"),
    "contrail.incident.open": ("severity",),
    "contrail.notification.deliveries": ("channel", "delivery"),
    "contrail.notification.latency_ms": ("channel",),
    "contrail.relay.records": ("sink", "result"),
    "contrail.relay.lag_bytes": ("sink",),
    "contrail.relay.lag_ms": ("sink",),
    "contrail.sink.failed": ("sink",),
    "contrail.telemetry.losses": ("stage",),
    "dagrun.schedule_delay": ("dag_id",),
    "pool.open_slots": ("pool_name",),
    "pool.running_slots": ("pool_name",),
    "pool.queued_slots": ("pool_name",),
    "dag_processing.last_duration": ("file_name",),
}
DIMENSIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    name: (("env",), *(("env", tag) for tag in _BY.get(name, ()))) for name in (*METRICS, *AIRFLOW_METRICS)
}
"""CloudWatch: the sets of tags under which each metric is sent as dimensions (the tag's name is the dimension's).

A metric that is not here is not sent: CloudWatch bills each combination of values. A set is left out where the
series lacks one of its tags; ``env`` is always known.
"""


class MetricUse(Struct, frozen=True):
    """The metric that an event feeds, and from which of its fields (None: one, the event itself).

    ``scale`` turns the field's unit into the metric's (1e-6 from ns to ms). ``unless`` names a field and the
    value with which the event does not feed it, because another event has.
    """

    metric: str
    field: str | None = None
    scale: float = 1.0
    unless: tuple[str, str] | None = None


class IncidentKind(Struct, frozen=True):
    """A kind of thing that incidents and their memory are about.

    Observations of one kind are told apart by DAG, run, task, map index, attempt and ``subject``, the field that names
    what has no DAG id. With ``by_subject`` they are told apart by it alone, and the rest says whom it concerns.
    ``place`` is a field that tells two of one subject apart, where a document has it.
    ``runbook`` is the page of docs/runbooks/ that says what to do.
    """

    description: str
    subject: str = ""
    by_subject: bool = False
    place: str = ""
    runbook: str = "task-failed"


INCIDENT_KINDS: dict[str, IncidentKind] = {
    "task": IncidentKind("A task, by its attempt."),
    "run": IncidentKind("A DAG run.", runbook="dag-run-failed"),
    "stuck": IncidentKind("A task or run that waits, and nothing takes it.", runbook="task-stuck"),
    "overdue": IncidentKind("A scheduled run that has not begun.", runbook="run-overdue"),
    "dag": IncidentKind("A DAG that is gone.", runbook="dag-vanished"),
    "paused": IncidentKind("A DAG that Airflow paused.", runbook="dag-auto-paused"),
    "import": IncidentKind("A DAG file that does not parse.", "log.file.path", by_subject=True, runbook="dag-import-failed"),
    "data": IncidentKind("An input whose columns changed.", "etl.table", runbook="schema-drifted"),
    "deadline": IncidentKind("A deadline.", "deadline.name", runbook="deadline-missed"),
    "component": IncidentKind("A component of Airflow or ours.", "airflow.component", by_subject=True, place="airflow.hostname", runbook="component-silent"),
    "delivery": IncidentKind("A channel that takes no messages.", "notification.channel", by_subject=True, runbook="notification-failed"),
    "rules": IncidentKind("The file of alert rules.", "log.file.path", by_subject=True, runbook="rules-broken"),
    "rule": IncidentKind("A rule of Kibana that fired.", "rule.id"),
    "telemetry": IncidentKind("Observations that were lost.", "telemetry.stage", by_subject=True, runbook="telemetry-lost"),
    "sink": IncidentKind("A sink that takes no records from a relay, or refuses some.", "telemetry.stage", by_subject=True, runbook="sink-failed"),
    "canary": IncidentKind("The canary.", by_subject=True, runbook="canary-silent"),
    "rows": IncidentKind("Rows of a step; remembered, never an incident.", "etl.step"),
    "asset": IncidentKind("Updates of an asset; remembered, never an incident.", "airflow.asset"),
}


class IncidentUse(Struct, frozen=True):
    """The effect of an event on an incident of ``kind``, a key of INCIDENT_KINDS.

    ``firing``: it is wrong, for good. ``suspected``: to be confirmed by Airflow. ``attempt``: will be tried again.
    ``warned``: not wrong yet. ``resolved``: what was wrong is right. ``noted``: worth remembering, nothing wrong.
    ``elsewhere``: a process that saw it emits it too, so the watcher leaves it some time to do so.
    """

    kind: str
    status: Status
    elsewhere: bool = False


class EventSpec(Struct, frozen=True):
    """The consequences of an event: its data stream, log line, metrics, and what it says of an incident.

    ``message`` is a ``str.format_map`` template over the event's document, with ``.`` as ``_``.
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
        "etl.event", "error", "failure", "Task failed for good: {airflow_cause}: {event_reason}",
        "A task failed and will not be tried again.", _FAILURE, _OUTCOME, alert="error",
        incident=IncidentUse("task", "firing", elsewhere=True),
    ),
    "task.retried": EventSpec(
        "etl.event", "warning", "failure", "Attempt {airflow_try_number} failed and will be retried: {airflow_cause}: {event_reason}",
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
        "etl.event", "info", "unknown", "Run began", "A DAG run began.", ("airflow.state", "airflow.upstream"),
        (MetricUse("contrail.dag_run.started"),), log=False,
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
        "etl.event", "warning", "unknown", "Columns of {etl_table} changed: +{etl_columns_added} -{etl_columns_removed}",
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
        "airflow.audit", "info", "unknown", "{user_name}: {airflow_audit_event}",
        "A person, or a program in their name, did something that stands in Airflow's event log.",
        ("user.name", "airflow.audit_event", "airflow.audit_extra", "event.category", "event.type"),
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
