"""Every metric, ours and those of Airflow that boards and rules use, with its tags and its dimensions in CloudWatch."""

from __future__ import annotations

from msgspec import Struct

from observability.catalog.vocabulary import MetricType

__all__ = ["AIRFLOW_METRICS", "DIMENSIONS", "METRICS", "TAGS", "MetricSpec"]


class MetricSpec(Struct, frozen=True):
    """A metric: StatsD type, unit, meaning, the tags it may carry, and the first Airflow that sends it (empty: each)."""

    type: MetricType
    unit: str
    description: str
    tags: tuple[str, ...]
    since: str = ""


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
    "exception_class": "error.type",
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
    "contrail.dag_run.schedule_delay_ms": MetricSpec("timer", "ms", "From when the clock wanted a run to its start, without catch-up and backfill.", ("dag_id", "env")),
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
    "contrail.component.processes": MetricSpec("gauge", "processes", "Processes of a component on a host.", ("component", "env")),
    "contrail.component.cpu_ms": MetricSpec("counter", "ms", "Processor time of a component's processes.", ("component", "env")),
    "contrail.component.memory_bytes": MetricSpec("gauge", "bytes", "Resident memory of a component's processes; what they share counts in each.", ("component", "env")),
    "contrail.component.open_files": MetricSpec("gauge", "descriptors", "Open descriptors of a component's processes.", ("component", "env")),
    "contrail.component.cgroup_memory_bytes": MetricSpec("gauge", "bytes", "Memory of a component's cgroup; of component `shared` where several are in one.", ("component", "env")),
    "contrail.component.memory_limit_bytes": MetricSpec("gauge", "bytes", "Memory limit of a component's cgroup, where it has one.", ("component", "env")),
    "contrail.component.oom_kills": MetricSpec("counter", "kills", "Processes of a component's cgroup that the kernel killed for memory.", ("component", "env")),
    "contrail.component.throttled_ms": MetricSpec("counter", "ms", "Time for which a component's cgroup was denied the processor.", ("component", "env")),
    "contrail.database.up": MetricSpec("gauge", "servers", "1 while Airflow's database answers the relay, else 0.", ("env",)),
    "contrail.database.latency_ms": MetricSpec("timer", "ms", "From the connection to the answer of Airflow's database.", ("env",)),
    "contrail.database.connections": MetricSpec("gauge", "sessions", "Sessions of the database's server: active, idle, idle_in_transaction, other.", ("state", "env")),
    "contrail.database.connections_limit": MetricSpec("gauge", "sessions", "Sessions that the database's server takes (max_connections).", ("env",)),
    "contrail.database.blocked": MetricSpec("gauge", "sessions", "Sessions that wait for a lock.", ("env",)),
    "contrail.database.oldest_transaction_ms": MetricSpec("gauge", "ms", "Age of the oldest open transaction.", ("env",)),
    "contrail.database.size_bytes": MetricSpec("gauge", "bytes", "Size of Airflow's database.", ("env",)),
    "contrail.database.transactions": MetricSpec("counter", "transactions", "Transactions of Airflow's database: committed, rolled_back.", ("state", "env")),
    "contrail.database.deadlocks": MetricSpec("counter", "deadlocks", "Deadlocks in Airflow's database.", ("env",)),
    "contrail.broker.up": MetricSpec("gauge", "servers", "1 while Celery's broker answers the relay, else 0.", ("env",)),
    "contrail.broker.latency_ms": MetricSpec("timer", "ms", "From the connection to the answer of Celery's broker.", ("env",)),
    "contrail.broker.clients": MetricSpec("gauge", "clients", "Clients that are connected to the broker.", ("env",)),
    "contrail.broker.memory_bytes": MetricSpec("gauge", "bytes", "Memory of the broker's data.", ("env",)),
    "contrail.broker.memory_limit_bytes": MetricSpec("gauge", "bytes", "Memory that the broker may use (maxmemory); 0: no limit.", ("env",)),
    "contrail.broker.evicted_keys": MetricSpec("counter", "keys", "Keys that the broker threw away for want of memory.", ("env",)),
    "contrail.broker.rejected_connections": MetricSpec("counter", "connections", "Connections that the broker refused because it had too many.", ("env",)),
    "contrail.broker.commands": MetricSpec("counter", "commands", "Commands that the broker carried out.", ("env",)),
    "contrail.queue.length": MetricSpec("gauge", "messages", "Messages that wait in a queue of Celery for a worker.", ("queue", "env")),
    "contrail.queue.unacknowledged": MetricSpec("gauge", "messages", "Messages that a worker of Celery has taken and not acknowledged.", ("env",)),
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
    "scheduler.dagruns.queued": MetricSpec("gauge", "runs", "Runs that wait to begin.", ("env",), "3.4"),
    "scheduler.loop_exceptions": MetricSpec("counter", "errors", "Errors that ended the scheduler's loop.", ("exception_class", "env"), "3.4"),
    "scheduler.executor_events.failed": MetricSpec("counter", "errors", "Errors over what the executor said of its tasks.", ("exception_class", "env"), "3.4"),
    "scheduler.zombies.detected": MetricSpec("counter", "attempts", "Attempts whose heartbeat stopped.", ("env",), "3.4"),
    "deadline_alerts.deadline_creation_failed": MetricSpec("counter", "deadlines", "Deadlines of runs that could not be made, so that nobody will hear of them.", ("dag_id", "env"), "3.4"),
    "executor.open_slots": MetricSpec("gauge", "slots", "Open slots of the executor.", ("env",)),
    "executor.queued_tasks": MetricSpec("gauge", "tasks", "Tasks queued on the executor.", ("env",)),
    "executor.running_tasks": MetricSpec("gauge", "tasks", "Tasks running on the executor.", ("env",)),
    "pool.open_slots": MetricSpec("gauge", "slots", "Open slots of a pool.", ("pool_name", "env")),
    "pool.running_slots": MetricSpec("gauge", "slots", "Slots of a pool in use.", ("pool_name", "env")),
    "pool.queued_slots": MetricSpec("gauge", "slots", "Slots of a pool taken by queued tasks.", ("pool_name", "env")),
    "triggers.running": MetricSpec("gauge", "triggers", "Triggers running on a triggerer.", ("hostname", "env")),
    "triggerer.capacity_left": MetricSpec("gauge", "triggers", "Triggers that a triggerer could still take.", ("hostname", "env")),
    "triggerer.trigger_queue_delay": MetricSpec("timer", "ms", "Time a trigger waited in a triggerer to be started.", ("env",), "3.4"),
    "dag_processing.total_parse_time": MetricSpec("gauge", "s", "Time to parse all DAG files once.", ("env",)),
    # Airflow's registry says milliseconds; its dag processor sends seconds.
    "dag_processing.last_duration": MetricSpec("timer", "s", "Time to parse one DAG file.", ("bundle_name", "file_name", "env")),
    "dag_processing.import_errors": MetricSpec("gauge", "files", "DAG files with an import error.", ("env",)),
    "dag_processing.file_path_queue_size": MetricSpec("gauge", "files", "DAG files waiting to be parsed.", ("env",)),
    "dag.serialization.version_created": MetricSpec("counter", "versions", "New versions of a DAG.", ("dag_id", "bundle_name", "env"), "3.4"),
    "dagbag_size": MetricSpec("gauge", "DAGs", "DAGs found by the last scan.", ("env",)),
    "dagrun.first_task_scheduling_delay": MetricSpec("timer", "ms", "From when a run was due to its first task's start.", _DAG_RUN),
    "dagrun.first_task_start_delay": MetricSpec("timer", "ms", "From a run's queueing to its first task's start.", _DAG_RUN),
    "task.scheduled_duration": MetricSpec("timer", "ms", "Time a task waited to be queued.", _TRIED),
    "task.queued_duration": MetricSpec("timer", "ms", "Time a queued task waited for its process.", _TRIED, "3.4"),
}
"""Airflow's own metrics that our boards and rules use, named as its registry names them."""

_BY = {
    "contrail.task.started": ("dag_id",),
    "contrail.task.attempts": ("dag_id", "state", "cause"),
    "contrail.task.outcomes": ("dag_id", "state", "cause"),
    "contrail.task.duration_ms": ("dag_id",),
    "contrail.dag_run.outcomes": ("dag_id", "state"),
    "contrail.dag_run.schedule_delay_ms": ("dag_id",),
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
    "contrail.component.processes": ("component",),
    "contrail.component.cpu_ms": ("component",),
    "contrail.component.memory_bytes": ("component",),
    "contrail.component.cgroup_memory_bytes": ("component",),
    "contrail.component.memory_limit_bytes": ("component",),
    "contrail.component.oom_kills": ("component",),
    "contrail.database.connections": ("state",),
    "contrail.queue.length": ("queue",),
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
    "pool.open_slots": ("pool_name",),
    "pool.running_slots": ("pool_name",),
    "pool.queued_slots": ("pool_name",),
    "dag_processing.last_duration": ("file_name",),
    "dag.serialization.version_created": ("dag_id",),
}
DIMENSIONS: dict[str, tuple[tuple[str, ...], ...]] = {
    name: (("env",), *(("env", tag) for tag in _BY.get(name, ()))) for name in (*METRICS, *AIRFLOW_METRICS)
}
"""CloudWatch: the sets of tags under which each metric is sent as dimensions (the tag's name is the dimension's).

A metric that is not here is not sent: CloudWatch bills each combination of values. A set is left out where the
series lacks one of its tags; ``env`` is always known.
"""
