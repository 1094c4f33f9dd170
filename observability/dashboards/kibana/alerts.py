"""The findings of Kibana's own rules, as Kibana shows them: a data view, a search, and a row of the alerts board.

Other stores have no such documents, so neither CloudWatch nor the pages in Airflow have the row.
"""

from __future__ import annotations

from typing import Any, Final

from observability.dashboards.panels import Panel, Row, Saved

__all__ = ["HEADINGS", "ROWS", "SEARCH", "SOURCE", "VIEW_NAME", "WIDTHS", "WORDY", "formats"]

SOURCE: Final = "kibana-alerts"
VIEW_NAME = "Contrail: Kibana's alerts"

HEADINGS = {
    "alert": "About",
    "group": "State",
    "kibana_rule_id": "Rule's id",
    "limit": "Limit",
    "link": "Documents",
    "rule": "Key",
    "rule_url": "Rule",
    "runbook": "Runbook",
    "severity": "Severity",
    "title": "What",
    "value": "Found",
}
WIDTHS = {"severity": 100, "group": 90, "alert": 200, "value": 140, "limit": 140, "link": 120, "runbook": 110}
WORDY = {"title"}
_STATES = {"query matched": "fired", "recovered": "over"}

SEARCH = Saved(
    "kibana-alerts-search",
    "Contrail: Kibana's alerts",
    SOURCE,
    ("group", "severity", "title", "alert", "value", "limit", "link", "runbook"),
)
ROWS: dict[str, tuple[Row, ...]] = {
    "alerts": (
        Row(
            "What did Kibana's rules find?",
            "Each time that a rule began to hold or no longer did. The lists above do not apply to it.",
            (
                Panel(
                    key="kibana-alerts",
                    title="Kibana's alerts",
                    kind="search",
                    saved=SEARCH.key,
                    size=(48, 12),
                ),
            ),
        ),
    ),
}
"""Rows that only Kibana's form of a board has, by the board's key."""


def formats() -> dict[str, Any]:
    """The display of each field of an alert document."""
    states = [{"key": value, "value": label} for value, label in _STATES.items()]
    return {
        "@timestamp": {"id": "date", "params": {"pattern": "MMM D, HH:mm:ss"}},
        "group": {"id": "static_lookup", "params": {"lookupEntries": states, "unknownKeyValue": None}},
        "link": _link("documents"),
        "rule_url": _link("rule"),
        "runbook": _link("runbook"),
    }


def _link(label: str) -> dict[str, Any]:
    shown = {"type": "a", "urlTemplate": "{{rawValue}}", "labelTemplate": label, "openLinkInCurrentTab": False}
    return {"id": "url", "params": shown}
