"""An incident as its events tell it, for a host that cannot read the watcher's ledger: to read, not to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from observability.airflow.ui.pages.incident import Step
from observability.airflow.ui.pages.reading import events_of, first
from observability.catalog import CAUSE_LABELS
from observability.watch.notify.messages import plain
from observability.watch.notify.titles import title_says

if TYPE_CHECKING:
    from observability.events import Document
    from observability.store import Readable

__all__ = ["ReportedIncident", "reported_incident"]

_STATES = {"incident.resolved": "resolved", "incident.acknowledged": "acknowledged"}
_WORDS = {
    "incident.opened": "It was seen for the first time.",
    "incident.acknowledged": "It was acknowledged.",
    "incident.reopened": "It was seen again.",
    "incident.escalated": "It was escalated.",
    "incident.resolved": "It was resolved.",
}


@dataclass(frozen=True, slots=True)
class ReportedIncident:
    """The last account of an incident, its reason where the title lacks it, and the moments that were reported."""

    id: str
    title: str
    state: str
    reason: str
    last: Document
    history: list[Step]


def reported_incident(store: Readable, incident_id: str) -> ReportedIncident | None:
    """The incident of the store's events that the reader may see; None where there are none."""
    found = events_of(store, {"incident.id": incident_id}, dataset="contrail.alert")
    said = [one for one in found if one["event.action"].startswith("incident.")]
    if not said:
        return None
    last = said[-1]
    cause = last.get("airflow.cause") or ""
    about = last.get("airflow.dag_id") or "incident"
    title = first(reversed(said), "incident.title") or ": ".join(filter(None, (about, CAUSE_LABELS.get(cause, cause))))
    state = last.get("incident.state") or _STATES.get(last["event.action"], "open")
    reason = str(last.get("event.reason") or "")
    reason = "" if title_says(title, reason) else reason
    return ReportedIncident(incident_id, plain(title), state, reason, last, [_step(one) for one in found])


def _step(document: Document) -> Step:
    action = document["event.action"]
    what = _WORDS.get(action)
    if what is None:
        told: list[Any] = [document.get("notification.kind"), "notice to", document.get("notification.channel")]
        what = f"{' '.join(map(str, filter(None, told)))}: {document.get('notification.state') or action}"
    return Step(str(document["@timestamp"]), plain(what.replace("_", " ").capitalize()))
