"""Logs: where errors come from, and searches with useful columns."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Control, Panel, Quiet, Row, Saved
from observability.dashboards.signals import logs

_BAD = (("level", ("error", "critical")),)

_LINES = Row(
    "Who says what?",
    "Lines of tasks and of Airflow's own components by level; the search below takes the same filters. Open "
    "it in Discover to go on.",
    (
        Panel(
            key="levels", title="Lines by level", kind="bars", by=("level",), questions=(logs("Lines"),), size=(24, 10)
        ),
        Panel(
            key="components",
            title="Lines by component",
            kind="donut",
            by=("airflow.component",),
            questions=(logs("Lines"),),
            size=(24, 10),
        ),
        Panel(
            key="loggers",
            title="Errors by logger",
            kind="ranking",
            by=("logger",),
            questions=(logs("Errors", where=_BAD),),
            size=(48, 9),
            quiet=Quiet("Nobody logged an error.", ("task.failed",)),
        ),
        Panel(key="lines", title="Lines", kind="search", saved="logs", size=(48, 20)),
    ),
)

LOGS = Board(
    "logs",
    "Contrail: logs",
    "Lines of tasks and components.",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.TASK_ID, Control("Component", "airflow.component")),
    (_LINES,),
    since="now-1h",
)

SAVED = (
    Saved(
        "attempts",
        "Contrail: attempts",
        "events",
        (
            "airflow.dag_id",
            "airflow.task_id",
            "airflow.map_index",
            "airflow.try_number",
            "airflow.state",
            "event.duration",
            "airflow.peak_rss",
            "airflow.cpu_time",
            "process.exit_code",
            "airflow.run_path",
            "airflow.run_id",
        ),
        (("event.action", shared.ATTEMPT_ENDS),),
    ),
    Saved(
        "incidents",
        "Contrail: incidents",
        "events",
        (
            "incident.severity",
            "event.action",
            "incident.title",
            "airflow.cause",
            "incident.count",
            "airflow.dag_id",
            "airflow.run_path",
            "incident.runbook",
        ),
        (("event.action", shared.INCIDENT_STATES),),
    ),
    Saved(
        "audit",
        "Contrail: who did what",
        "audit",
        (
            "user.name",
            "airflow.audit_event",
            "event.outcome",
            "event.category",
            "airflow.dag_id",
            "airflow.task_id",
            "airflow.run_path",
            "airflow.audit_extra",
        ),
        (("event.action", ("audit.recorded",)),),
    ),
    Saved(
        "logs",
        "Contrail: all logs",
        "logs",
        ("level", "airflow.component", "airflow.dag_id", "airflow.task_id", "airflow.run_path", "event"),
    ),
    Saved(
        "task-log",
        "Contrail: task logs",
        "logs",
        ("level", "airflow.task_id", "airflow.try_number", "logger", "event"),
        (("airflow.component", ("task",)),),
    ),
    Saved(
        "errors",
        "Contrail: errors in logs",
        "logs",
        ("airflow.component", "airflow.dag_id", "airflow.task_id", "logger", "event"),
        _BAD,
    ),
    Saved(
        "failures",
        "Contrail: failures",
        "events",
        (
            "event.action",
            "airflow.dag_id",
            "airflow.task_id",
            "airflow.cause",
            "event.reason",
            "error.frame",
            "airflow.run_path",
        ),
        (("event.action", (*shared.BAD_ATTEMPTS, "task.killed", "dag_run.failed", "dag.import_failed")),),
    ),
)
"""Searches that are opened by name, and stand in panels."""
