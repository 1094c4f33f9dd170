"""Observing never harms the observed: the one place where our own exceptions end.

Everything that runs inside somebody else's task, callback or parser goes through
:func:`contained`. What it swallows is counted by (stage, reason) and reported by the next
``telemetry.lost`` event; while a test of pytest runs it is raised again, so no test passes over a bug.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from types import TracebackType

__all__ = ["contained", "count_loss", "own_fault", "take_losses", "text_of"]

_losses: Counter[tuple[str, str]] = Counter()
_said: set[tuple[str, type[Exception]]] = set()
_lock = threading.RLock()


def contained(stage: str) -> AbstractContextManager[None, bool]:
    """Run a block whose failure must not reach its caller; ``stage`` names the place in the count.

    Only ``Exception`` is contained: ``SystemExit``, ``KeyboardInterrupt`` and the
    ``BaseException`` by which Airflow times a task out or kills it pass through.
    """
    return _Contained(stage)


class _Contained:
    __slots__ = ("_stage",)

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        count_loss(self._stage, type(error).__name__)
        return own_fault(self._stage, error)


def own_fault(stage: str, error: Exception) -> bool:
    """Say once that we failed at ``stage``. True where the caller is to pass over what it failed at.

    False under pytest, where the caller raises the error again. The caller counts what it passes over.
    """
    if raises_again():
        return False
    _say_once(stage, error)
    return True


def raises_again() -> bool:
    """Tell whether a bug of ours is to be seen rather than survived: while a test runs.

    A process that a test has started inherits the variable, and a program may import pytest: both together tell.
    """
    return "PYTEST_CURRENT_TEST" in os.environ and "pytest" in sys.modules


def _say_once(stage: str, error: Exception) -> None:
    """Write a line to stderr for the first failure of its kind; only messages of our own are known to be harmless."""
    kind = type(error)
    if (stage, kind) in _said:
        return
    _said.add((stage, kind))
    message = f": {error}" if kind.__module__.startswith("observability.") else ""
    with suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"contrail: contained at {stage}: {kind.__name__}{message}\n")


def count_loss(stage: str, reason: str, number: int = 1) -> None:
    """Count ``number`` observations that were lost at ``stage`` because of ``reason``."""
    with _lock:
        _losses[stage, reason] += number


def take_losses() -> dict[tuple[str, str], int]:
    """The losses counted since the last call, by (stage, reason); the count starts again."""
    with _lock:
        taken = dict(_losses)
        _losses.clear()
    return taken


def text_of(value: object) -> str:
    """The text of any object, also of one whose own ``__str__`` or ``__repr__`` raises."""
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - user code: anything may come out of it
        return f"<{type(value).__name__} whose text cannot be had: {type(error).__name__}>"


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.RLock()
    _losses.clear()


os.register_at_fork(after_in_child=_after_fork)
