"""Identities read from what Airflow hands to callbacks and listeners; of its types only the attributes are known."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from observability import identity
from observability.events import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["duration_ns", "identify", "identify_run", "in_task_process", "trace_id"]


def identify(context: Mapping[str, Any]) -> Identity:
    """Who the attempt in ``context`` is; what Airflow does not say is None."""
    ti = context["ti"]
    bound = identity.current()
    if bound is not None and bound.ti_id == str(ti.id) and bound.try_number == ti.try_number:
        return bound
    task = context.get("task") or getattr(ti, "task", None)
    run = context.get("dag_run")
    return Identity(
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        try_number=ti.try_number,
        map_index=-1 if ti.map_index is None else ti.map_index,
        ti_id=str(ti.id),
        operator=getattr(task, "task_type", None) or getattr(ti, "operator", None),
        owner=getattr(task, "owner", None),
        pool=getattr(task, "pool", None) or getattr(ti, "pool", None),
        queue=getattr(ti, "queue", None) or getattr(task, "queue", None),
        team=getattr(run, "team_name", None),
        tags=_tags(getattr(task, "dag", None)),
        run_type=_word(getattr(run, "run_type", None)),
        logical_date=_date(getattr(run, "logical_date", None)),
        bundle=getattr(getattr(ti, "bundle_instance", None), "name", None),
        component="task" if in_task_process(context) else "dag-processor",
        trace_id=trace_id(ti),
    )


def identify_run(context: Mapping[str, Any]) -> Identity:
    """Who the run in ``context`` is."""
    dag, run, ti = context.get("dag"), context.get("dag_run"), context.get("ti")
    return Identity(
        dag_id=getattr(dag, "dag_id", None) or getattr(run, "dag_id", None),
        run_id=context.get("run_id") or getattr(run, "run_id", None),
        owner=getattr(dag, "owner", None),
        team=getattr(run, "team_name", None),
        tags=_tags(dag),
        run_type=_word(getattr(run, "run_type", None)),
        logical_date=_date(getattr(run, "logical_date", None)),
        component="dag-processor",
        trace_id=trace_id(run) or trace_id(ti),
    )


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
    took = (ended or datetime.now(timezone.utc)) - began
    return int(took / timedelta(microseconds=1)) * 1000


def in_task_process(context: Mapping[str, Any]) -> bool:
    """False in the dag processor, where the scheduler has callbacks run for attempts that it gave up."""
    return "exception" in context or getattr(context["ti"], "start_date", None) is not None
