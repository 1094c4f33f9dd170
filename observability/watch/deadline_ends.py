"""Say in words how a deadline that was late, or at risk, is over: what happened, when, and how late."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.durations import lasting
from observability.timestamps import utc
from observability.watch.facts import seconds
from observability.watch.known import LedgerKnown
from observability.watch.ledger import records

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.deadline_state import Standing
    from observability.watch.incidents import Incident
    from observability.watch.rules.deadline import Deadline

__all__ = ["words_of_airflow", "words_of_day", "words_of_end"]

_OF_RUNS = {"run_finishes_within", "task_finishes_within", "slower_than_usual"}
"""Conditions about the time that a run or a task takes: it is over with the end, and a failure is called one."""
_AS_USUAL = {
    "rows_at_least": "its last load wrote enough rows",
    "rows_unlike_usual": "its last load wrote as many rows as usual",
    "rejects_above_usual": "its last load rejected no more rows than usual",
    "starts_later_than_usual": "its last run began no later than usual",
    "fails_more_than_usual": "no more of its last runs failed than usual",
}
_BACK_S = 86_400.0
"""An update of a partition is looked for from so long before the incident."""


def words_of_day(one: Incident, deadline: Deadline, kept: Standing) -> str:
    """The words for a day of which everything that was due has been done."""
    task = f"{deadline.task} of " if deadline.task else ""
    said = {
        "starts_by": f"a run of {one.dag_id} began",
        "fresh_by": f"{_asset(one)} was updated",
        "ready_by": "the last part of it was there",
    }.get(deadline.condition, f"{task}{one.dag_id} succeeded")
    return f"{said}{_when(kept.ended, one)}"


def words_of_end(connection: Connection, one: Incident, deadline: Deadline) -> str:
    """The words for what stands no longer: it has an end, or is not likely to be late any more."""
    condition, known = deadline.condition, LedgerKnown(connection)
    if condition in _OF_RUNS and (said := _ended(connection, one)):
        return said
    if condition == "success_within" and one.dag_id:
        return f"a run of {one.dag_id} succeeded{_when(known.last_success(one.dag_id), one)}"
    if deadline.asset is not None and deadline.clock is None:
        partition = one.evidence.get("airflow.partition_key")
        updates = known.partitions(deadline.asset, one.first_seen - _BACK_S) if partition else {}
        last = updates.get(str(partition)) if partition else known.last_update(deadline.asset)
        return f"{_asset(one)} was updated{_when(last, one)}"
    if condition in _AS_USUAL:
        return _AS_USUAL[condition]
    return "it is expected in time now" if one.early else "it is not late any more"


def _ended(connection: Connection, one: Incident) -> str:
    """The end of a run, or of a task in one that goes on, and when; empty where it has not ended."""
    if not (one.dag_id and one.run_id):
        return ""
    named, good = f"run {one.run_id}", records.first_time(connection, "success", one.dag_id, one.run_id)
    ended = good if good is not None else records.first_time(connection, "ended", one.dag_id, one.run_id)
    last = records.last_end(connection, one.dag_id, one.run_id, one.task_id) if one.task_id else None
    if last is not None:  # a run may fail though its late task went well
        named, (ended, is_good) = f"task {one.task_id} of {named}", last
    else:
        is_good = good is not None
    return f"{named} {'succeeded' if is_good else 'failed'}{_when(ended, one)}" if ended is not None else ""


def words_of_airflow(connection: Connection, one: Incident) -> str:
    """The success that ends a missed deadline of Airflow's own (a ``DeadlineAlert``); empty without one.

    Airflow reports that a deadline was missed and never that its run is done.
    """
    if not (one.dag_id and one.run_id):
        return ""
    success = records.first_time(connection, "success", one.dag_id, one.run_id)
    if success is not None and success >= _due(one):
        return f"run {one.run_id} succeeded{_when(success, one)}"
    ended = records.first_time(connection, "ended", one.dag_id, one.run_id)
    later = records.last_time(connection, "success", one.dag_id, current=True)
    if ended is not None and later is not None and later > max(_due(one), ended):
        return f"run {one.run_id} has ended, and a later run succeeded{_when(later, one)}"
    return ""


def _asset(one: Incident) -> str:
    key = one.evidence.get("airflow.partition_key")
    asset = one.evidence.get("deadline.asset") or one.subject
    return f"partition {key} of {asset}" if key else str(asset)


def _due(one: Incident) -> float:
    return seconds(one.evidence["deadline.due"]) if "deadline.due" in one.evidence else one.first_seen


def _when(moment: float | None, one: Incident) -> str:
    """The moment at which something happened, beside the time at which it was due; empty where that is not known."""
    if moment is None:
        return ""
    due = _due(one)
    here, there = utc(moment), utc(due)
    form = "%H:%M" if here.date() == there.date() else "%Y-%m-%d %H:%M"
    late = f"{lasting(moment - due)} after it was due" if moment > due else "before it was due"
    return f" at {here.strftime(form)} UTC, {late}"
