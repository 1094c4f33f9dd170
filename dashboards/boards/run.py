"""Run and task: what happened in one run, down to the lines of the log."""

from __future__ import annotations

from dashboards.boards import asked
from dashboards.panels import Board, Panel, Quiet, Row
from dashboards.signals import events

_ALL = ("task.started", *asked.ATTEMPT_ENDS, "task.killed")

_ATTEMPTS = Row(
    "What happened?",
    "Choose a DAG and a run above. Attempts in the order of time; each row of the table is one attempt and "
    "links to its page in Airflow.",
    (
        Panel(
            key="timeline",
            title="Attempts on the time line",
            kind="bars",
            by=("event.action",),
            size=(48, 8),
            questions=(events("Attempts", *_ALL),),
        ),
        Panel(
            key="attempts",
            title="Attempts",
            kind="table",
            top=50,
            sort=1,
            size=(48, 12),
            by=("airflow.run_path", "airflow.task_id", "airflow.try_number", "airflow.state"),
            questions=(
                events("Events", *asked.ATTEMPT_ENDS),
                events("Ended", *asked.ATTEMPT_ENDS, aggregate="max", field="@timestamp"),
                events("Duration", *asked.ATTEMPT_ENDS, aggregate="max", field="event.duration"),
                events("Peak memory", *asked.ATTEMPT_ENDS, aggregate="max", field="airflow.peak_rss"),
                events("Processor time", *asked.ATTEMPT_ENDS, aggregate="max", field="airflow.cpu_time"),
                events("Exit code", *asked.ATTEMPT_ENDS, aggregate="max", field="process.exit_code"),
            ),
        ),
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
            questions=(events("Peak memory", *asked.ATTEMPT_ENDS, aggregate="max", field="airflow.peak_rss"),),
        ),
    ),
)

_ERROR = Row(
    "What went wrong?",
    "The error with the last frame of the user's own code. The same fingerprint is the same error as before; "
    "then the log itself.",
    (
        Panel(
            key="errors",
            title="Errors",
            kind="table",
            size=(48, 8),
            quiet=asked.NO_FAILURE,
            by=("airflow.task_id", "airflow.cause", "error.type", "error.frame", "error.fingerprint"),
            questions=(events("Times", *asked.BAD_ATTEMPTS), asked.LAST_SEEN),
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
    (asked.ENVIRONMENT, asked.DAG_ID, asked.RUN_ID, asked.TASK_ID),
    (_ATTEMPTS, _DATA, _ERROR),
    since="now-7d",
)
