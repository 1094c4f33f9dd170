"""Trace and span ids: functions of the run, attempt or step, so that each process and each resend derives the same."""

from __future__ import annotations

from datetime import timezone
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["attempt_span", "derived_trace", "event_span", "nanoseconds_of", "run_key", "run_span", "trace_in"]

_TRACE_DIGITS = 32
_EPOCH_DAY = 719_163
"""The ordinal of 1970-01-01."""
_REMEMBERED = 4096
_OWN_LENGTH = len("2026-01-31T12:00:00.000000Z")


def run_key(fields: Mapping[str, Any]) -> bytes | None:
    """Key of the run that a document is about; None where it is about none."""
    dag, run = fields.get("airflow.dag_id"), fields.get("airflow.run_id")
    return _of_run("run", str(dag), str(run)) if dag and run else None


def attempt_span(fields: Mapping[str, Any]) -> bytes | None:
    """Span id of the task attempt that a document is about; None where it is about none."""
    dag, run, task = (fields.get(f"airflow.{name}") for name in ("dag_id", "run_id", "task_id"))
    number = fields.get("airflow.try_number")
    if not (dag and run and task) or number is None:
        return None
    index = fields.get("airflow.map_index")
    return _hash("attempt", dag, run, task, -1 if index is None else index, number, fields.get("airflow.iteration"))


def run_span(fields: Mapping[str, Any], trace: bytes) -> bytes:
    """Span id of the run that a document is about; a run that was cleared has another trace, and so another span."""
    return _of_run_and_trace(str(fields.get("airflow.dag_id")), str(fields.get("airflow.run_id")), trace)


def event_span(fact: str) -> bytes:
    """Span id of what one event alone says, such as a step."""
    return _hash("event", fact)


def derived_trace(fields: Mapping[str, Any]) -> bytes:
    """The trace id of a run for which Airflow stored none."""
    return _of_run("trace", str(fields.get("airflow.dag_id")), str(fields.get("airflow.run_id")))


def trace_in(fields: Mapping[str, Any]) -> bytes:
    """The trace id that a document carries; b"" where it carries none that OTLP takes."""
    text = fields.get("trace.id")
    if not isinstance(text, str) or len(text) != _TRACE_DIGITS:
        return b""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        return b""
    return found if len(found) == _TRACE_DIGITS // 2 and any(found) else b""


def nanoseconds_of(when: Any) -> int:
    """A moment as documents write it, in ns since 1970; 0 for anything else."""
    text = str(when)
    if len(text) == _OWN_LENGTH and text[-1] == "Z" and (fraction := text[20:26]).isdecimal() and text[19] == ".":
        return _nanoseconds(text[:19]) + int(fraction) * 1000 if text.isascii() else 0
    return _nanoseconds(text)


@lru_cache(maxsize=_REMEMBERED)
def _nanoseconds(text: str) -> int:
    try:
        moment = parsed(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        moment = moment.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return 0
    seconds = (moment.toordinal() - _EPOCH_DAY) * 86_400 + moment.hour * 3600 + moment.minute * 60 + moment.second
    return max(0, seconds * 1_000_000_000 + moment.microsecond * 1000)


@lru_cache(maxsize=_REMEMBERED)
def _of_run(kind: str, dag: str, run: str) -> bytes:
    return _hash(kind, dag, run, size=16)


@lru_cache(maxsize=_REMEMBERED)
def _of_run_and_trace(dag: str, run: str, trace: bytes) -> bytes:
    return _hash("run", dag, run, trace.hex())


def _hash(*parts: Any, size: int = 8) -> bytes:
    text = "\x1f".join(["" if part is None else str(part) for part in parts])
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
