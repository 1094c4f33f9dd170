"""The notifications of a replay: what would have been sent, to whom, and what would have held it back."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from observability.watch.rules.config import decide, matches, route_wait

if TYPE_CHECKING:
    from observability.watch.incidents import Incident
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Sent", "held_until", "notification"]

_SILENCED_S = 900.0
"""A silence is asked again after this long: its hours may be over."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A notification that would have been sent; ``at`` in seconds since 1970, ``why`` names the route."""

    at: float
    kind: str
    rule: str
    dag_id: str
    run_id: str | None
    severity: str
    receivers: tuple[str, ...]
    channels: tuple[str, ...]
    reason: str
    why: str

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for the same notification under other rules."""
        return (round(self.at), self.kind, self.rule, self.dag_id, self.run_id, self.severity, self.channels)


def held_until(rules: AlertingConfig, one: Incident, now: float, *, notified: bool) -> float:
    """The time until which a silence of the rules, or the wait of its route, holds an incident back; else ``now``."""
    for window in rules.silences:
        begin, end = window.begins_at, window.ends_at
        lasts = (begin is None or begin <= now) and (end is None or now < end)
        if lasts and matches(window.match, one, now) is None:
            return min(now + _SILENCED_S, inf if end is None else end)
    wait = 0.0 if notified else route_wait(rules, one, now)
    return max(now, one.first_seen + wait) if wait else now


def notification(rules: AlertingConfig, kind: str, one: Incident, at: float) -> Sent:
    """The notification about an incident, to whom the rules send it."""
    found = decide(rules, one, at)
    return Sent(
        at, kind, one.subject, one.dag_id or "", one.run_id, found.severity, found.receivers, found.channels,
        one.reason, found.why[-1] if found.why else "",
    )  # fmt: skip
