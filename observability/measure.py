"""A measured step of a task: how many rows and bytes went in and came out, how fresh they are, how long it took.

Frames are recognised by what they can do (``len``, ``nbytes``, ``memory_usage``, ``columns``); no data library is
imported. What goes wrong in here never reaches the step, and what the step raises passes through untouched.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import time
from datetime import date, datetime, timezone
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar, cast

from observability.contain import contained, text_of
from observability.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from observability.events import Event

__all__ = ["Step", "measure"]

_T = TypeVar("_T")
_F = TypeVar("_F", bound="Callable[..., Any]")
_LONGEST_MESSAGE = 2000
_NO_FAILURE = frozenset({"AirflowSkipException", "AirflowRescheduleException", "TaskDeferred", "GeneratorExit"})
"""Exceptions that leave a step without a failure, by name: Airflow's ways to skip, wait and defer."""
_number = itertools.count()
_BELOW_MICROSECONDS = re.compile(r"(?<=\.\d{6})\d+")
"""Digits that Python 3.10 cannot read in a time."""


def measure(name: str, *, table: str | None = None) -> Step:
    """Measure a block (``with``) or a function (``@``) that works on ``table``."""
    return Step(name, table)


class Step:
    """The measures of a step so far; each call adds to it."""

    def __init__(self, name: str, table: str | None = None) -> None:
        self.name = name
        self.table = table
        self.rows_in: int | None = None
        self.rows_out: int | None = None
        self.rows_rejected: int | None = None
        self._bytes_in: int | None = None
        self._bytes_out: int | None = None
        self._watermark: datetime | None = None
        self._began = time.perf_counter_ns()

    def input(self, value: _T, *, size: int | None = None) -> _T:
        """Add a frame, a collection or a number of rows to what was read; ``size`` in bytes. Returns ``value``."""
        with contained("measure"):
            self.rows_in = _sum(self.rows_in, _rows(value))
            self._bytes_in = _sum(self._bytes_in, _bytes(value) if size is None else size)
        return value

    def output(self, value: _T, *, size: int | None = None) -> _T:
        """Add to the rows written, as :meth:`input` to those read. Returns ``value``."""
        with contained("measure"):
            self.rows_out = _sum(self.rows_out, _rows(value))
            self._bytes_out = _sum(self._bytes_out, _bytes(value) if size is None else size)
        return value

    def rejected(self, value: _T, *, rule: str) -> _T:
        """Say that rows (a frame, a number …) broke ``rule`` and went to quarantine. Returns ``value``."""
        with contained("measure"):
            count = _rows(value) or 0
            self.rows_rejected = _sum(self.rows_rejected, count)
            if count:
                from observability.events import RowsRejected

                about = self._discriminator(f"{rule}:{next(_number)}")
                _emit(
                    RowsRejected(step=self.name, table=self.table, rule=rule, rows_rejected=count, discriminator=about)
                )
        return value

    def columns(self, value: _T, expected: Iterable[str]) -> _T:
        """Report a drift when ``value`` (a frame, or names) has other columns than expected. Returns ``value``."""
        with contained("measure"):
            names: Any = getattr(value, "columns", value)
            found, known = [str(name) for name in names], [str(name) for name in expected]
            added = tuple(name for name in found if name not in known)
            removed = tuple(name for name in known if name not in found)
            if added or removed:
                from observability.events import SchemaDrifted

                about = self._discriminator(f"columns:{next(_number)}")
                table = self.table or self.name
                _emit(SchemaDrifted(table=table, columns_added=added, columns_removed=removed, discriminator=about))
        return value

    def watermark(self, value: Any) -> None:
        """Say which is the newest moment that the data covers: a datetime, date, timestamp or ISO 8601 text."""
        with contained("measure"):
            moment = _moment(value)
            if moment is not None:
                self._watermark = max(moment, self._watermark or moment)

    def __enter__(self) -> Self:
        self._began = time.perf_counter_ns()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        took = time.perf_counter_ns() - self._began
        with contained("measure"):
            _emit(self._measured(took) if error is None or _is_no_failure(error) else self._failed(took, error))

    def __call__(self, function: _F) -> _F:
        """``function``, measured at each call; what it returns counts as output."""

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with Step(self.name, self.table) as step:
                return step.output(function(*args, **kwargs))

        return cast("_F", measured)

    def _measured(self, took: int) -> Event:
        from observability.events import StepMeasured

        age = None
        if self._watermark is not None:
            age = int((datetime.now(timezone.utc) - self._watermark).total_seconds() * 1e9)
        return StepMeasured(
            step=self.name,
            table=self.table,
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            rows_rejected=self.rows_rejected,
            bytes=self._bytes_in if self._bytes_out is None else self._bytes_out,
            watermark=self._watermark,
            watermark_age_ns=age,
            duration_ns=took,
            discriminator=self._discriminator(str(next(_number))),
        )

    def _failed(self, took: int, error: BaseException) -> Event:
        from observability.events import StepFailed

        return StepFailed(
            step=self.name,
            table=self.table,
            rows_in=self.rows_in,
            rows_out=self.rows_out,
            rows_rejected=self.rows_rejected,
            duration_ns=took,
            error_type=type(error).__name__,
            error_message=text_of(error)[:_LONGEST_MESSAGE],
            discriminator=self._discriminator(str(next(_number))),
        )

    def _discriminator(self, part: str) -> str:
        """Tells this fact from the same step's in a loop, in another process of the same attempt, or outside a task."""
        return f"{self.name}:{part}:{os.getpid()}:{time.time_ns()}"


def _emit(event: Event) -> None:
    from observability.emit import emit

    emit(event, log=_log)


def _log(level: str, message: str, **keys: Any) -> None:
    getattr(get_logger("observability.measure"), level)(message, **keys)


def _is_no_failure(error: BaseException) -> bool:
    return any(kind.__name__ in _NO_FAILURE for kind in type(error).__mro__)


def _sum(before: int | None, more: int | None) -> int | None:
    return before if more is None else (before or 0) + more


def _rows(value: Any) -> int | None:
    """Count the rows of ``value``; None for what has no rows that could be counted without consuming it."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__len__"):
        return None
    return len(value)


def _bytes(value: Any) -> int | None:
    """The memory of a frame or array, None for anything else."""
    if isinstance(value, Integral):
        return None
    size = getattr(value, "nbytes", None)
    if size is None and callable(usage := getattr(value, "memory_usage", None)):
        size = usage()
        size = size.sum() if hasattr(size, "sum") else size
    return None if size is None else int(size)


def _moment(value: Any) -> datetime | None:
    """``value`` as an aware datetime (UTC where it says no zone); None for the NaT of an empty column."""
    if value is None or value != value:  # noqa: PLR0124 - only a NaT or NaN differs from itself
        return None
    if callable(convert := getattr(value, "to_pydatetime", None)):
        value = convert(warn=False)
    elif not isinstance(value, date):
        value = datetime.fromisoformat(_BELOW_MICROSECONDS.sub("", str(value)).replace("Z", "+00:00"))
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=timezone.utc)
    moment = cast("datetime", value)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
