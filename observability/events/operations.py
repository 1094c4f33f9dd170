"""The events of those who operate Airflow and Contrail: components, the audit log, sinks, losses, the canary."""

from __future__ import annotations

from typing import ClassVar

from observability.events.event import Event, Finding, Over

__all__ = [
    "AuditRecorded",
    "CanaryMissing",
    "CanaryVerified",
    "ComponentRecovered",
    "ComponentSilent",
    "SinkFailed",
    "SinkRecovered",
    "TelemetryLost",
]


class ComponentSilent(Finding, frozen=True, kw_only=True):
    """A component of Airflow or Contrail stopped its heartbeat; ``hostname`` where there is one on each host."""

    action: ClassVar[str] = "component.silent"
    hostname: str | None = None


class ComponentRecovered(Over, frozen=True, kw_only=True):
    """A silent component has a heartbeat again; ``duration_ns`` is how long it was known to be silent."""

    action: ClassVar[str] = "component.recovered"
    hostname: str | None = None


class AuditRecorded(Event, frozen=True, kw_only=True):
    """Somebody asked for what stands in Airflow's event log; the discriminator is its number there.

    ``outcome`` says what became of it: Airflow writes down what it then refuses as well.
    """

    action: ClassVar[str] = "audit.recorded"
    outcome: str = "unknown"
    user_name: str | None = None
    audit_event: str
    audit_extra: str | None = None
    category: tuple[str, ...] = ()
    change: tuple[str, ...] = ()


class TelemetryLost(Event, frozen=True, kw_only=True):
    """Observations were lost, rejected or contained."""

    action: ClassVar[str] = "telemetry.lost"
    stage: str
    lost_reason: str
    lost: int
    stream: str | None = None
    sink: str | None = None


class SinkFailed(Finding, frozen=True, kw_only=True):
    """A sink takes no records, or refuses some for good; ``stage`` names sink, host and which of the two."""

    action: ClassVar[str] = "sink.failed"
    stage: str
    sink: str
    lost: int | None = None
    provider: str = "relay"


class SinkRecovered(Over, frozen=True, kw_only=True):
    """A sink takes records again, or refuses no more of them; ``duration_ns`` is how long it did not."""

    action: ClassVar[str] = "sink.recovered"
    stage: str
    sink: str
    provider: str = "relay"


class CanaryVerified(Event, frozen=True, kw_only=True):
    """The last canary's events are in the store; ``duration_ns`` is the time they took."""

    action: ClassVar[str] = "canary.verified"
    sequence: int
    duration_ns: int | None = None


class CanaryMissing(Event, frozen=True, kw_only=True):
    """The last canary's events are not in the store."""

    action: ClassVar[str] = "canary.missing"
    sequence: int
    reason: str
