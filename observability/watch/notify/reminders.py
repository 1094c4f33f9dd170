"""Reminders that go together: those of one DAG as one, and those of many DAGs in one message."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from observability.watch.grouping import RUN_KINDS
from observability.watch.incidents import escalates
from observability.watch.ledger import records
from observability.watch.ledger.database import read_cursor
from observability.watch.rules.config import decide, policy_for

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident
    from observability.watch.rules.config import AlertingConfig

__all__ = ["due_together", "is_due", "put_off"]

_TOGETHER = 4
"""A reminder comes up to this part of its wait too early, to go with others."""
_RANK = ("info", "warning", "error", "critical").index


def is_due(incident: Incident, now: float) -> bool:
    """Tell whether an incident is to remind of itself now, and has nothing else to say."""
    due = incident.remind_at is not None and incident.remind_at <= now
    return due and incident.notify_at is None and incident.state in {"open", "acknowledged"}


def put_off(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> Incident | None:
    """The incident with a later reminder, where another one or the DAG's pause makes this one needless."""
    policy = policy_for(rules, incident, now)
    if incident.kind not in RUN_KINDS:
        return None
    if incident.dag_id in _paused(connection) and not incident.inhibited_by:
        later = now + policy.remind_acknowledged_s - policy.remind_every_s
        return replace(incident, remind_at=max(later, now + 1.0), inhibited_by="its DAG is paused")
    if escalates(incident, policy) or not _another_reminds(connection, rules, incident, now):
        return None
    wait = policy.remind_every_s if incident.state == "open" else policy.remind_acknowledged_s
    return replace(incident, remind_at=now + wait)


def due_together(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> list[Incident]:
    """The incidents whose reminders go with that of ``incident``; empty where there are too few for one message."""
    heard_by = decide(rules, incident, now).channels
    found, paused = [], _paused(connection)
    for one in records.live_incidents(connection):
        policy = policy_for(rules, one, now)
        wait = policy.remind_every_s if one.state == "open" else policy.remind_acknowledged_s
        is_open = one.notified == "opened" and one.state in {"open", "acknowledged"}
        if not is_open or not is_due(one, now + wait / _TOGETHER) or escalates(one, policy):
            continue
        rests = one.kind in RUN_KINDS and one.dag_id in paused
        if one.id == incident.id or (not rests and decide(rules, one, now).channels == heard_by):
            found.append(one)
    return found if len(found) >= rules.timing.digest_reminders else []


def _another_reminds(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> bool:
    """Tell whether an older incident of the same DAG reminds the same people of something as bad."""
    heard_by = decide(rules, incident, now).channels
    for one in records.live_incidents(connection, dag_id=incident.dag_id):
        if one.id == incident.id:
            return False
        open_too = one.kind in RUN_KINDS and one.state == "open" and one.notified == "opened"
        if not open_too or _RANK(one.severity) < _RANK(incident.severity):
            continue
        if decide(rules, one, now).channels == heard_by:
            return True
    return False


def _paused(connection: Connection) -> set[str]:
    """The DAGs that are paused: somebody has seen to them, or Airflow has, which is notified by itself."""
    dags = (read_cursor(connection, "reconcile") or {}).get("dags", {})
    return {dag_id for dag_id, about in dags.items() if about.get("paused")}
