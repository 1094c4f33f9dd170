"""Colours that mean something: good, look today, look now; the same value has the same colour on every board."""

from __future__ import annotations

from typing import Any

__all__ = ["AMBER", "mapping", "steps", "tones"]

GREEN, AMBER, RED, BLUE, GREY, DARK = "#209280", "#D6BF57", "#CC5642", "#6092C0", "#98A2B3", "#7B000B"
_TILES = "#9FD8C8", "#F5DD8F", "#F3A698"
"""Green, amber and red to write upon: the number on them stays readable."""

_VALUES: dict[str, dict[str, str]] = {
    "event.outcome": {"success": GREEN, "failure": RED, "unknown": GREY},
    "airflow.state": {
        "success": GREEN,
        "failed": RED,
        "up_for_retry": AMBER,
        "skipped": GREY,
        "killed": DARK,
        "running": BLUE,
    },
    "event.action": {
        "task.started": BLUE,
        "task.succeeded": GREEN,
        "task.skipped": GREY,
        "task.retried": AMBER,
        "task.failed": RED,
        "task.killed": DARK,
        "deadline.approached": AMBER,
        "deadline.missed": RED,
        "deadline.recovered": GREEN,
        "incident.opened": RED,
        "incident.acknowledged": BLUE,
        "incident.reopened": BLUE,
        "incident.escalated": DARK,
        "incident.resolved": GREEN,
    },
    "level": {"debug": GREY, "info": BLUE, "warning": AMBER, "error": RED, "critical": DARK},
    "incident.severity": {"info": BLUE, "warning": AMBER, "error": RED, "critical": DARK},
    "notification.state": {"sent": GREEN, "failed": AMBER, "dead": RED},
    "telemetry.result": {"emitted": GREY, "stored": GREEN, "duplicate": BLUE, "rejected": RED, "dropped": DARK},
}


_TONES = {GREEN: "good", AMBER: "warn", RED: "bad", BLUE: "calm", GREY: "faint", DARK: "dire"}


def tones(field: str) -> dict[str, str]:
    """The colours of a field's values, for a page that has a light and a dark face."""
    return {value: _TONES[colour] for value, colour in _VALUES.get(field, {}).items()}


def mapping(field: str) -> dict[str, Any] | None:
    """Fixed colours for the values of a field, None where its values have no meaning of their own."""
    if field not in _VALUES:
        return None
    return {
        "assignmentMode": "manual",
        "paletteId": "eui_amsterdam_color_blind",
        "colorMode": {"type": "categorical"},
        "assignments": [
            {
                "rule": {"type": "matchExactly", "values": [value]},
                "color": {"type": "colorCode", "colorCode": colour},
                "touched": True,
            }
            for value, colour in _VALUES[field].items()
        ],
        "specialAssignments": [
            {
                "rule": {"type": "other"},
                "touched": False,
                "color": {"type": "categorical", "colorIndex": 1, "paletteId": "neutral"},
            }
        ],
    }


def steps(limits: tuple[float, float], accessor: str = "", *, tiles: bool = False) -> dict[str, Any]:
    """Green below the first limit, amber from it, red from the second; both ends are open. ``tiles``: to write upon."""
    colours = _TILES if tiles else (GREEN, AMBER, RED)
    palette: dict[str, Any] = {
        "type": "palette",
        "name": "custom",
        "params": {
            "name": "custom",
            "reverse": False,
            "rangeType": "number",
            "rangeMin": None,
            "rangeMax": None,
            "continuity": "all",
            "progression": "fixed",
            "steps": 3,
            "maxSteps": 5,
            "colorStops": [{"color": c, "stop": s} for c, s in zip(colours, (None, *limits), strict=True)],
            "stops": [{"color": c, "stop": s} for c, s in zip(colours, (*limits, None), strict=True)],
        },
    }
    return palette | ({"accessor": accessor} if accessor else {})
