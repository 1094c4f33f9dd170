"""The delay of a run that the clock started: Airflow's own metric counts catch-up and backfill too, in years."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.timezone import coerce_datetime
from airflow.timetables.base import DataInterval, TimeRestriction

from observability.contain import contained

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["schedule_delay_ns"]

_BY_THE_CLOCK = frozenset({"scheduled", "DagRunType.SCHEDULED"})
_UNRESTRICTED = TimeRestriction(earliest=None, latest=None, catchup=True)


def schedule_delay_ns(dag_run: Any) -> int | None:
    """Nanoseconds from when the clock wanted a run to its start.

    None for a run by hand, of a backfill or of assets, for a rerun, and for one that catches up: when it began, the
    next one was due as well.
    """
    due, began = getattr(dag_run, "run_after", None), dag_run.start_date
    if due is None or began is None or str(dag_run.run_type) not in _BY_THE_CLOCK:
        return None
    following = _following(dag_run, due)
    if getattr(dag_run, "clear_number", 0) or (following is not None and following <= began):
        return None
    delay: float = (began - due).total_seconds()
    return max(0, round(delay * 1e9))


def _following(dag_run: Any, due: datetime) -> datetime | None:
    """The moment at which the next run is due; None where the timetable does not say.

    A timetable of intervals says it by their length. One of moments has intervals without a length, and is asked.
    """
    start, end = getattr(dag_run, "data_interval_start", None), getattr(dag_run, "data_interval_end", None)
    if start is None or end is None:
        return None
    if end > start:
        by_length: datetime = due + (end - start)
        return by_length
    timetable = getattr(getattr(dag_run, "dag", None), "timetable", None)
    if timetable is None:
        return None
    with contained("listener.schedule_delay"):  # a timetable may be anybody's: the run's beginning is told anyway
        last = DataInterval(coerce_datetime(start), coerce_datetime(end))  # the database answers plain datetimes
        found = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=_UNRESTRICTED)
        return None if found is None else found.run_after
    return None
