"""The open incidents of the alerts, and what begins and ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.airflow.ui import ledger
from observability.errors import LedgerUnavailable
from observability.timestamps import iso
from observability.watch.ledger import records

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.events import Document

__all__ = ["open_incidents", "still_open"]


def still_open(alerts: Iterable[Document], begins: str, ends: str, about: tuple[str, ...]) -> list[Document]:
    """Facts that an event began and its counterpart has not ended, the last one of each thing it is ``about``."""
    last: dict[tuple[Any, ...], Document] = {}
    for document in alerts:
        if document["event.action"] in (begins, ends):
            last[tuple(document.get(name) for name in about)] = document
    return [document for document in last.values() if document["event.action"] == begins]


def open_incidents(alerts: Iterable[Document], *, resolved: bool = False) -> list[Document]:
    """The last account of each incident that is open, the newest first; ``resolved``: or was."""
    last: dict[str, Document] = {}
    for document in alerts:
        if document["event.action"].startswith("incident."):
            last[document.get("incident.id", "")] = document
    found = [document for document in last.values() if resolved or document["event.action"] != "incident.resolved"]
    return _with_repeats(sorted(found, key=lambda document: str(document.get("@timestamp")), reverse=True))


def _with_repeats(found: list[Document]) -> list[Document]:
    """Add how often each incident was seen, and when last: a repeat is no event, only the ledger counts it."""
    try:
        with ledger.transaction() as connection:
            known = records.repeats(connection, [str(document.get("incident.id")) for document in found])
    except LedgerUnavailable:
        return found
    seen = ({"incident.count": count, "incident.last_seen": iso(last)} for count, last in known.values())
    by_id = dict(zip(known, seen, strict=True))
    return [document | by_id.get(str(document.get("incident.id")), {}) for document in found]
