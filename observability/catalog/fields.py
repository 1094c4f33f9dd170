"""Every field of a document."""

from __future__ import annotations

from msgspec import Struct

from observability.catalog.vocabulary import FieldType

__all__ = ["FIELDS", "FieldSpec"]


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
    "airflow.schedule_delay": FieldSpec("long", "From when the clock wanted a run to its start; none for catch-up, backfill, reruns and by hand.", "ns"),
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
