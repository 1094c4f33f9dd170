"""The event, and what failures, findings and recoveries have in common."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, ClassVar

from msgspec import Struct

from observability.events.fields import EVENT_FIELDS
from observability.events.identity import Document, Identity, fact_id
from observability.timestamps import iso

__all__ = ["Event", "Failure", "Finding", "Over", "moment", "own_fields", "provider_of"]


class Event(Struct, frozen=True, kw_only=True):
    """An event: what happened, when, and to what.

    ``discriminator`` tells apart facts of one kind about one identity (a step's name, a run's end);
    ``time`` is when it happened, now where it is not given. ``probe`` makes it a sample of its kind for
    that round of the canary: carried like any other, into a data stream of its own, and neither counted nor logged.
    """

    action: ClassVar[str]
    identity: Identity | None = None
    time: datetime | None = None
    discriminator: str = ""
    probe: int | None = None

    @property
    def id(self) -> str:
        """32 hex digits, a function of the fact alone."""
        return fact_id(self.action, self.identity, self.discriminator)

    def document(self) -> Document:
        """The fields by their ECS names, without those that are None."""
        when = self.time or datetime.now(timezone.utc)
        document: Document = {
            "event.id": self.id,
            "@timestamp": moment(when),
            "event.action": self.action,
        }
        if self.identity is not None:
            document.update(self.identity.document())
        if self.probe is not None:
            document["canary.probe"] = self.probe
        for name in own_fields(type(self)):
            if (value := getattr(self, name)) is not None:
                document[EVENT_FIELDS[name]] = _json(value)
        return document


def moment(when: datetime | None) -> str:
    """``when`` as documents write it, "" for None.

    A run that is cleared begins and ends again: what tells these facts apart is their moment, so the
    discriminator of a run's begin is ``moment(start_date)``, that of its end ``moment(end_date)``.
    """
    return iso(when.astimezone(timezone.utc), "microseconds") if when else ""


def provider_of(document: Document) -> str:
    """The source that reported what a document says; earlier versions wrote it as ``airflow.witness``."""
    return str(document.get("event.provider") or document.get("airflow.witness") or "")


class Failure(Event, frozen=True, kw_only=True):
    """Something of Airflow failed: cause and error, the process's end, memory in bytes, times in ns."""

    cause: str
    reason: str
    state: str = "failed"
    provider: str = "callback"
    error_type: str | None = None
    error_message: str | None = None
    stack_trace: str | None = None
    fingerprint: str | None = None
    frame: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    peak_rss: int | None = None
    memory_limit: int | None = None
    cpu_time_ns: int | None = None
    duration_ns: int | None = None


class Finding(Event, frozen=True, kw_only=True):
    """Something is wrong that one of our own processes found by looking."""

    reason: str
    cause: str = "platform"
    provider: str = "reconciler"


class Over(Event, frozen=True, kw_only=True):
    """Something that was found wrong is right again; ``duration_ns`` is how long it was known to be wrong."""

    reason: str = ""
    cause: str = "platform"
    duration_ns: int | None = None
    provider: str = "reconciler"


_BASE = Event.__struct_fields__
_OWN: dict[type[Event], tuple[str, ...]] = {}


def own_fields(kind: type[Event]) -> tuple[str, ...]:
    """The names of the parts that a kind has beside those of every event."""
    if kind not in _OWN:
        _OWN[kind] = tuple(name for name in kind.__struct_fields__ if name not in _BASE)
    return _OWN[kind]


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    return list(value) if isinstance(value, tuple) else value
