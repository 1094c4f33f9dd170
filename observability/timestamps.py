"""Moments as text, for documents, pages and services alike: ISO 8601 in UTC, which ends in ``Z``."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Literal

__all__ = ["Precision", "iso", "parsed", "utc"]

Precision = Literal["seconds", "milliseconds", "microseconds"]
"""The part of a second that is written: a person reads milliseconds, a key or a cursor needs microseconds."""


def utc(seconds: float) -> datetime:
    """Return a time in seconds since 1970 as a datetime in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def iso(moment: datetime | float, precision: Precision = "milliseconds") -> str:
    """Return a datetime (one without a zone is in UTC), or seconds since 1970, as text."""
    if not isinstance(moment, datetime):
        moment = utc(moment)
    elif moment.tzinfo is not timezone.utc:
        moment = moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def parsed(text: str) -> datetime:
    """Return the datetime that a text says, with its zone if it has one. Raises :class:`ValueError`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
