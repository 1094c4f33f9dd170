"""Gauges of the watcher beside its events: heartbeats of components, incidents that are open, its own delay."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from observability import metrics
from observability.watch.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection

    from observability.watch.facts import Fact

__all__ = ["delay", "heartbeat", "open_incidents"]

_SEVERITIES = ("info", "warning", "error", "critical")


def heartbeat(component: str, age_s: float) -> None:
    """The age of a component's last heartbeat."""
    metrics.gauge("contrail.component.heartbeat_age_ms", max(0.0, age_s) * 1000, component=component)


def open_incidents(connection: Connection) -> None:
    """Count the open incidents of every severity: nought is said too."""
    table = schema.incidents
    asked = select(table.c.severity, func.count()).where(table.c.open_key.is_not(None)).group_by(table.c.severity)
    counted = {row[0]: row[1] for row in connection.execute(asked)}
    for severity in _SEVERITIES:
        metrics.gauge("contrail.incident.open", counted.get(severity, 0), severity=severity)


def delay(facts: Iterable[Fact], now: float) -> None:
    """The wait of the oldest of the facts that were just read; said only where there are any."""
    waited = [max(0.0, now - fact.time) for fact in facts]
    if waited:
        metrics.gauge("contrail.watcher.lag_ms", max(waited) * 1000)
