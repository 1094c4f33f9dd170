"""StatsD metrics from task code. (First form; see the module's owner.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["flush", "send"]


def send(name: str, kind: str, value: float, tags: Mapping[str, str]) -> None:
    """Add a sample of a catalogued metric; ``kind`` is counter, gauge, timer or set."""


def flush() -> None:
    """Send what has been aggregated."""
