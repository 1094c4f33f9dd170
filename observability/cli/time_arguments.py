"""Moments and spans as people type them on the command line, and as the commands print them."""

from __future__ import annotations

import re
from datetime import timezone

from observability.durations import lasting
from observability.errors import ArgumentError
from observability.timestamps import parsed
from observability.watch.rules.config import parse_duration

__all__ = ["lasting", "later_moment_of", "moment_of"]

_LAST = 253_402_300_799.0
"""The end of the year 9999."""


def moment_of(text: str, now: float) -> float:
    """Seconds since 1970 of ``15m`` (ago), an ISO 8601 time (UTC where it names no zone), or a number."""
    span = parse_duration(text)
    return _possible(now - span if isinstance(span, float) else _written(text), text)


def later_moment_of(text: str, now: float) -> float:
    """Seconds since 1970 of ``15m`` (from now), an ISO 8601 time (UTC where it names no zone), or a number."""
    span = parse_duration(text)
    return _possible(now + span if isinstance(span, float) else _written(text), text)


def _written(text: str) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    try:
        found = parsed(text)
    except ValueError:
        raise _no_time(text) from None
    return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()


def _possible(moment: float, text: str) -> float:
    if not abs(moment) <= _LAST:
        raise _no_time(text)
    return moment


def _no_time(text: str) -> ArgumentError:
    return ArgumentError(f"{text[:40]!r} is not a time; write 30m, 2h, 1d or 2026-01-31T08:00:00Z")
