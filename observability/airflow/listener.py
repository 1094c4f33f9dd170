"""Airflow's listeners: who runs (task), what becomes of runs (scheduler), what people do (API server).

A task's own outcome is told by its callbacks, in the same process; here it is only bound and flushed.
"""

from __future__ import annotations

import signal
import threading
from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any

import structlog
from airflow.listeners import hookimpl
from sqlalchemy.orm import object_session

from observability import attempt_notes, callbacks, causes, identity, metrics
from observability.airflow.loops import loop_of
from observability.airflow.masking import follow_masks
from observability.airflow.own_telemetry import join_attempt
from observability.airflow.schedule_delay import schedule_delay_ns
from observability.airflow.stdout_masking import mask_echo
from observability.contain import contained
from observability.emit import emit, report_losses
from observability.events import (
    AssetUpdated,
    DagImportFailed,
    DagRunStarted,
    DagRunSucceeded,
    Identity,
    TaskFailed,
    TaskRetried,
    moment,
    ui_path,
)
from observability.from_airflow import duration_ns, ended_at, identify, identify_run, is_by_hand

__all__: list[str] = []

_STAGE = "listener"
_BY_ASSETS = frozenset({"asset_triggered", "DagRunType.ASSET_TRIGGERED"})
_UPSTREAM_MOST = 128
_PARSERS = ("airflow.dag_processing.", "airflow.models.dagbag", "airflow.sdk.importers.")


@hookimpl
def on_starting(component: Any) -> None:  # noqa: ARG001 - Airflow's signature
    """Mask what tasks say in the component's own log, or keep it out, before it starts the first of them."""
    with contained(_STAGE):
        mask_echo()


@hookimpl
def on_task_instance_running(previous_state: Any, task_instance: Any) -> None:  # noqa: ARG001 - Airflow's signature
    """Say whom this process works for, so that every line and sample from here on knows it."""
    with contained(_STAGE):
        _let_a_segfault_end()
        context = {"ti": task_instance, "dag_run": _run_of(task_instance)}
        about = identify(context)
        identity.bind(about)
        attempt_notes.note_start(about)
        follow_masks()
        if about.trace_id:
            structlog.contextvars.bind_contextvars(**{"trace.id": about.trace_id})
        join_attempt(about)


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any, error: Any) -> None:  # noqa: ARG001
    """Tell what ends an attempt from outside: a person's "mark failed", or the scheduler that gave it up."""
    with contained(_STAGE):
        if _is_record(task_instance):
            callbacks.emit_once(_ended_from_outside(task_instance, str(error or "")))


@hookimpl
def on_dag_run_running(dag_run: Any, msg: str) -> None:  # noqa: ARG001
    """Tell that a run began."""
    with contained(_STAGE):
        emit(
            DagRunStarted(
                identity=_run_identity(dag_run),
                time=dag_run.start_date,
                discriminator=moment(dag_run.start_date),
                upstream=_upstream(dag_run),
                schedule_delay_ns=schedule_delay_ns(dag_run),
            )
        )


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """Tell that a run succeeded, by itself or because a person said so."""
    with contained(_STAGE):
        ended = ended_at(dag_run, msg)
        callbacks.emit_once(
            DagRunSucceeded(
                identity=_run_identity(dag_run),
                time=ended,
                discriminator=moment(ended),
                duration_ns=duration_ns(dag_run),
            )
        )


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """Tell that a run failed, by itself or because a person said so."""
    with contained(_STAGE):
        callbacks.emit_once(callbacks.run_failed(_run_identity(dag_run), dag_run, msg, provider="listener"))


@hookimpl
def on_asset_event_emitted(asset_event: Any) -> None:
    """Tell that a task updated an asset."""
    with contained(_STAGE):
        about = Identity(
            dag_id=asset_event.source_dag_id,
            task_id=asset_event.source_task_id,
            run_id=asset_event.source_run_id,
            map_index=asset_event.source_map_index,
            partition_key=getattr(asset_event, "partition_key", None),
            component="api-server",
        )
        asset, now = asset_event.asset.uri or asset_event.asset.name, datetime.now(timezone.utc)
        parts = [asset, moment(now), *([about.partition_key] if about.partition_key is not None else [])]
        emit(AssetUpdated(identity=about, asset=asset, discriminator="|".join(parts)))


@hookimpl
def on_new_dag_import_error(filename: str, stacktrace: str) -> None:
    """Tell that a DAG file stopped parsing."""
    with contained(_STAGE):
        follow_masks()
        last = stacktrace.strip().rpartition("\n")[2]
        callbacks.emit_once(
            DagImportFailed(
                identity=Identity(component="dag-processor"),
                discriminator=f"{filename}|{causes.normalise(last)}|{datetime.now(timezone.utc):%Y-%m-%dT%H}",
                reason=last,
                stack_trace=causes.bounded_trace(stacktrace),
                file_path=filename,
                provider="listener",
            )
        )


@hookimpl
def before_stopping(component: Any) -> None:  # noqa: ARG001
    """Send what is still held: a task process leaves by ``os._exit``, and nothing of ours runs after this."""
    with contained(_STAGE):
        if (about := identity.current()) is not None and about.task_id is not None:
            attempt_notes.note_end(about)
        report_losses(last=True)
        metrics.flush()


def _is_record(task_instance: Any) -> bool:
    """True for the database's task instance (scheduler, API server), False for the one a task process runs."""
    return hasattr(task_instance, "_sa_instance_state")


def _let_a_segfault_end() -> None:
    """Take off the handler that Airflow parsed the DAG with: under it a segfault goes on for ever."""
    handler = getattr(signal.getsignal(signal.SIGSEGV), "__module__", None) or ""
    if handler.startswith(_PARSERS) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)


def _run_of(task_instance: Any) -> Any:
    begun = getattr(task_instance, "_ti_context_from_server", None)
    return getattr(begun, "dag_run", None)


def _ended_from_outside(record: Any, error: str) -> TaskFailed | TaskRetried:
    kind = TaskRetried if str(record.state) == "up_for_retry" else TaskFailed
    by_person, ended = is_by_hand(error), ended_at(record, error)
    about = identify({"ti": record, "dag_run": record.__dict__.get("dag_run")})
    owner = about.owner or getattr(_dag_model(record), "owners", None)
    return kind(
        identity=replace(about, owner=owner, component="api-server" if by_person else "scheduler", **loop_of(record)),
        time=ended,
        discriminator="" if ended == record.end_date else moment(ended),
        cause="cancelled" if by_person else _cause_of_mismatch(record, error),
        reason="set to failed by a person" if by_person else error or "the scheduler gave it up",
        duration_ns=duration_ns(record),
        provider="listener",
    )


def _dag_model(record: Any) -> Any:
    """The record's DAG where it is loaded or can be, without an error for a record that has left its session."""
    return record.dag_model if object_session(record) is not None else record.__dict__.get("dag_model")


def _cause_of_mismatch(record: Any, error: str) -> str:
    """A worker that vanished; or Airflow at odds with itself, when the executor tells of success or nothing began."""
    return "lost_heartbeat" if record.start_date and "finished with state failed" in error else "platform"


def _run_identity(dag_run: Any) -> Identity:
    about = identify_run({"dag": dag_run.dag, "dag_run": dag_run, "run_id": dag_run.run_id})
    return replace(about, component="scheduler", dag_version=_dag_version(dag_run))


def _upstream(dag_run: Any) -> tuple[str, ...] | None:
    """The attempts whose updates of assets began a run, as paths; a question to the database for such runs only."""
    if str(dag_run.run_type) not in _BY_ASSETS or not _is_record(dag_run) or object_session(dag_run) is None:
        return None
    sources = (
        ui_path(one.source_dag_id, one.source_run_id, one.source_task_id, one.source_map_index)
        for one in dag_run.consumed_asset_events
        if one.source_dag_id and one.source_run_id
    )
    return tuple(dict.fromkeys(islice(sources, _UPSTREAM_MOST))) or None


def _dag_version(dag_run: Any) -> int | None:
    """The version of the DAG that a run was created with, where the run's record is in a session or has it loaded."""
    version = dag_run.__dict__.get("created_dag_version")
    if version is None and _is_record(dag_run) and object_session(dag_run) is not None:
        version = dag_run.created_dag_version
    return getattr(version, "version_number", None)
