"""The canary: a sample of every kind of event, sent through the real path, and the question whether it arrived."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import fields

from observability import catalog
from observability.emit import emit
from observability.events import CanaryMissing, CanaryVerified, by_action
from observability.store.store import Query, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from observability.events import Event
    from observability.store.store import Store

__all__ = ["Arrival", "arrival", "await_arrival", "report", "send_round"]

_SAMPLES: dict[str, Any] = {"str": "canary", "int": 1}
_VALUES: dict[str, Any] = {"cause": "platform", "severity": "info", "kind": "test", "incident_state": "resolved"}
_DATASETS = sorted({spec.dataset for spec in catalog.EVENTS.values()})


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the store has of a round: kinds that are missing or there more than once, or why it cannot say."""

    missing: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def complete(self) -> bool:
        """Each kind is there exactly once."""
        return not (self.missing or self.doubled or self.trouble)

    def __str__(self) -> str:
        """What is wrong, as a sentence part."""
        told = (("missing", self.missing), ("stored more than once", self.doubled))
        parts = [f"{len(kinds)} kinds {what}: {', '.join(kinds)}" for what, kinds in told if kinds]
        return "; ".join([*parts, *([self.trouble] if self.trouble else [])]) or "complete"


def send_round(number: int) -> int:
    """Emit a probe of every kind for round ``number``; answers how many were recorded."""
    return sum(emit(_sample(kind, number)) for kind in by_action().values())


def arrival(store: Store, number: int, since: datetime) -> Arrival:
    """What ``store`` has of round ``number``, which was sent after ``since``."""
    found: dict[str, int] = {}
    try:
        for dataset in _DATASETS:
            found |= store.count(Query(dataset, {"canary.probe": number}, since=since), by="event.action")
    except StoreError as error:
        return Arrival(trouble=f"the store cannot be asked: {error}")
    return Arrival(
        missing=tuple(kind for kind in catalog.EVENTS if kind not in found),
        doubled=tuple(kind for kind in catalog.EVENTS if found.get(kind, 0) > 1),
    )


def await_arrival(store: Store, number: int, since: datetime, *, timeout_s: float, poll_s: float = 0.2) -> int | None:
    """Wait for round ``number``; answers with the ns that it took, None when ``timeout_s`` was not enough."""
    began = time.monotonic_ns()
    while not arrival(store, number, since).complete:
        if time.monotonic_ns() - began > timeout_s * 1e9:
            return None
        time.sleep(poll_s)
    return time.monotonic_ns() - began


def report(number: int, found: Arrival, took_ns: int | None, log: Callable[..., Any] | None = None) -> None:
    """Emit what became of round ``number``."""
    if found.complete:
        emit(CanaryVerified(sequence=number, duration_ns=took_ns), log=log)
    else:
        emit(CanaryMissing(sequence=number, reason=str(found)), log=log)


def _sample(kind: type[Event], number: int) -> Event:
    required = {
        part.name: _VALUES.get(part.name, _SAMPLES.get(part.type.__name__)) for part in fields(kind) if part.required
    }
    return kind(**required, probe=number, discriminator=f"probe:{number}")
