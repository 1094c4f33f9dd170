"""Run and task: what happened in one run, down to the lines of the log."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Panel, Quiet, Row
from observability.dashboards.signals import events

_ATTEMPTS = Row(
    "What happened?",
    "Choose a DAG and a run above. Each row of the table is one attempt, the newest first, and links to its page in "
    "Airflow.",
    (
        Panel(
            key="timeline",
            title="Attempts by the time they ended",
            kind="bars",
            by=("event.action",),
            size=(48, 8),
            questions=(events("Attempts", *shared.ATTEMPT_ENDS),),
        ),
        Panel(key="attempts", title="Attempts", kind="search", saved="attempts", size=(48, 14)),
    ),
)

_DATA = Row(
    "What did it do to the data?",
    "Rows read, written and rejected by each measured step, and the memory that each task needed.",
    (
        Panel(
            key="rows",
            title="Rows by step",
            kind="table",
            top=20,
            by=("airflow.task_id", "etl.step", "etl.table"),
            size=(32, 10),
            questions=(
                events("Rows in", "step.measured", aggregate="sum", field="etl.rows_in"),
                events("Rows out", "step.measured", aggregate="sum", field="etl.rows_out"),
                events("Rejected", "step.measured", aggregate="sum", field="etl.rows_rejected"),
                events("Bytes", "step.measured", aggregate="sum", field="etl.bytes"),
                events("Slowest", "step.measured", aggregate="max", field="event.duration"),
            ),
        ),
        Panel(
            key="memory",
            title="Peak memory",
            kind="ranking",
            by=("airflow.task_id",),
            size=(16, 10),
            questions=(events("Peak memory", *shared.ATTEMPT_ENDS, aggregate="max", field="airflow.peak_rss"),),
        ),
    ),
)

_ERROR = Row(
    "What went wrong?",
    "The error with the last frame of your own code, then the log itself.",
    (
        Panel(
            key="errors",
            title="Errors",
            kind="table",
            size=(48, 8),
            quiet=shared.NO_FAILURE,
            top=20,
            by=("airflow.task_id", "airflow.cause", "error.type", "error.frame"),
            questions=(events("Times", *shared.BAD_ATTEMPTS), shared.LAST_SEEN),
        ),
        Panel(
            key="died",
            title="Processes that died",
            kind="table",
            by=("airflow.task_id", "airflow.signal"),
            questions=(
                events("Times", "task.killed"),
                events("Exit code", "task.killed", aggregate="max", field="process.exit_code"),
                events("Peak memory", "task.killed", aggregate="max", field="airflow.peak_rss"),
            ),
            size=(48, 6),
            quiet=Quiet("No process died without a word.", ("task.killed",)),
        ),
        Panel(key="log", title="Log lines", kind="search", saved="task-log", size=(48, 18)),
    ),
)

RUN = Board(
    "run",
    "Contrail: run and task",
    "One run: attempts, data, error, log.",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.RUN_ID, shared.TASK_ID),
    (_ATTEMPTS, _DATA, _ERROR),
    since="now-7d",
)
