"""The questions that more than one board asks."""

from __future__ import annotations

from observability.dashboards.panels import Control, Quiet
from observability.dashboards.signals import Ratio, events, metric

ENVIRONMENT = Control("Environment", "service.environment")
DAG_ID = Control("DAG", "airflow.dag_id")
OWNER = Control("Owner", "airflow.owner")
RUN_ID = Control("Run", "airflow.run_id")
TASK_ID = Control("Task", "airflow.task_id")

MINUTE_MS = 60_000

RUN_ENDS = ("dag_run.succeeded", "dag_run.failed")
TASK_ENDS = ("task.succeeded", "task.failed", "task.skipped")
ATTEMPT_ENDS = (*TASK_ENDS, "task.retried")
"""One event an attempt: ``task.killed`` says how a process died, and the attempt's end is told beside it."""
STANDSTILLS = ("dag_run.overdue", "dag_run.stuck", "task.stuck", "task.removed", "dag.auto_paused", "dag.vanished")
GOING_ON = ("dag_run.unstuck", "task.unstuck", "dag.unpaused", "dag.returned")
INCIDENT_STATES = (
    "incident.opened", "incident.acknowledged", "incident.reopened", "incident.escalated", "incident.resolved",
)  # fmt: skip
BAD_ATTEMPTS = ("task.failed", "task.retried")

_FAILED = (("airflow.state", ("failed",)),)

RUNS = events("Runs", *RUN_ENDS, series=metric("Runs", "contrail.dag_run.outcomes"))
RUNS_FAILED = events(
    "Failed runs", "dag_run.failed", series=metric("Failed runs", "contrail.dag_run.outcomes", where=_FAILED)
)
TASKS = events("Tasks", *TASK_ENDS, series=metric("Tasks", "contrail.task.outcomes"))
TASKS_FAILED = events(
    "Failed tasks", "task.failed", series=metric("Failed tasks", "contrail.task.outcomes", where=_FAILED)
)
FAILED_SHARE = Ratio("Failed share", TASKS_FAILED, TASKS)
RETRIES = events("Retries", "task.retried")
LOST = events(
    "Lost", "telemetry.lost", aggregate="sum", field="telemetry.count",
    series=metric("Lost", "contrail.telemetry.losses"),
)  # fmt: skip
LAST_SEEN = events("Last", *BAD_ATTEMPTS, aggregate="max", field="@timestamp")

NO_FAILURE = Quiet("No task failed in the time shown.", ("task.failed", "task.retried", "task.killed"))
NO_FAILED_RUN = Quiet("No run failed in the time shown.", ("dag_run.failed",))
NO_RETRY = Quiet("No attempt had to be retried.", ("task.retried",))
NO_LATE = Quiet("No deadline was missed or came near.", ("deadline.missed", "deadline.approached"))
NO_MISSED = Quiet("No deadline was missed.", ("deadline.missed",))
NO_CANARY = Quiet("The canary DAG is paused, or its first round is not over.", ("canary.verified",))
NO_STANDSTILL = Quiet("Every run and task moves, and every DAG is there.", STANDSTILLS)
NO_GOING_ON = Quiet("Nothing that stood still goes on.", GOING_ON)
NO_INCIDENT = Quiet("No incident was opened.", ("incident.opened",))
NO_REJECT = Quiet("No row broke a rule.", ("rows.rejected",))
NO_LOSS = Quiet("No observation was lost.", ("telemetry.lost",))
