"""The events of the alert path: channels, rules, incidents, notifications."""

from __future__ import annotations

from typing import ClassVar

from observability.events.event import Event, Finding, Over

__all__ = [
    "ChannelBroken",
    "ChannelRecovered",
    "IncidentAcknowledged",
    "IncidentEscalated",
    "IncidentOpened",
    "IncidentReopened",
    "IncidentResolved",
    "NotificationFailed",
    "NotificationSent",
    "RuleFired",
    "RuleRecovered",
    "RulesAccepted",
    "RulesRejected",
]


class ChannelBroken(Finding, frozen=True, kw_only=True):
    """A channel does not take messages, or a test message did not arrive."""

    action: ClassVar[str] = "channel.broken"
    channel: str
    provider: str = "outbox"


class ChannelRecovered(Over, frozen=True, kw_only=True):
    """A channel takes messages again."""

    action: ClassVar[str] = "channel.recovered"
    channel: str
    provider: str = "outbox"


class RulesRejected(Finding, frozen=True, kw_only=True):
    """The file of alert rules cannot be used; the old rules stay in force."""

    action: ClassVar[str] = "rules.rejected"
    file_path: str
    provider: str = "watcher"


class RulesAccepted(Over, frozen=True, kw_only=True):
    """The file of alert rules can be used again."""

    action: ClassVar[str] = "rules.accepted"
    file_path: str
    provider: str = "watcher"


class RuleFired(Finding, frozen=True, kw_only=True):
    """A rule of Kibana fired for something that the watcher had not seen; ``rule_id`` is the rule, then its group."""

    action: ClassVar[str] = "rule.fired"
    rule_id: str
    severity: str | None = None
    runbook: str | None = None
    provider: str = "kibana"


class RuleRecovered(Over, frozen=True, kw_only=True):
    """A rule of Kibana that fired is quiet again."""

    action: ClassVar[str] = "rule.recovered"
    rule_id: str
    provider: str = "kibana"


class _Incident(Event, frozen=True, kw_only=True):
    incident_id: str
    incident_key: str
    incident_state: str
    incident_title: str | None = None
    severity: str
    count: int
    reason: str
    cause: str | None = None
    age_ns: int | None = None
    runbook: str | None = None
    fingerprint: str | None = None
    asset: tuple[str, ...] | None = None


class IncidentOpened(_Incident, frozen=True, kw_only=True):
    """Something went wrong that was not known."""

    action: ClassVar[str] = "incident.opened"


class IncidentAcknowledged(_Incident, frozen=True, kw_only=True):
    """A person took the incident."""

    action: ClassVar[str] = "incident.acknowledged"


class IncidentReopened(_Incident, frozen=True, kw_only=True):
    """A person took back that the incident was taken, or over."""

    action: ClassVar[str] = "incident.reopened"


class IncidentEscalated(_Incident, frozen=True, kw_only=True):
    """Nobody took the incident in time."""

    action: ClassVar[str] = "incident.escalated"


class IncidentResolved(_Incident, frozen=True, kw_only=True):
    """The incident is over."""

    action: ClassVar[str] = "incident.resolved"


class _Notification(Event, frozen=True, kw_only=True):
    channel: str
    kind: str
    incident_id: str
    incident_key: str
    reason: str
    attempts: int = 1
    cause: str | None = None
    duration_ns: int | None = None
    asset: tuple[str, ...] | None = None


class NotificationSent(_Notification, frozen=True, kw_only=True):
    """A channel accepted a notification; ``duration_ns`` counts from the fact."""

    action: ClassVar[str] = "notification.sent"
    delivery: str = "sent"


class NotificationFailed(_Notification, frozen=True, kw_only=True):
    """A channel did not take a notification; ``delivery`` is ``dead`` when it is given up."""

    action: ClassVar[str] = "notification.failed"
    delivery: str = "failed"
