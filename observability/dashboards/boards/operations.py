"""Operations overview: is it healthy now, and if not, where."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Panel, Quiet, Row
from observability.dashboards.signals import events, metric

_NOW = Row(
    "Is it healthy now?",
    "Green: nothing to do. Amber: look today. Red: look now; a click on a bar further down opens the DAG.",
    (
        Panel(
            key="runs-failed",
            quiet=shared.NO_FAILED_RUN,
            title="Failed runs",
            kind="number",
            questions=(shared.RUNS_FAILED,),
            limits=(1, 5),
            size=(8, 6),
        ),
        Panel(
            key="failed-share",
            title="Failed share of tasks",
            kind="number",
            questions=(shared.FAILED_SHARE,),
            limits=(0.02, 0.1),
            size=(8, 6),
        ),
        Panel(
            key="retries",
            quiet=shared.NO_RETRY,
            title="Attempts retried",
            kind="number",
            questions=(shared.RETRIES,),
            limits=(10, 50),
            size=(8, 6),
        ),
        Panel(
            key="deadlines-missed",
            quiet=shared.NO_MISSED,
            title="Deadlines missed",
            kind="number",
            limits=(1, 3),
            size=(8, 6),
            questions=(events("Missed", "deadline.missed", series=metric("Missed", "contrail.deadline.missed")),),
        ),
        Panel(
            key="incidents-opened",
            quiet=shared.NO_INCIDENT,
            title="Incidents opened",
            kind="number",
            limits=(1, 5),
            size=(8, 6),
            questions=(events("Opened", "incident.opened", series=metric("Opened", "contrail.incident.opened")),),
        ),
        Panel(
            key="losses",
            title="Observations lost",
            kind="number",
            limits=(1, 100),
            size=(8, 6),
            quiet=shared.NO_LOSS,
            questions=(shared.LOST,),
        ),
    ),
)

_FAILING = Row(
    "What is failing?",
    "Outcomes over time, then the causes, DAGs and tasks behind the red. Outcomes count a task "
    "once, by its last attempt; the lists count each attempt that failed, also one that was retried.",
    (
        Panel(
            key="run-outcomes",
            title="Run outcomes",
            kind="bars",
            questions=(shared.RUNS,),
            by=("event.outcome",),
        ),
        Panel(
            key="task-outcomes",
            title="Task outcomes",
            kind="bars",
            questions=(shared.TASKS,),
            by=("airflow.state",),
        ),
        Panel(
            key="failing-dags",
            title="Failed attempts by DAG",
            kind="ranking",
            by=("airflow.dag_id",),
            opens="dag",
            questions=(events("Failed attempts", *shared.BAD_ATTEMPTS),),
            quiet=shared.NO_FAILURE,
            size=(14, 12),
        ),
        Panel(
            key="causes",
            title="Causes",
            kind="donut",
            by=("airflow.cause",),
            size=(10, 12),
            quiet=shared.NO_FAILURE,
            questions=(events("Failed attempts", *shared.BAD_ATTEMPTS),),
        ),
        Panel(
            key="failing-tasks",
            title="Failed attempts by task",
            kind="table",
            by=("airflow.dag_id", "airflow.task_id"),
            top=20,
            questions=(events("Failed attempts", *shared.BAD_ATTEMPTS), shared.LAST_SEEN),
            quiet=shared.NO_FAILURE,
            opens="run",
            size=(24, 12),
        ),
    ),
)

_LATE = Row(
    "What is late, and what is silent?",
    "Deadlines missed or near; what never began, is stuck, paused or gone; each DAG's last good run, the oldest first.",
    (
        Panel(
            key="deadlines",
            title="Deadlines",
            kind="bars",
            by=("event.action",),
            quiet=shared.NO_LATE,
            size=(24, 10),
            questions=(
                events("Deadlines", "deadline.missed", "deadline.approached", "deadline.recovered", "deadline.kept"),
            ),
        ),
        Panel(
            key="overdue",
            title="Late by deadline",
            kind="table",
            by=("airflow.dag_id", "deadline.name"),
            quiet=shared.NO_LATE,
            questions=(
                events("Missed", "deadline.missed"),
                events("Most late", "deadline.missed", aggregate="max", field="deadline.lateness"),
            ),
            size=(24, 10),
        ),
        Panel(
            key="standing",
            title="What does not move",
            kind="table",
            by=("airflow.dag_id", "event.action"),
            quiet=shared.NO_STANDSTILL,
            size=(20, 10),
            questions=(
                events("Times", *shared.STANDSTILLS),
                events("Last", *shared.STANDSTILLS, aggregate="max", field="@timestamp"),
            ),
        ),
        Panel(
            key="moving",
            title="What goes on again",
            kind="table",
            by=("airflow.dag_id", "event.action"),
            quiet=shared.NO_GOING_ON,
            size=(16, 10),
            questions=(
                events("Times", *shared.GOING_ON),
                events("Last", *shared.GOING_ON, aggregate="max", field="@timestamp"),
            ),
        ),
        Panel(
            key="silent",
            title="Last good run",
            kind="table",
            by=("airflow.dag_id",),
            opens="dag",
            sort=1,
            rising=True,
            questions=(
                events("Good runs", "dag_run.succeeded"),
                events("Last good run", "dag_run.succeeded", aggregate="max", field="@timestamp"),
            ),
            size=(12, 10),
        ),
    ),
)

_AIRFLOW = Row(
    "Is Airflow itself well?",
    "This row and the next are about the installation; the lists above apply to the scheduling delay alone. "
    "A component's heartbeat older than a minute means that it hangs or is gone.",
    (
        Panel(
            key="heartbeat-age",
            title="Age of the last heartbeat",
            kind="line",
            by=("airflow.component",),
            alone=True,
            questions=(metric("Age", "contrail.component.heartbeat_age_ms"),),
            line=(shared.MINUTE_MS, "1 min"),
            size=(16, 10),
        ),
        Panel(
            key="heartbeats",
            title="Heartbeats",
            kind="line",
            alone=True,
            size=(16, 10),
            questions=(
                metric("Scheduler", "scheduler_heartbeat"),
                metric("Dag processor", "dag_processor_heartbeat"),
                metric("Triggerer", "triggerer_heartbeat"),
            ),
        ),
        Panel(
            key="pools",
            title="Open slots by pool",
            kind="line",
            by=("airflow.pool",),
            alone=True,
            size=(16, 10),
            questions=(metric("Open slots", "pool.open_slots", aggregate="min"),),
        ),
        Panel(
            key="queue",
            title="Executor",
            kind="line",
            alone=True,
            size=(16, 10),
            questions=(
                metric("Queued", "executor.queued_tasks"),
                metric("Running, busiest pool", "pool.running_slots"),
                metric("Starving", "scheduler.tasks.starving"),
            ),
        ),
        Panel(
            key="schedule-delay",
            title="Scheduling delay",
            kind="line",
            by=("airflow.dag_id",),
            size=(16, 10),
            questions=(
                events(
                    "Delay, p95",
                    "dag_run.started",
                    aggregate="p95",
                    field="airflow.schedule_delay",
                    series=metric("Delay, p95", "contrail.dag_run.schedule_delay_ms"),
                ),
            ),
            note="Of runs that the clock starts: catch-up, backfill and reruns are late by design.",
            quiet=Quiet("No run was started by the clock.", ("dag_run.started",)),
        ),
        Panel(
            key="waiting-time",
            title="Waiting to be queued, and to start",
            note="From queued to started is told by Airflow from 3.4 on.",
            kind="line",
            alone=True,
            size=(16, 10),
            questions=(
                metric("Task, p95", "task.scheduled_duration"),
                metric("Queued task, p95", "task.queued_duration"),
                metric("Run's first task, p95", "dagrun.first_task_start_delay"),
            ),
        ),
    ),
)

_TELEMETRY = Row(
    "Can I believe this page?",
    "Telemetry about the telemetry: a canary's round trip, the relay's backlog, and everything that was lost, "
    "with its reason.",
    (
        Panel(
            key="canary",
            quiet=shared.NO_CANARY,
            title="Canary's way to the store",
            kind="line",
            alone=True,
            size=(12, 8),
            questions=(metric("Round trip", "contrail.canary.age_ms"),),
            line=(20 * shared.MINUTE_MS, "20 min"),
        ),
        Panel(
            key="lag",
            title="Age of the oldest record not sent",
            kind="line",
            by=("telemetry.sink",),
            alone=True,
            size=(12, 8),
            questions=(metric("Age", "contrail.relay.lag_ms"),),
        ),
        Panel(
            key="records",
            title="Records by result",
            kind="line",
            note="Emitted and stored should lie on each other.",
            by=("telemetry.result",),
            alone=True,
            size=(12, 8),
            questions=(metric("Records", "contrail.relay.records"),),
        ),
        Panel(
            key="losses-by-stage",
            title="Losses by reason",
            kind="ranking",
            by=("telemetry.stage", "telemetry.reason"),
            alone=True,
            questions=(shared.LOST,),
            size=(12, 8),
            quiet=shared.NO_LOSS,
        ),
    ),
)

OPERATIONS = Board(
    "operations",
    "Contrail: operations overview",
    "Is everything well now, and if not, where?",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.OWNER),
    (_NOW, _FAILING, _LATE, _AIRFLOW, _TELEMETRY),
)
