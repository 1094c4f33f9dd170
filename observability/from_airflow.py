"""Identities read from what Airflow hands to callbacks and listeners; of its types only the attributes are known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability import identity
from observability.events import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "duration_ns",
    "ended_at",
    "identify",
    "identify_run",
    "in_task_process",
    "is_by_hand",
    "nanoseconds",
    "trace_id",
]

_JUST_NOW = timedelta(milliseconds=200)
"""An end that is not older was set with the state."""


def identify(context: Mapping[str, Any]) -> Identity:
    """The identity of the attempt in ``context``; what Airflow does not say is None."""
    ti = context["ti"]
    bound = identity.current()
    if bound is not None and bound.ti_id == str(ti.id) and bound.try_number == ti.try_number:
        return bound
    task = context.get("task") or getattr(ti, "task", None)
    run = context.get("dag_run")
    bundle = getattr(ti, "bundle_instance", None)
    return Identity(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        try_number=ti.try_number,
        map_index=-1 if ti.map_index is None else ti.map_index,
        **_loop(ti, task),
        ti_id=str(ti.id),
        operator=getattr(task, "task_type", None) or getattr(ti, "operator", None),
        owner=getattr(task, "owner", None),
        pool=getattr(task, "pool", None) or getattr(ti, "pool", None),
        queue=getattr(ti, "queue", None) or getattr(task, "queue", None),
        team=getattr(run, "team_name", None),
        tags=_tags(getattr(task, "dag", None)),
        run_type=_word(getattr(run, "run_type", None)),
        logical_date=_date(getattr(run, "logical_date", None)),
        partition_key=getattr(run, "partition_key", None),
        bundle=getattr(bundle, "name", None),
        bundle_version=getattr(bundle, "version", None),
        component="task" if in_task_process(context) else "dag-processor",
        trace_id=trace_id(ti),
    )


def identify_run(context: Mapping[str, Any]) -> Identity:
    """The identity of the run in ``context``."""
    dag, run, ti = context.get("dag"), context.get("dag_run"), context.get("ti")
    return Identity(
        dag_id=getattr(dag, "dag_id", None) or getattr(run, "dag_id", None),
        run_id=context.get("run_id") or getattr(run, "run_id", None),
        owner=getattr(dag, "owner", None),
        team=getattr(run, "team_name", None),
        tags=_tags(dag),
        run_type=_word(getattr(run, "run_type", None)),
        logical_date=_date(getattr(run, "logical_date", None)),
        partition_key=getattr(run, "partition_key", None),
        bundle_version=getattr(run, "bundle_version", None),
        component="dag-processor",
        trace_id=trace_id(run) or trace_id(ti),
    )


def _loop(ti: Any, task: Any) -> dict[str, Any]:
    """The place of an attempt in a task loop (Airflow 3.4); nothing outside one.

    A task process is told of its loop. The dag processor, which runs the callbacks of attempts that the scheduler
    gave up, has only the DAG: the iteration of a mapped task is unknown there.
    """
    region = getattr(ti, "region_id", None)
    if region is None:
        return {}
    loop = getattr(getattr(ti, "_ti_context_from_server", None), "loop", None)
    if loop is not None:
        return {"loop_id": str(loop.node_id), "iteration": str(loop.index), "region_id": str(region)}
    group = getattr(task, "task_group", None)
    while group is not None and not hasattr(group, "max_iterations"):
        group = getattr(group, "parent_group", None)
    if group is None:
        return {}
    iteration = str(ti.region_index) if (ti.map_index or 0) < 0 else None
    return {"loop_id": group.group_id, "iteration": iteration, "region_id": str(region)}


def trace_id(carried: Any) -> str | None:
    """The W3C trace id that a run or task instance carries; a task's is that of its run."""
    carrier = getattr(carried, "context_carrier", None) or {}
    parts = str(carrier.get("traceparent", "")).split("-")
    return parts[1] if len(parts) >= 4 else None  # noqa: PLR2004 - version, trace, span, flags


def _tags(dag: Any) -> tuple[str, ...] | None:
    return tuple(sorted(map(str, tags))) if (tags := getattr(dag, "tags", None)) else None


def _word(value: Any) -> str | None:
    return None if value is None else str(getattr(value, "value", value))


def _date(value: Any) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else None


def duration_ns(about: Any) -> int | None:
    """From start to end, or to now, of a run or task instance; None where it never started."""
    began, ended = getattr(about, "start_date", None), getattr(about, "end_date", None)
    if began is None:
        return None
    return nanoseconds((ended or datetime.now(timezone.utc)) - began)


def is_by_hand(said: str) -> bool:
    """True if Airflow's words about an end say that a person set it."""
    return "manually" in said


def ended_at(about: Any, said: str) -> datetime | None:
    """Return when a run or task instance came to its state, which ``said`` is Airflow's sentence about.

    Where it had ended before and a person sets it to another state, Airflow leaves its end as it was.
    """
    ended: datetime | None = getattr(about, "end_date", None)
    if ended is None or not is_by_hand(said):
        return ended
    now = datetime.now(timezone.utc)
    return ended if timedelta() <= now - ended < _JUST_NOW else max(now, ended + timedelta(milliseconds=1))


def nanoseconds(took: timedelta) -> int:
    """``took`` in ns; a pendulum Interval, which is a timedelta, can be divided by none."""
    return round(took.total_seconds() * 1e6) * 1000


def in_task_process(context: Mapping[str, Any]) -> bool:
    """False in the dag processor, where the scheduler has callbacks run for attempts that it gave up."""
    return "exception" in context or getattr(context["ti"], "start_date", None) is not None
