"""Platform: Airflow's own machinery, and ours."""

from __future__ import annotations

from dataclasses import replace

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Panel, Quiet, Row
from observability.dashboards.signals import events, metric

_FROM_3_4 = "Airflow counts this from 3.4 on."
_BROKEN = ("dag.import_failed", "dag.import_repaired")

_PARSING = Row(
    "Are DAG files parsed?",
    "A file that parses slowly delays all others; one with an import error has no runs at all.",
    (
        Panel(
            key="parse-time",
            title="Parse time by file",
            kind="line",
            by=("airflow.dag_file",),
            size=(12, 10),
            questions=(metric("p95", "dag_processing.last_duration"),),
        ),
        Panel(
            key="total-parse",
            title="Time to parse all files",
            kind="line",
            size=(12, 10),
            questions=(metric("Total", "dag_processing.total_parse_time"),),
        ),
        Panel(
            key="import-errors",
            title="Import errors and queue",
            kind="line",
            size=(12, 10),
            questions=(
                metric("Import errors", "dag_processing.import_errors"),
                metric("Waiting", "dag_processing.file_path_queue_size"),
                metric("DAGs", "dagbag_size"),
            ),
        ),
        Panel(
            key="versions",
            title="New versions by DAG",
            kind="line",
            by=("airflow.dag_id",),
            size=(12, 10),
            note="A DAG that gets one again and again is made from something that changes, such as the time.",
            questions=(metric("Versions", "dag.serialization.version_created"),),
            quiet=Quiet(f"No DAG changed. {_FROM_3_4}", ("dag.serialization.version_created",)),
        ),
        Panel(
            key="broken",
            title="Files that do not parse",
            kind="table",
            by=("log.file.path", "event.action"),
            size=(48, 7),
            questions=(
                events("Times", *_BROKEN),
                events("Last", *_BROKEN, aggregate="max", field="@timestamp"),
            ),
            quiet=Quiet("Every DAG file parses.", ("dag.import_failed",)),
        ),
    ),
)

_FAILURES = {
    "Loop ended": "scheduler.loop_exceptions",
    "Executor's events": "scheduler.executor_events.failed",
    "Heartbeats lost": "scheduler.zombies.detected",
    "Deadlines not made": "deadline_alerts.deadline_creation_failed",
}
_SCHEDULER = Row(
    "Does the scheduler keep up?",
    "A loop of more than a few seconds, no open slot, or starving tasks: work waits for the scheduler or the executor.",
    (
        Panel(
            key="loop",
            title="Scheduler loop, p95",
            kind="line",
            size=(16, 10),
            questions=(
                metric("Loop", "scheduler.scheduler_loop_duration"),
                metric("Critical section", "scheduler.critical_section_duration"),
            ),
        ),
        Panel(
            key="slots",
            title="Executor slots",
            kind="line",
            size=(16, 10),
            note="LocalExecutor always reports 0 running tasks; see the running slots by pool.",
            questions=(
                metric("Open", "executor.open_slots", aggregate="min"),
                metric("Running, if remote", "executor.running_tasks"),
                metric("Queued", "executor.queued_tasks"),
            ),
        ),
        Panel(
            key="tasks",
            title="Tasks and runs",
            kind="line",
            size=(16, 10),
            questions=(
                metric("Executable", "scheduler.tasks.executable"),
                metric("Starving", "scheduler.tasks.starving"),
                metric("Runs", "scheduler.dagruns.running"),
                metric("Runs queued", "scheduler.dagruns.queued"),
            ),
        ),
        Panel(
            key="pools",
            title="Running slots by pool",
            kind="line",
            by=("airflow.pool",),
            size=(16, 10),
            questions=(metric("Running", "pool.running_slots"),),
        ),
        Panel(
            key="pools-queued",
            title="Queued slots by pool",
            kind="line",
            by=("airflow.pool",),
            size=(16, 10),
            questions=(metric("Queued", "pool.queued_slots"),),
        ),
        Panel(
            key="triggers",
            title="Triggers",
            kind="line",
            size=(16, 10),
            questions=(
                metric("Running", "triggers.running"),
                metric("Room left", "triggerer.capacity_left", aggregate="min"),
            ),
        ),
        Panel(
            key="first-task",
            title="From due to the first task's start",
            kind="line",
            by=("airflow.dag_id",),
            size=(16, 10),
            wide_range=True,
            note="On a logarithmic axis: a DAG that catches up is late by years.",
            questions=(metric("p95", "dagrun.first_task_scheduling_delay"),),
        ),
        Panel(
            key="trigger-delay",
            title="Triggers: waiting to be started",
            kind="line",
            size=(16, 10),
            note="More than a second: the triggerer has too many triggers, or one of them blocks its loop.",
            questions=(metric("p95", "triggerer.trigger_queue_delay"),),
            quiet=Quiet(f"No trigger began. {_FROM_3_4}", ("triggerer.trigger_queue_delay",)),
        ),
        Panel(
            key="scheduler-errors",
            title="What the scheduler could not do",
            kind="line",
            size=(16, 10),
            note="An ended loop is a scheduler that stopped; a deadline that was not made is watched by nobody.",
            questions=tuple(metric(label, name) for label, name in _FAILURES.items()),
            quiet=Quiet(f"The scheduler met no error. {_FROM_3_4}", tuple(_FAILURES.values())),
        ),
        Panel(
            key="silent",
            title="Components that fell silent",
            kind="table",
            by=("airflow.component", "event.action"),
            size=(48, 7),
            questions=(
                events("Times", "component.silent", "component.recovered"),
                events("Last", "component.silent", "component.recovered", aggregate="max", field="@timestamp"),
            ),
            quiet=Quiet("Every component kept its heartbeat.", ("component.silent",)),
        ),
    ),
)

_RELAY = Row(
    "Does the telemetry flow?",
    "What the relay handled, how far behind it is, what it could not deliver. Dead letters can be sent again: "
    "contrail relay replay.",
    (
        Panel(
            key="records",
            title="Records by result",
            kind="line",
            note="Emitted and stored should lie on each other.",
            by=("telemetry.result",),
            size=(16, 10),
            questions=(metric("Records", "contrail.relay.records"),),
        ),
        Panel(
            key="lag-bytes",
            title="Backlog",
            kind="line",
            by=("telemetry.sink",),
            size=(16, 10),
            questions=(metric("Backlog", "contrail.relay.lag_bytes"),),
        ),
        Panel(
            key="lag",
            title="Age of the oldest record not sent",
            kind="line",
            by=("telemetry.sink",),
            size=(16, 10),
            questions=(metric("Age", "contrail.relay.lag_ms"),),
        ),
        Panel(
            key="relays",
            title="Relays by host",
            kind="table",
            by=("host.name",),
            top=50,
            sort=1,
            rising=True,
            note="Up is 1 while a relay runs, 0 when it was asked to end. The host that was silent longest is first.",
            size=(48, 8),
            questions=(
                metric("Up", "contrail.relay.up", aggregate="last"),
                replace(metric("Last heard of", "contrail.relay.up", aggregate="max"), field="@timestamp"),
            ),
        ),
        Panel(
            key="memory",
            title="Relay's memory",
            kind="line",
            size=(12, 8),
            questions=(metric("Memory", "contrail.relay.rss_bytes"),),
        ),
        Panel(
            key="dead",
            title="Dead letters",
            kind="line",
            by=("telemetry.sink",),
            size=(12, 8),
            questions=(metric("Dead letters", "contrail.relay.dead_letters"),),
        ),
        Panel(
            key="losses",
            title="Losses by reason",
            kind="ranking",
            by=("telemetry.stage", "telemetry.reason"),
            size=(12, 8),
            questions=(shared.LOST,),
            quiet=shared.NO_LOSS,
        ),
        Panel(
            key="folded",
            title="Series folded together",
            kind="line",
            size=(12, 8),
            questions=(metric("Folded", "contrail.telemetry.folded_series"),),
            quiet=Quiet("No metric has more series than its budget.", ("contrail.telemetry.folded_series",)),
        ),
        Panel(
            key="canary",
            quiet=shared.NO_CANARY,
            title="Canaries",
            kind="table",
            by=("event.action",),
            size=(24, 8),
            questions=(
                events("Rounds", "canary.verified", "canary.missing"),
                events("Slowest", "canary.verified", "canary.missing", aggregate="max", field="event.duration"),
                events("Last", "canary.verified", "canary.missing", aggregate="max", field="@timestamp"),
            ),
        ),
        Panel(
            key="lost",
            title="What was lost",
            kind="table",
            by=("telemetry.stage", "telemetry.reason"),
            size=(24, 8),
            questions=(
                events("Lost", "telemetry.lost", aggregate="sum", field="telemetry.count"),
                events("Reports", "telemetry.lost"),
            ),
            quiet=shared.NO_LOSS,
        ),
    ),
)

_UNREAD = "Read only where [relay] component_metrics names it."
_SERVERS = Row(
    "Does Airflow have what it stands on?",
    "Components, their cgroups, the database and queues, where [relay] component_metrics asks for them. Look first "
    "where sessions near their limit or a queue grows.",
    (
        Panel(
            key="cpu",
            title="Processor time by component",
            kind="line",
            by=("airflow.component",),
            size=(16, 10),
            questions=(metric("Spent", "contrail.component.cpu_ms"),),
            quiet=Quiet(_UNREAD, ("contrail.component.cpu_ms",)),
        ),
        Panel(
            key="rss",
            title="Memory by component",
            kind="line",
            by=("airflow.component",),
            size=(16, 10),
            questions=(metric("Resident", "contrail.component.memory_bytes"),),
            quiet=Quiet(_UNREAD, ("contrail.component.memory_bytes",)),
        ),
        Panel(
            key="cgroup-memory",
            title="Memory of cgroups",
            kind="line",
            by=("airflow.component",),
            note="What the kernel counts for the cgroup of a component. One of several components is called shared.",
            size=(16, 10),
            questions=(metric("Used", "contrail.component.cgroup_memory_bytes"),),
            quiet=Quiet(_UNREAD, ("contrail.component.cgroup_memory_bytes",)),
        ),
        Panel(
            key="cgroup-kills",
            title="Killed by the kernel for memory",
            kind="line",
            size=(16, 10),
            questions=(metric("Processes", "contrail.component.oom_kills"),),
            quiet=Quiet(_UNREAD, ("contrail.component.oom_kills",)),
        ),
        Panel(
            key="cgroup-throttled",
            title="Held back by a CPU limit",
            kind="line",
            size=(16, 10),
            questions=(metric("Time", "contrail.component.throttled_ms"),),
            quiet=Quiet(_UNREAD, ("contrail.component.throttled_ms",)),
        ),
        Panel(
            key="queues",
            title="Messages waiting by queue",
            kind="line",
            by=("airflow.queue",),
            size=(16, 10),
            questions=(metric("Waiting", "contrail.queue.length"),),
            quiet=Quiet(_UNREAD, ("contrail.queue.length",)),
        ),
        Panel(
            key="sessions",
            title="Sessions of the database",
            kind="line",
            by=("airflow.state",),
            size=(16, 10),
            questions=(metric("Sessions", "contrail.database.connections"),),
            quiet=Quiet(_UNREAD, ("contrail.database.connections",)),
        ),
        Panel(
            key="transactions",
            title="Database: answer and oldest transaction",
            kind="line",
            size=(16, 10),
            wide_range=True,
            questions=(
                metric("Answer, p95", "contrail.database.latency_ms"),
                metric("Oldest transaction", "contrail.database.oldest_transaction_ms"),
            ),
            quiet=Quiet(_UNREAD, ("contrail.database.latency_ms",)),
        ),
        Panel(
            key="servers",
            title="Servers that answer",
            kind="line",
            note="1 while the server answers the relay, 0 while it does not.",
            size=(16, 10),
            questions=(
                metric("Database", "contrail.database.up", aggregate="min"),
                metric("Broker", "contrail.broker.up", aggregate="min"),
            ),
            quiet=Quiet(_UNREAD, ("contrail.database.up", "contrail.broker.up")),
        ),
    ),
)

PLATFORM = Board(
    "platform",
    "Contrail: platform",
    "Airflow's own machinery, and ours.",
    (shared.ENVIRONMENT,),
    (_PARSING, _SCHEDULER, _SERVERS, _RELAY),
)
