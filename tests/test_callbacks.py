"""The shared callbacks, given contexts like Airflow's."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pendulum
import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from observability import callbacks, identity
from observability.emit import forget
from observability.from_airflow import identify

BEGAN = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
ENDED = BEGAN + timedelta(seconds=2)
TRACE = "8cb019b032603ce96127316a7914670c"


@pytest.fixture(autouse=True)
def nobody_bound():
    yield
    identity.bind(None)


@pytest.fixture
def context():
    dag = SimpleNamespace(dag_id="flights", tags={"b", "a"}, owner="ada")
    task = SimpleNamespace(task_type="BashOperator", owner="ada", pool="small", queue="default", dag=dag)
    ti = SimpleNamespace(
        id="01a2", dag_id="flights", task_id="load", run_id="r1", try_number=2, map_index=None, queue="fast",
        start_date=BEGAN, end_date=ENDED, hostname="worker-1", task=task,
        bundle_instance=SimpleNamespace(name="dags-folder"),
        context_carrier={"traceparent": f"00-{TRACE}-1234567890123456-01"},
    )  # fmt: skip
    run = SimpleNamespace(
        dag_id="flights", run_id="r1", run_type=SimpleNamespace(value="scheduled"), logical_date=BEGAN,
        team_name="data", start_date=BEGAN, end_date=ENDED,
    )  # fmt: skip
    return {"ti": ti, "task": task, "dag": dag, "dag_run": run, "run_id": "r1", "exception": None}


def in_dag_processor(context):
    """The context as the dag processor builds it: no exception, no start."""
    context.pop("exception")
    context["ti"].start_date = context["ti"].end_date = None
    return context


def test_every_event_of_an_attempt_says_who_it_is(context, told):
    for callback in (
        callbacks.on_execute,
        callbacks.on_success,
        callbacks.on_failure,
        callbacks.on_retry,
        callbacks.on_skipped,
    ):
        callback(context)
    expected = {
        "airflow.dag_id": "flights", "airflow.task_id": "load", "airflow.run_id": "r1", "airflow.try_number": 2,
        "airflow.map_index": -1, "airflow.ti_id": "01a2", "airflow.operator": "BashOperator", "airflow.owner": "ada",
        "airflow.pool": "small", "airflow.queue": "fast", "airflow.team": "data", "airflow.tags": ["a", "b"],
        "airflow.run_type": "scheduled", "airflow.logical_date": "2026-01-31T12:00:00+00:00",
        "airflow.bundle": "dags-folder", "airflow.component": "task", "trace.id": TRACE,
    }  # fmt: skip
    documents = told()
    assert [document["event.action"] for document in documents] == [
        "task.started", "task.succeeded", "task.failed", "task.retried", "task.skipped",
    ]  # fmt: skip
    for document in documents:
        assert expected.items() <= document.items()


def test_a_failure_tells_its_cause_and_what_the_attempt_used(context, told):
    context["exception"] = ConnectionError("warehouse is away")
    callbacks.on_execute(context)
    callbacks.on_failure(context)
    _, document = told()
    assert document["airflow.cause"] == "dependency"
    assert document["event.reason"] == "ConnectionError: warehouse is away"
    assert document["event.duration"] == 2_000_000_000
    assert document["@timestamp"] == "2026-01-31T12:00:02.000000Z"
    assert document["airflow.peak_rss"] > 1_000_000
    assert document["airflow.cpu_time"] > 0
    assert document["message"] == "Task failed for good: a service it calls failed: ConnectionError: warehouse is away"


@pytest.mark.parametrize(
    ("waits", "cause", "reason"),
    [
        (True, "upstream", "the run of DAG child that it triggered and waited for failed"),
        (False, "app", "it could not trigger DAG child: there is a run of that date or id"),
    ],
    ids=["waited", "refused"],
)
def test_a_task_that_triggers_a_dag_fails_without_an_exception_and_says_which(waits, cause, reason, context, told):
    context["task"].trigger_dag_id, context["task"].wait_for_completion = "child", waits
    callbacks.on_failure(context)
    _, failed = told()
    assert (failed["airflow.cause"], failed["event.reason"]) == (cause, reason)


def test_an_event_told_twice_in_one_process_is_recorded_once(context, told):
    callbacks.on_success(context)
    callbacks.on_success(context)
    assert len(told()) == 1


@pytest.mark.parametrize("begun", [{"next_method": "execute_complete"}, {"task_reschedule_count": 1}])
def test_an_attempt_that_resumes_did_not_begin_again(begun, context, told):
    context["ti"]._ti_context_from_server = SimpleNamespace(**begun)
    context["ti"].task.reschedule = True
    callbacks.on_execute(context)
    assert told() == []


@pytest.mark.parametrize("callback", [callbacks.on_failure, callbacks.on_retry, callbacks.on_skipped])
def test_an_attempt_that_ended_before_airflow_called_it_has_begun(callback, context, told):
    """Airflow renders its templates before that, and runs its pre_execute."""
    callback(context)
    start, end = told()
    assert (start["event.action"], start["@timestamp"]) == ("task.started", "2026-01-31T12:00:00.000000Z")
    assert end["event.action"] in {"task.failed", "task.retried", "task.skipped"}


def test_an_attempt_that_ended_before_it_was_called_again_did_not_begin_again(context, told):
    context["ti"]._ti_context_from_server = SimpleNamespace(next_method="execute_complete")
    callbacks.on_failure(context)
    assert [document["event.action"] for document in told()] == ["task.failed"]


def test_an_attempt_that_airflow_put_back_before_it_began_begins_once(context, told):
    context["ti"]._ti_context_from_server = SimpleNamespace(task_reschedule_count=2)
    callbacks.on_execute(context)
    callbacks.on_execute(context)  # its task raised a reschedule of its own
    assert [document["event.action"] for document in told()] == ["task.started"]


def test_a_worker_that_was_given_up_is_no_error_of_the_application(context, told):
    callbacks.on_failure(in_dag_processor(context))
    [document] = told()
    assert document["airflow.cause"] == "lost_heartbeat"
    assert document["airflow.component"] == "dag-processor"
    assert "event.duration" not in document
    assert "error.type" not in document


def test_an_attempt_that_no_worker_took_was_stuck(context, told):
    context["ti"].hostname = ""
    callbacks.on_failure(in_dag_processor(context))
    assert told()[0]["airflow.cause"] == "stuck_queued"


def test_a_callback_that_airflow_requests_twice_is_told_once_by_two_processes(context, told):
    callbacks.on_retry(in_dag_processor(context))
    forget()
    callbacks.on_retry(context)
    assert [document["event.action"] for document in told()] == ["task.retried"]


def test_a_run_tells_its_end(context, told):
    callbacks.on_dag_success(context)
    callbacks.on_dag_failure({**context, "reason": "timed_out"})
    success, failure = told()
    assert success["event.action"] == "dag_run.succeeded"
    assert success["event.duration"] == 2_000_000_000
    assert failure["airflow.cause"] == "timeout"
    assert failure["event.reason"] == "it ran longer than its dagrun_timeout"
    assert failure["trace.id"] == TRACE
    assert "airflow.task_id" not in failure


def test_a_run_that_is_cleared_and_fails_again_is_another_fact(context, told):
    callbacks.on_dag_failure(context)
    context["dag_run"].end_date = ENDED + timedelta(minutes=5)
    callbacks.on_dag_failure(context)
    assert len(told()) == 2


def test_a_minimal_context_of_a_run_is_enough(told):
    callbacks.on_dag_failure(
        {"dag": SimpleNamespace(dag_id="flights", tags=()), "run_id": "r1", "reason": "task_failure"}
    )
    assert told()[0]["airflow.cause"] == "upstream"


@pytest.mark.parametrize("given", [datetime.isoformat, pendulum.instance], ids=["text", "as Airflow 3.4 hands it over"])
def test_a_missed_deadline_says_by_how_much(told, given):
    run = {"dag_id": "flights", "dag_run_id": "r1", "run_type": "manual", "logical_date": None, "state": "running"}
    due = datetime.now(timezone.utc) - timedelta(minutes=1)
    callbacks.on_deadline({"dag_run": run, "deadline": {"id": "d1", "deadline_time": given(due)}}, name="daily report")
    [document] = told()
    assert document["event.action"] == "deadline.missed"
    assert document["deadline.name"] == "daily report"
    assert 60e9 <= document["deadline.lateness"] < 90e9
    assert document["airflow.cause"] == "deadline"


def test_who_is_bound_need_not_be_found_out_again(context):
    about = identify(context)
    identity.bind(about)
    assert identify(context) is about
    context["ti"].try_number = 3
    assert identify(context).try_number == 3


def test_default_args_show_the_callbacks_and_take_more():
    arguments = callbacks.default_args(owner="ada", depends_on_past=True)
    assert arguments["on_failure_callback"] == [callbacks.on_failure]
    assert (arguments["owner"], arguments["depends_on_past"], arguments["retries"]) == ("ada", True, 2)


@pytest.mark.parametrize("how", ["raised", "wrapped"])
@pytest.mark.parametrize(
    ("status", "kind"), [(None, "task.retried"), (503, "task.retried"), (404, "task.failed")], ids=str
)
def test_a_failure_that_airflow_could_not_be_told_of_is_not_final(how, status, kind, context, told):
    detail = {"status_code": status, "message": "[Errno 111] Connection refused", "exception_type": "ConnectError"}
    error = AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))
    if how == "wrapped":
        wrapper = ValueError("no settings")
        wrapper.__cause__ = error
        error = wrapper
    callbacks.on_failure({**context, "exception": error})
    _, event = told()
    assert event["event.action"] == kind
    assert ("Airflow could not be informed" in event["event.reason"]) == (kind == "task.retried")
