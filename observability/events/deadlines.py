"""The events of deadlines."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads it at run time
from typing import ClassVar

from observability.events.event import Event

__all__ = ["DeadlineApproached", "DeadlineKept", "DeadlineMissed", "DeadlineRecovered", "DeadlineUpcoming"]


class _Deadline(Event, frozen=True, kw_only=True):
    deadline: str
    occasion: str | None = None
    reason: str
    due: datetime | None = None
    lateness_ns: int | None = None
    severity: str | None = None
    asset: tuple[str, ...] | None = None
    cause: str = "deadline"
    provider: str = "callback"


class DeadlineApproached(_Deadline, frozen=True, kw_only=True):
    """A deadline is about to be missed; ``expected`` and ``chance`` (0 to 1) where the run's end can be foreseen."""

    action: ClassVar[str] = "deadline.approached"
    expected: datetime | None = None
    chance: float | None = None


class DeadlineMissed(_Deadline, frozen=True, kw_only=True):
    """A deadline was missed."""

    action: ClassVar[str] = "deadline.missed"


class DeadlineRecovered(_Deadline, frozen=True, kw_only=True):
    """A thing that was late has happened."""

    action: ClassVar[str] = "deadline.recovered"


class DeadlineUpcoming(Event, frozen=True, kw_only=True):
    """Something is due; emitted again when the forecast of its run has moved (intervals of 50 % and 90 %)."""

    action: ClassVar[str] = "deadline.upcoming"
    deadline: str
    occasion: str
    reason: str
    due: datetime
    expected: datetime | None = None
    chance: float | None = None
    likely_from: datetime | None = None
    likely_until: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    asset: tuple[str, ...] | None = None
    provider: str = "deadline"


class DeadlineKept(Event, frozen=True, kw_only=True):
    """A thing that was due has happened in time."""

    action: ClassVar[str] = "deadline.kept"
    deadline: str
    occasion: str
    reason: str
    due: datetime
    asset: tuple[str, ...] | None = None
    provider: str = "deadline"
