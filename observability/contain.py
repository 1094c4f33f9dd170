"""Observing never harms the observed: the one place where our own exceptions end.

Everything that runs inside somebody else's task, callback or parser goes through
:func:`contained`. What it swallows is counted by (stage, reason) and reported by the next
``telemetry.lost`` event; under pytest it is raised again, so no test passes over a bug.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["contained", "count_loss", "take_losses", "text_of"]

_losses: Counter[tuple[str, str]] = Counter()
_lock = threading.Lock()


@contextmanager
def contained(stage: str) -> Iterator[None]:
    """Run a block whose failure must not reach its caller; ``stage`` names the place in the count.

    Only ``Exception`` is contained: ``SystemExit``, ``KeyboardInterrupt`` and the
    ``BaseException`` by which Airflow times a task out or kills it pass through.
    """
    try:
        yield
    except Exception as error:
        count_loss(stage, type(error).__name__)
        if "pytest" in sys.modules:
            raise


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
