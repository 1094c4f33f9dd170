"""The last lines of an attempt's log that say something about the task: what Airflow writes around it is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["is_airflows_own", "tail_of"]

_LINES = 12
_QUIET = {"debug", "info", "", None}
_AROUND = ("airflow.dag_processing.", "airflow.sdk.execution_time", "airflow.models.dagbag", "airflow.task.operators.")
_MARKS = ("::group::", "::endgroup::")


def tail_of(records: Iterable[Mapping[str, Any]], lines: int = _LINES) -> list[str]:
    """The last lines of these records, oldest first: time, level, text, and the error of one that has it."""
    found: list[str] = []
    for record in records:
        if not is_airflows_own(record):
            found += [line for line in (_line(record), *_error(record)) if line]
    return found[-lines:]


def is_airflows_own(record: Mapping[str, Any]) -> bool:
    """Tell whether Airflow wrote ``record`` about its own work: how it starts a task, groups lines, pushes results."""
    event = str(record.get("event", ""))
    if event.startswith(_MARKS):
        return True
    logger = str(record.get("logger") or "")
    if record.get("level") not in _QUIET:
        return logger == "py.warnings" and "airflow" in event
    if logger.startswith("airflow.task.operators."):
        return event.startswith("Done. Returned value was")
    return logger == "task" or logger.startswith(_AROUND)


def _line(record: Mapping[str, Any]) -> str:
    time = str(record.get("timestamp") or "").partition("T")[2][:8]
    level = str(record.get("level") or "")
    parts = (time, "" if level == "info" else level.upper(), str(record.get("event", "")))
    return " ".join(part for part in parts if part)


def _error(record: Mapping[str, Any]) -> list[str]:
    details = record.get("error_detail")
    if not isinstance(details, list):
        return []
    said = (f"  {one.get('exc_type')}: {one.get('exc_value')}" for one in details if isinstance(one, dict))
    return [line.partition("\n")[0] for line in said]
