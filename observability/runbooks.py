"""Runbooks: which page says what to do about an incident, and the address under which people reach it."""

from __future__ import annotations

from observability import catalog

__all__ = ["runbook_address", "runbook_page"]

_DEAD_PROCESS = {"killed", "oom", "lost_heartbeat"}


def runbook_page(kind: str, cause: str | None) -> str:
    """Name of the page about incidents of ``kind`` (a key of ``catalog.INCIDENT_KINDS``) with that cause."""
    if cause in _DEAD_PROCESS:
        return "task-killed"
    known = catalog.INCIDENT_KINDS.get(kind)
    return known.runbook if known else "task-failed"


def runbook_address(page: str, *, served_at: str, airflow: str) -> str:
    """Address of a page: below ``served_at``, else the plugin's own on the Airflow at ``airflow``.

    ``page`` is the name of a file of docs/runbooks/ without ``.md``, and may be the placeholder of a template.
    """
    base = served_at.rstrip("/")
    return f"{base}/{page}.md" if base else f"{airflow.rstrip('/')}/contrail/runbooks?page={page}"
