"""DAG: how one DAG has been doing, against its own past."""

from __future__ import annotations

from observability.dashboards.boards import shared
from observability.dashboards.panels import Board, Panel, Row
from observability.dashboards.signals import Ratio, events

_ATTEMPT_ENDED = shared.ATTEMPT_ENDS

_RUNS = Row(
    "How did its runs go?",
    "Choose a DAG above. Each cell of the grid is a DAG's runs of one stretch of time: green all well, red "
    "more than a fifth failed.",
    (
        Panel(key="runs", title="Runs", kind="number", questions=(shared.RUNS,), size=(8, 6)),
        Panel(
            key="failed",
            title="Failed runs",
            kind="number",
            questions=(shared.RUNS_FAILED,),
            limits=(1, 3),
            size=(8, 6),
        ),
        Panel(
            key="share",
            title="Failed share of tasks",
            kind="number",
            questions=(shared.FAILED_SHARE,),
            limits=(0.02, 0.1),
            size=(8, 6),
        ),
        Panel(
            key="median",
            title="Run, median",
            kind="number",
            size=(8, 6),
            questions=(events("Median", *shared.RUN_ENDS, aggregate="median", field="event.duration"),),
        ),
        Panel(
            key="p95",
            title="Run, p95",
            kind="number",
            size=(8, 6),
            questions=(events("p95", *shared.RUN_ENDS, aggregate="p95", field="event.duration"),),
        ),
        Panel(
            key="retried",
            quiet=shared.NO_RETRY,
            title="Attempts retried",
            kind="number",
            questions=(shared.RETRIES,),
            limits=(10, 50),
            size=(8, 6),
        ),
        Panel(
            key="grid",
            title="Failed share of runs",
            kind="heatmap",
            by=("airflow.dag_id",),
            limits=(0.05, 0.2),
            top=20,
            questions=(Ratio("Failed", shared.RUNS_FAILED, shared.RUNS),),
            size=(24, 12),
        ),
        Panel(
            key="task-grid",
            title="Failed share of attempts by task",
            kind="heatmap",
            by=("airflow.task_id",),
            limits=(0.05, 0.2),
            questions=(Ratio("Failed", events("Bad", *shared.BAD_ATTEMPTS), events("All", *_ATTEMPT_ENDED)),),
            note="Choose one DAG: names of tasks repeat.",
            size=(24, 12),
        ),
    ),
)

_DURATION = Row(
    "Is it as fast as usual?",
    "The band between the 5th and the 95th percentile is what is usual for the chosen runs; a median that "
    "leaves last week's is a change.",
    (
        Panel(
            key="band",
            title="Run duration and its usual band",
            kind="line",
            sparse=True,
            size=(24, 12),
            questions=(
                events("p95", *shared.RUN_ENDS, aggregate="p95", field="event.duration"),
                events("Median", *shared.RUN_ENDS, aggregate="median", field="event.duration"),
                events("p5", *shared.RUN_ENDS, aggregate="p5", field="event.duration"),
                events(
                    "Median a week before", *shared.RUN_ENDS, aggregate="median", field="event.duration", shift="1w"
                ),
            ),
        ),
        Panel(
            key="slowest",
            title="Slowest tasks",
            kind="table",
            by=("airflow.dag_id", "airflow.task_id"),
            opens="run",
            sort=2,
            top=20,
            size=(24, 12),
            questions=(
                events("Attempts", *_ATTEMPT_ENDED),
                events("Average", *_ATTEMPT_ENDED, aggregate="average", field="event.duration"),
                events("Slowest", *_ATTEMPT_ENDED, aggregate="max", field="event.duration"),
                events("Memory", *_ATTEMPT_ENDED, aggregate="max", field="airflow.peak_rss"),
            ),
        ),
    ),
)

_WHY = Row(
    "Why did it fail?",
    "Attempts that failed, by cause, then the errors and their messages. A retried attempt is not counted as a failed "
    "task.",
    (
        Panel(
            key="retries",
            title="Failed attempts over time",
            kind="bars",
            by=("event.action",),
            quiet=shared.NO_FAILURE,
            questions=(events("Attempts", *shared.BAD_ATTEMPTS),),
            size=(28, 10),
        ),
        Panel(
            key="causes",
            title="Causes",
            kind="donut",
            by=("airflow.cause",),
            quiet=shared.NO_FAILURE,
            size=(20, 10),
            questions=(events("Failed attempts", *shared.BAD_ATTEMPTS),),
        ),
        Panel(
            key="errors",
            title="Errors",
            kind="table",
            by=("airflow.cause", "error.type", "error.frame"),
            quiet=shared.NO_FAILURE,
            questions=(events("Times", *shared.BAD_ATTEMPTS), shared.LAST_SEEN),
            size=(48, 10),
        ),
        Panel(key="failures", title="The latest failures", kind="search", saved="failures", size=(48, 14)),
    ),
)

_LANDING = Row(
    "Does it land in time?",
    "How late each deadline was, and how often; a deadline that only comes near has been kept.",
    (
        Panel(
            key="lateness",
            title="Lateness by deadline",
            kind="line",
            by=("deadline.name",),
            quiet=shared.NO_LATE,
            sparse=True,
            questions=(
                events("Late by", "deadline.missed", "deadline.approached", aggregate="max", field="deadline.lateness"),
            ),
        ),
        Panel(
            key="landings",
            title="Deadlines",
            kind="table",
            by=("airflow.dag_id", "deadline.name", "event.action"),
            quiet=shared.NO_LATE,
            questions=(
                events("Times", "deadline.missed", "deadline.approached", "deadline.recovered"),
                events(
                    "Latest",
                    "deadline.missed",
                    "deadline.approached",
                    "deadline.recovered",
                    aggregate="max",
                    field="@timestamp",
                ),
            ),
        ),
    ),
)

DAG = Board(
    "dag",
    "Contrail: DAG",
    "One DAG against its own past.",
    (shared.ENVIRONMENT, shared.DAG_ID, shared.OWNER),
    (_RUNS, _DURATION, _WHY, _LANDING),
    since="now-7d",
)
