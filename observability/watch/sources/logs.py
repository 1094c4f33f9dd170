"""The log folder as a source: the last words in an attempt's log say how it ended, plugin or not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from observability import causes
from observability.catalog import CAUSES
from observability.events import base_iteration, iteration_labels
from observability.exit_messages import ending_of, is_of_task
from observability.log_template import templates
from observability.regular_files import open_regular
from observability.settings import get_settings
from observability.watch.log_tail import tail_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["LastWords", "last_words", "log_path", "place_of", "records_of", "words_in"]

_TAIL_BYTES = 131_072
_FAILED = ("task.failed", "task.retried")
_TRIGGER_FAILED = "Trigger failed:"
_OPERATORS = re.compile(r"(task|airflow\.task(\..+)?)$")
"""The loggers of an operator's own words (``BaseOperator.log``); what a task prints has others (``task.stdout``)."""


@dataclass(frozen=True, slots=True)
class LastWords:
    """The end of an attempt by its own log: the cause if it says so, a sentence, ECS fields, the last lines.

    ``spoken`` are those of the last lines that the task itself said, so that they are nobody else's word.
    """

    cause: str | None = None
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    spoken: frozenset[str] = frozenset()


def log_path(  # noqa: PLR0913, PLR0917 - each is a column of what it is about
    folder: Path, dag_id: str, run_id: str, task_id: str, map_index: int, attempt: int, iteration: str | None = None
) -> Path:
    """The path of an attempt's log by Airflow's template, or by an earlier one.

    An iteration of a task loop that a person had run again has a number more in its path, which only the path has:
    the newest is meant.
    """
    about = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": map_index, "try_number": attempt}
    labels = (None,) if iteration is None else iteration_labels(base_iteration(iteration) or 0)
    names = [
        name
        for one in templates(get_settings().log_filename_template)
        for label in reversed(labels)
        if (name := one.render({**about, "iteration": label}))
    ]
    paths = [folder / name for name in names]
    return next((path for path in paths if path.is_file()), paths[len(labels) - 1])


def place_of(one: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters by which Airflow's API knows an instance of a task: its map index, or in a task loop its region."""
    place = {"map_index": -1 if one.get("map_index") is None else one["map_index"]}
    region_id, index = one.get("region_id"), one.get("region_index")
    return place if region_id is None or index is None else {"region_id": region_id, "region_index": index}


def last_words(path: Path) -> LastWords:
    """Read the end of the log at ``path``; nothing where there is no such file."""
    records = records_of(path)
    return words_in(records) if records else LastWords()


def records_of(path: Path) -> list[dict[str, Any]]:
    """The last records of the log at ``path``, oldest first; none where it cannot be read."""
    try:
        with open_regular(path, follow=False) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    return [record for line in lines if (record := _record(line)) is not None]


def words_in(records: Iterable[dict[str, Any]]) -> LastWords:
    """The verdict of these records of an attempt's log, oldest first."""
    seen: list[dict[str, Any]] = []
    found, trigger = LastWords(), ""
    for record in records:
        said = str(record.get("event", ""))
        seen.append(record)
        if said.startswith(_TRIGGER_FAILED) and _OPERATORS.match(str(record.get("logger", "task"))):
            trigger = said[len(_TRIGGER_FAILED) :]
        found = _by_exception(record, trigger) or _by_callback(record, found) or _by_supervisor(record, found) or found
    spoken = frozenset(tail_of(record for record in seen if is_of_task(record)))
    return LastWords(found.cause, found.reason, {**found.evidence, "log_tail": tail_of(seen)}, spoken)


def _by_exception(record: dict[str, Any], trigger: str) -> LastWords | None:
    """Airflow's own line about the error that ended the attempt; ``trigger`` is the traceback of its trigger."""
    if record.get("event") != "Task failed with exception" or not _is_by(record, "task", "task_runner.py"):
        return None
    failure = causes.describe_detail(record.get("error_detail"))
    if failure is not None and failure.error_type == "TaskDeferralError" and trigger.strip():
        failure = causes.describe_trigger(trigger.replace("\n\n", "\n"))  # its lines, which end so, are joined by more
    return _of_failure(failure) if failure is not None else None


def _of_failure(failure: causes.Failure) -> LastWords:
    evidence: dict[str, Any] = {
        "error.type": failure.error_type,
        "error.message": (failure.error_message or "")[:2000],
        "error.frame": failure.frame or "",
        "error.fingerprint": failure.fingerprint,
    }
    if failure.exit_code is not None:
        evidence["process.exit_code"] = failure.exit_code
    return LastWords(failure.cause, failure.reason, evidence)


def _by_callback(record: dict[str, Any], before: LastWords) -> LastWords | None:
    """The callback's own line: it had the exception itself, and so the last word about it."""
    if record.get("event.action") not in _FAILED or record.get("airflow.cause") not in CAUSES:
        return None
    if not _is_by(record, "observability", "callbacks.py"):
        return None
    said: dict[str, Any] = {
        name: str(record[name]) for name in ("error.type", "error.frame", "error.fingerprint") if name in record
    }
    reason = str(record.get("event.reason") or before.reason)
    return LastWords(str(record["airflow.cause"]), reason, {**before.evidence, **said})


def _is_by(record: dict[str, Any], logger: str, file: str) -> bool:
    """True where this logger in this file wrote it: a task can choose the name of a logger, but not where it logs."""
    return (record.get("logger", logger), record.get("filename", file)) == (logger, file)


def _by_supervisor(record: dict[str, Any], before: LastWords) -> LastWords | None:
    ending = ending_of(record)
    if ending is None:
        return None
    if ending.signal is None and before.cause is not None:
        return None  # an exit code after an exception is its consequence
    more = {"airflow.signal": ending.signal, "process.exit_code": ending.exit_code}
    evidence = {**before.evidence, **{name: value for name, value in more.items() if value is not None}}
    if before.cause in {"timeout", "oom"}:
        return LastWords(before.cause, before.reason, evidence)
    return LastWords(ending.cause, ending.reason, evidence)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {"event": line.decode("utf-8", "replace")} if line.strip() else None
    return found if isinstance(found, dict) else None
