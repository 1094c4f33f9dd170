"""Spans of time as people say them."""

from __future__ import annotations

__all__ = ["lasting"]

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def lasting(seconds: float) -> str:
    """A span as people say it: 4467 -> ``1 h 14 min``; 100 -> ``1 min 40 s``; below zero is zero."""
    left = max(0, round(seconds))
    parts = []
    for unit, size in _UNITS:
        number, left = divmod(left, size)
        parts.append((number, unit))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
