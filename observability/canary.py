"""The canary: a sample of every kind of event, sent through the real path, and the question whether it arrived."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import fields

from observability import catalog
from observability.emit import PROBES, emit
from observability.events import CanaryMissing, CanaryVerified, by_action
from observability.store.store import Query, StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from observability.events import Event
    from observability.settings import Settings
    from observability.store.store import Store

__all__ = ["Arrival", "arrival", "ask", "await_arrival", "report", "send_round"]

_SAMPLES: dict[str, Any] = {"str": "canary", "int": 1}
_VALUES: dict[str, Any] = {"cause": "platform", "severity": "info", "kind": "test", "incident_state": "resolved"}


@dataclass(frozen=True, slots=True)
class Arrival:
    """The result of a round: kinds that are missing or there more than once, or why the store cannot say."""

    missing: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def complete(self) -> bool:
        """Each kind is there exactly once."""
        return not (self.missing or self.doubled or self.trouble)

    def __str__(self) -> str:
        """The fault, as a sentence part."""
        findings = (("missing", self.missing), ("stored more than once", self.doubled))
        parts = [f"{len(kinds)} kinds {what}: {', '.join(kinds)}" for what, kinds in findings if kinds]
        return "; ".join([*parts, *([self.trouble] if self.trouble else [])]) or "complete"


def send_round(number: int) -> int:
    """Emit a probe of every kind for round ``number``; answers how many were recorded."""
    return sum(emit(_sample(kind, number)) for kind in by_action().values())


def arrival(store: Store, number: int, since: datetime) -> Arrival:
    """Look up round ``number``, which was sent after ``since``, in ``store``."""
    try:
        found = store.count(Query(PROBES, {"canary.probe": number}, since=since), by="event.action")
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


def ask(settings: Settings, number: int, since: datetime, *, wait_s: float = 0.0) -> tuple[Arrival, int | None]:
    """Look up round ``number`` in the store in use, and the ns that it took where it came within ``wait_s``.

    A store that cannot be opened is trouble of the round, no error of the task that asks.
    """
    try:
        store = open_store(settings)
    except Exception as error:  # noqa: BLE001 - a client library's fault, too, is a store that cannot be asked
        return Arrival(trouble=f"the store cannot be opened: {type(error).__name__}: {error}"), None
    try:
        took_ns = await_arrival(store, number, since, timeout_s=wait_s) if wait_s else None
        return arrival(store, number, since), took_ns
    finally:
        store.close()


def report(number: int, found: Arrival, took_ns: int | None, logger: Any = None) -> None:
    """Emit what became of round ``number``; ``logger`` has a method for each level, as every logger of a task has."""
    log = None if logger is None else _by_level(logger)
    if found.complete:
        emit(CanaryVerified(sequence=number, duration_ns=took_ns), log=log)
    else:
        emit(CanaryMissing(sequence=number, reason=str(found)), log=log)


def _by_level(logger: Any) -> Callable[..., Any]:
    """A task's logger takes a number where ours takes a word, so a level is a method of both."""

    def log(level: str, message: str, **keys: Any) -> None:
        getattr(logger, level)(message, **keys)

    return log


def _sample(kind: type[Event], number: int) -> Event:
    required = {
        part.name: _VALUES.get(part.name, _SAMPLES.get(part.type.__name__)) for part in fields(kind) if part.required
    }
    return kind(**required, probe=number, discriminator=f"probe:{number}")
