"""The shared callbacks: what Airflow calls when a task or run changes state, told as events.

The plugin's policy attaches them to every task; a DAG that wants to name them itself uses
:func:`default_args`. They take Airflow's context mapping and import nothing of Airflow.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import structlog

from observability import causes, metrics
from observability.contain import contained
from observability.emit import emit
from observability.events import (
    DagRunFailed,
    DagRunSucceeded,
    DeadlineMissed,
    Identity,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
    TaskStarted,
    TaskSucceeded,
    moment,
    ui_path,
)
from observability.first_report import claim
from observability.from_airflow import (
    duration_ns,
    ended_at,
    identify,
    identify_run,
    in_task_process,
    is_by_hand,
    nanoseconds,
)
from observability.resources import Usage, usage
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.events import Event

__all__ = [
    "default_args",
    "emit_once",
    "on_dag_failure",
    "on_dag_success",
    "on_deadline",
    "on_execute",
    "on_failure",
    "on_retry",
    "on_skipped",
    "on_success",
    "run_failed",
]

_STAGE = "callback"
_NO_EXCEPTION = causes.Failure(cause="app", reason="it failed, and Airflow handed over no exception")
_UNHEARD = " (Airflow could not be informed of it, and decides whether the task runs again)"
"""Airflow runs such an attempt again, or misses its heartbeat. If it fails the task, the watcher reports that."""
_BY_HAND = "set to failed by a person"
_RUN_CAUSES = {"task_failure": "upstream", "all_tasks_deadlocked": "app", "timed_out": "timeout"}
_RUN_REASONS = {
    "task_failure": "a task of it failed",
    "all_tasks_deadlocked": "its tasks wait for each other",
    "timed_out": "it ran longer than its dagrun_timeout",
}


def default_args(**more: Any) -> dict[str, Any]:
    """``default_args`` of a DAG that shows its callbacks: those below, two retries a minute apart, and ``more``."""
    return {
        "owner": "airflow",
        "retries": 2,
        "retry_delay": timedelta(minutes=1),
        "on_execute_callback": [on_execute],
        "on_success_callback": [on_success],
        "on_failure_callback": [on_failure],
        "on_retry_callback": [on_retry],
        "on_skipped_callback": [on_skipped],
        **more,
    }


def on_execute(context: Mapping[str, Any]) -> None:
    """Tell that an attempt began; one that resumes after a deferral or a sensor's reschedule began before.

    Another one that was rescheduled may not have begun: Airflow puts a task back whose DAG it could not load.
    """
    with contained(_STAGE):
        _emit_start(context)


def _emit_start(context: Mapping[str, Any]) -> None:
    """Emit the start of an attempt, once.

    It also comes with a bad end: Airflow renders templates, checks assets and runs ``pre_execute`` before it calls
    ``on_execute``, and an attempt that ends there has begun all the same.
    """
    ti = context["ti"]
    begun = getattr(ti, "_ti_context_from_server", None)
    if getattr(begun, "next_method", None):
        return
    event = TaskStarted(identity=identify(context), time=getattr(ti, "start_date", None))
    if not getattr(begun, "task_reschedule_count", None):
        emit(event)
    elif not getattr(getattr(ti, "task", None), "reschedule", False):
        emit_once(event)


def on_success(context: Mapping[str, Any]) -> None:
    """Tell that a task succeeded, how long it took and what it used."""
    with contained(_STAGE):
        used = usage()
        emit(
            TaskSucceeded(
                identity=identify(context),
                time=getattr(context["ti"], "end_date", None),
                duration_ns=duration_ns(context["ti"]),
                peak_rss=used.peak_rss,
                memory_limit=used.memory_limit,
                cpu_time_ns=used.cpu_time_ns,
                triggered=_triggered(context),
            )
        )


def on_failure(context: Mapping[str, Any]) -> None:
    """Tell that a task failed for good, and why."""
    with contained(_STAGE):
        _emit_failure(TaskFailed, context)


def on_retry(context: Mapping[str, Any]) -> None:
    """Tell that an attempt failed and will be repeated, and why."""
    with contained(_STAGE):
        _emit_failure(TaskRetried, context)


def on_skipped(context: Mapping[str, Any]) -> None:
    """Tell that a task skipped itself."""
    with contained(_STAGE):
        _emit_start(context)
        ti = context["ti"]
        emit(
            TaskSkipped(identity=identify(context), time=getattr(ti, "end_date", None), duration_ns=duration_ns(ti)),
            log=_log,
        )


def on_dag_success(context: Mapping[str, Any]) -> None:
    """Tell that a run succeeded; for an Airflow without the plugin, whose listener tells it first."""
    with contained(_STAGE):
        run = context.get("dag_run")
        emit_once(
            DagRunSucceeded(
                identity=identify_run(context),
                time=getattr(run, "end_date", None),
                discriminator=moment(getattr(run, "end_date", None)),
                duration_ns=duration_ns(run),
            )
        )


def on_dag_failure(context: Mapping[str, Any]) -> None:
    """Tell that a run failed; for an Airflow without the plugin, whose listener tells it first."""
    with contained(_STAGE):
        run = context.get("dag_run")
        emit_once(run_failed(identify_run(context), run, str(context.get("reason") or ""), provider="callback"))


def on_deadline(context: Mapping[str, Any], name: str = "") -> None:
    """Tell that a run missed its deadline: the callable of a ``DeadlineAlert``'s ``SyncCallback``.

    ``name`` is what people call the deadline: ``SyncCallback(on_deadline, {"name": "daily report"})``.
    """
    with contained(_STAGE):
        run, deadline = context["dag_run"], context["deadline"]
        due = _when(deadline["deadline_time"])
        late = datetime.now(timezone.utc) - due
        about = Identity(
            dag_id=run["dag_id"],
            run_id=run["dag_run_id"],
            run_type=run.get("run_type"),
            logical_date=run.get("logical_date"),
            component="worker",
        )
        event = DeadlineMissed(
            identity=about,
            discriminator=str(deadline["id"]),
            deadline=name or "run",
            reason=f"run {about.run_id} was to be done by {moment(due)} and is {run.get('state', 'not done')}",
            due=due,
            lateness_ns=nanoseconds(late),
        )
        emit(event)
        metrics.flush()


def _emit_failure(kind: type[TaskFailed | TaskRetried], context: Mapping[str, Any]) -> None:
    if not in_task_process(context):
        emit_once(_given_up(kind, context))
        return
    _emit_start(context)
    error = context.get("exception")
    failure = causes.describe(error) if isinstance(error, BaseException) else _without_exception(context)
    if isinstance(error, BaseException) and causes.is_airflow_away(error):
        kind, failure = TaskRetried, replace(failure, reason=f"{failure.reason}{_UNHEARD}")
    emit(_task_failed(kind, context, failure, usage()), log=_log)


def _triggered(context: Mapping[str, Any]) -> str | None:
    """The path of the run that this task has triggered: its operator knows it, so that nobody is asked."""
    task = context.get("task") or getattr(context["ti"], "task", None)
    dag_id, run_id = getattr(task, "trigger_dag_id", None), getattr(task, "trigger_run_id", None)
    return ui_path(dag_id, run_id) if isinstance(dag_id, str) and isinstance(run_id, str) else None


def _without_exception(context: Mapping[str, Any]) -> causes.Failure:
    """The reason of a failure without an exception: one that waits for another DAG's run ends so."""
    task = context.get("task") or getattr(context["ti"], "task", None)
    other = getattr(task, "trigger_dag_id", None)
    if not isinstance(other, str):
        return _NO_EXCEPTION
    if getattr(task, "wait_for_completion", False):
        return causes.Failure(
            cause="upstream", reason=f"the run of DAG {other} that it triggered and waited for failed"
        )
    return causes.Failure(cause="app", reason=f"it could not trigger DAG {other}: there is a run of that date or id")


def _task_failed(
    kind: type[TaskFailed | TaskRetried], context: Mapping[str, Any], failure: causes.Failure, used: Usage
) -> TaskFailed | TaskRetried:
    return kind(
        identity=identify(context),
        time=getattr(context["ti"], "end_date", None),
        cause=failure.cause,
        reason=failure.reason,
        error_type=failure.error_type,
        error_message=failure.error_message,
        stack_trace=failure.stack_trace,
        fingerprint=failure.fingerprint,
        frame=failure.frame,
        exit_code=failure.exit_code,
        duration_ns=duration_ns(context["ti"]),
        peak_rss=used.peak_rss,
        memory_limit=used.memory_limit,
        cpu_time_ns=used.cpu_time_ns,
    )


def _given_up(kind: type[TaskFailed | TaskRetried], context: Mapping[str, Any]) -> TaskFailed | TaskRetried:
    started = bool(getattr(context["ti"], "hostname", None))
    cause = "lost_heartbeat" if started else "stuck_queued"
    reason = (
        "it stopped reporting, and the scheduler gave it up"
        if started
        else "no worker started it, and the scheduler gave it up"
    )
    return kind(identity=identify(context), cause=cause, reason=reason)


def run_failed(about: Identity, run: Any, why: str, *, provider: str) -> DagRunFailed:
    """The event of a run that failed; ``why`` is Airflow's word or sentence for it."""
    ended = ended_at(run, why)
    return DagRunFailed(
        identity=about,
        time=ended,
        discriminator=moment(ended),
        reason=_BY_HAND if is_by_hand(why) else _RUN_REASONS.get(why, why or "Airflow did not say why"),
        cause="cancelled" if is_by_hand(why) else _RUN_CAUSES.get(why, "app"),
        duration_ns=duration_ns(run),
        provider=provider,
    )


def emit_once(event: Event) -> None:
    """Emit, from a process that may not live long, what other processes of this host may have seen too."""
    if claim(event.id):
        emit(event)
        metrics.flush()


def _when(value: Any) -> datetime:
    when = value if isinstance(value, datetime) else parsed(str(value))
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def _log(level: str, message: str, **fields: Any) -> None:
    getattr(structlog.get_logger("observability"), level)(message, **fields)
