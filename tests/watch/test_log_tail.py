"""The end of a log, without what Airflow writes around a task."""

from __future__ import annotations

from observability.watch.log_tail import tail_of


def record(event, level="info", logger="my.module", **more):
    return {"timestamp": "2026-01-01T06:12:00.123456Z", "event": event, "level": level, "logger": logger, **more}


AROUND = [
    record("DAG bundles loaded: dags-folder", logger="airflow.dag_processing.bundles.manager.DagBundlesManager"),
    record("Filling up the DagBag from /dags/x.py", logger="airflow.dag_processing.dagbag.BundleDagBag"),
    record("::group::Pre Execute", logger="task"),
    record("Worker startup parse complete", logger="task"),
    record("::endgroup::", logger="task"),
    record("Done. Returned value was: 7", logger="airflow.task.operators.airflow.providers.standard.PythonOperator"),
    record("Pushing xcom", logger="task"),
]


def test_what_airflow_writes_around_a_task_is_left_out():
    assert tail_of([*AROUND, record("42 rows read"), *AROUND]) == ["06:12:00 42 rows read"]


def test_what_the_task_printed_its_operator_said_and_what_went_wrong_stays():
    kept = [
        record("printed", logger="task.stdout"),
        record("Running statement: select 1", logger="airflow.task.hooks.sql.DbApiHook"),
        record(
            "Task failed with exception", "error", "task", error_detail=[{"exc_type": "ValueError", "exc_value": "no"}]
        ),
        record("Process terminated by signal", "critical", "supervisor"),
    ]
    assert tail_of([*AROUND, *kept]) == [
        "06:12:00 printed",
        "06:12:00 Running statement: select 1",
        "06:12:00 ERROR Task failed with exception",
        "  ValueError: no",
        "06:12:00 CRITICAL Process terminated by signal",
    ]


def test_lines_that_are_no_json_stay_and_only_the_last_ones():
    assert tail_of([{"event": f"line {number}"} for number in range(30)]) == [
        f"line {number}" for number in range(18, 30)
    ]
