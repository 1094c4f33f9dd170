"""An incident as the commands print it for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.cli.silences import rules_for_people
from observability.settings import get_settings
from observability.timestamps import iso
from observability.watch.notify.messages import Links

if TYPE_CHECKING:
    from observability.watch.incidents import Incident

__all__ = ["incident_document", "links"]


def links() -> Links:
    """The addresses that the settings and the rules in force allow for."""
    return Links.of(get_settings(), rules_for_people())


def incident_document(one: Incident) -> dict[str, Any]:
    """The incident as JSON values, as every command prints it."""
    return {
        "id": one.id,
        "key": one.key,
        "state": one.state,
        "severity": one.severity,
        "cause": one.cause,
        "reason": one.reason,
        "dag_id": one.dag_id,
        "run_id": one.run_id,
        "task_id": one.task_id,
        "map_index": one.map_index if one.map_index >= 0 else None,
        "iteration": one.iteration,
        "subject": one.subject or None,
        "kind": one.kind,
        "owner": one.about.get("owner"),
        "count": one.count,
        "first_seen": iso(one.first_seen),
        "last_seen": iso(one.last_seen),
        "acknowledged_by": one.acknowledged_by,
        "assigned_to": one.about.get("assigned_to"),
        "verdict": one.about.get("verdict"),
        "resolved_at": iso(one.resolved_at) if one.resolved_at else None,
        "inhibited_by": one.inhibited_by or None,
        "failed_tasks": list(one.failed_tasks),
        "runbook": links().runbook(one),
    }
