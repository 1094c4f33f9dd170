"""The memory that deadlines and forecasts ask: when runs and attempts began and ended, rows, assets."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from observability.watch.ledger import records
from observability.watch.runs import RunMark, is_current, marks_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.facts import Fact
    from observability.watch.rules.config import AlertingConfig

__all__ = ["note_asset", "note_begin", "note_end", "note_rows", "note_start"]


def note_end(connection: Connection, rules: AlertingConfig, fact: Fact) -> None:
    """Remember when a run or an attempt ended: deadlines ask for it."""
    if fact.kind == "run":
        records.record(connection, "ended", str(fact.dag_id), "", str(fact.run_id), fact.time, fact.time)
        good = float(fact.status == "resolved")
        records.record(connection, "outcome", str(fact.dag_id), "", str(fact.run_id), fact.time, good)
        if lasted := float(fact.evidence.get("event.duration") or 0) / 1e9:  # it began while nobody looked
            note_begin(connection, replace(fact, time=fact.time - lasted))
    elif fact.kind == "task" and _is_timed(rules, fact):
        good = fact.time if fact.status in {"resolved", "dismissed"} else 0.0
        dag_id, task_id = str(fact.dag_id), str(fact.task_id)
        records.record(connection, "task_ended", dag_id, task_id, _attempt_key(fact), fact.time, good)


def note_begin(connection: Connection, fact: Fact) -> None:
    """Remember a run's beginning; one for a date that is long over is worth nothing where today's is asked for."""
    value = fact.time if is_current(fact) else 0.0
    dag_id, run_id, mark = str(fact.dag_id), str(fact.run_id), RunMark.of(fact, fact.time)
    records.record(connection, "started", dag_id, "", run_id, fact.time, value)
    for measure, subject, value in marks_of(mark):
        records.record(connection, measure, dag_id, subject, run_id, fact.time, value)
    if (version := fact.evidence.get("airflow.dag_version")) is not None:
        records.record(connection, "dag_version", dag_id, "", run_id, fact.time, float(version))


def _is_timed(rules: AlertingConfig, fact: Fact) -> bool:
    """True if a deadline may be about single tasks of this DAG; others need not be remembered one by one."""
    return any(
        one.task_finishes_within is not None and fnmatchcase(str(fact.dag_id), one.dag) for one in rules.deadlines
    )


def note_start(connection: Connection, rules: AlertingConfig, fact: Fact) -> None:
    """Remember when an attempt began."""
    if _is_timed(rules, fact):
        dag_id, task_id = str(fact.dag_id or ""), str(fact.task_id)
        records.record(connection, "task_started", dag_id, task_id, _attempt_key(fact), fact.time, fact.time)


def note_asset(connection: Connection, fact: Fact) -> None:
    """Remember the update of an asset, of its partition, and who updated it."""
    dag_id, run_id = str(fact.dag_id or ""), str(fact.run_id or "")
    when = f"{run_id}:{fact.time}"
    records.record(connection, "asset", "", fact.subject, when, fact.time, fact.time)
    if (key := fact.evidence.get("airflow.partition_key")) is not None:
        records.record(connection, "asset_partition", "", f"{fact.subject}\x1f{key}", when, fact.time, fact.time)
    records.record(connection, "asset_of", dag_id, fact.subject, fact.subject, fact.time, fact.time)


def note_rows(connection: Connection, fact: Fact) -> None:
    """Remember the rows that a step wrote and rejected."""
    subject, part = f"{fact.task_id}:{fact.subject}", ":".join(_attempt_key(fact).split("\x1f"))
    for measure, name in (("rows", "etl.rows_out"), ("rejects", "etl.rows_rejected")):
        value = fact.evidence.get(name)
        if value is not None or measure == "rows":
            records.record(connection, measure, str(fact.dag_id or ""), subject, part, fact.time, float(value or 0))


def _attempt_key(fact: Fact) -> str:
    parts = (fact.run_id, fact.map_index, fact.try_number, *((fact.loop_key,) if fact.loop_key is not None else ()))
    return "\x1f".join(map(str, parts))
