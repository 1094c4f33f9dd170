"""Boards as dashboards of Grafana on Prometheus: the panels that metrics alone can answer.

A panel that asks events or log lines has no query in Prometheus and is left out; the first row says how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.dashboards.boards import BOARDS
from observability.dashboards.prometheus.queries import expression, tag_of
from observability.dashboards.signals import metric_spec, parts, unit

if TYPE_CHECKING:
    from observability.dashboards.panels import Board, Panel
    from observability.dashboards.signals import Question

__all__ = ["dashboard", "dashboards", "queries"]

_TYPES = {
    "number": "stat", "line": "timeseries", "area": "timeseries", "bars": "timeseries", "ranking": "bargauge",
    "donut": "piechart", "table": "table",
}  # fmt: skip
_OVER_TIME = frozenset({"line", "area", "bars"})
_UNITS = {"ms": "ms", "s": "s", "bytes": "bytes", "percent": "percentunit"}
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_VARIABLES = {"service.environment": "env", "airflow.dag_id": "dag_id", "airflow.task_id": "task_id"}
"""Fields of a board's controls that are labels in Prometheus."""
_WIDTH = 24


def dashboards() -> dict[str, dict[str, Any]]:
    """A dashboard for each board of which metrics can answer a part, by the board's key."""
    made = {board.key: dashboard(board) for board in BOARDS}
    return {key: one for key, one in made.items() if queries(one)}


def queries(made: dict[str, Any]) -> list[str]:
    """Every query of a dashboard."""
    return [target["expr"] for panel in made["panels"] for target in panel.get("targets", ())]


def dashboard(board: Board) -> dict[str, Any]:
    """One board; ids and places are the same at each build."""
    panels: list[dict[str, Any]] = []
    place, left_out = _Place(), 0
    for row in board.rows:
        found = [(panel, _targets(board, panel)) for panel in row.panels]
        left_out += sum(not targets for _, targets in found)
        if not any(targets for _, targets in found):
            continue
        panels.append({"type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": place.row()})
        panels += [_panel(panel, targets, place) for panel, targets in found if targets]
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    remark = f" {left_out} panels ask events or logs; they are in Kibana and on Airflow's pages." if left_out else ""
    return {
        "uid": f"contrail-{board.key}",
        "title": f"Contrail: {board.title}",
        "description": f"{board.description}{remark}",
        "tags": ["contrail"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": board.since, "to": "now"},
        "templating": {"list": [_source_variable(), *_variables(board)]},
        "panels": panels,
    }


class _Place:
    """Places panels from left to right, and below each other."""

    def __init__(self) -> None:
        self._x = self._y = self._height = 0

    def row(self) -> dict[str, int]:
        """A line of its own."""
        self._y += self._height
        here = {"x": 0, "y": self._y, "w": _WIDTH, "h": 1}
        self._x, self._y, self._height = 0, self._y + 1, 0
        return here

    def panel(self, width: int, height: int) -> dict[str, int]:
        """The next place of that size; ours has 48 columns, Grafana 24."""
        wide = min(_WIDTH, max(4, width // 2))
        if self._x + wide > _WIDTH:
            self._x, self._y, self._height = 0, self._y + self._height, 0
        here = {"x": self._x, "y": self._y, "w": wide, "h": height}
        self._x, self._height = self._x + wide, max(self._height, height)
        return here


def _targets(board: Board, panel: Panel) -> list[dict[str, Any]]:
    """The queries of a panel; empty where one of its questions has none."""
    if panel.kind not in _TYPES:
        return []
    window = "$__interval" if panel.kind in _OVER_TIME else "$__range"
    more = () if panel.alone else tuple((field, f"${name}") for field, name in _chosen(board))
    found = []
    for letter, question in zip("ABCDEFGH", panel.questions, strict=False):
        query = expression(question, panel.by, window, more)
        if query is None:
            return []
        if panel.kind in {"ranking", "table", "donut"} and panel.by:
            query = f"{'bottomk' if panel.rising else 'topk'}({panel.top}, {query})"
        found.append({
            "refId": letter, "expr": query, "datasource": _SOURCE, "instant": panel.kind not in _OVER_TIME,
            "range": panel.kind in _OVER_TIME, "legendFormat": _legend(question, panel),
        })  # fmt: skip
    return found


def _panel(panel: Panel, targets: list[dict[str, Any]], place: _Place) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.limits:
        steps += [
            {"color": colour, "value": limit} for colour, limit in zip(("orange", "red"), panel.limits, strict=True)
        ]
    shown = unit(panel.questions[0])
    is_seconds = any(metric_spec(one.metric).type == "timer" for one in _metrics(panel.questions[0]))
    custom = {"drawStyle": "bars"} if panel.kind == "bars" else {"fillOpacity": 20} if panel.kind == "area" else {}
    return {
        "type": _TYPES[panel.kind],
        "title": panel.title,
        "description": panel.note,
        "datasource": _SOURCE,
        "gridPos": place.panel(*panel.size),
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": "s" if is_seconds else _UNITS.get(shown, "short"),
                "thresholds": {"mode": "absolute", "steps": steps},
                "custom": custom,
            },
            "overrides": [],
        },
    }


def _metrics(question: Question) -> list[Any]:
    found = [part if part.source == "metrics" else part.series for part in parts(question)]
    return [one for one in found if one is not None]


def _legend(question: Question, panel: Panel) -> str:
    found = _metrics(question)
    tags = [f"{{{{{tag_of(field, found[0].metric)}}}}}" for field in panel.by] if found else []
    return " ".join([*([question.title] if len(panel.questions) > 1 or not tags else []), *tags])


def _chosen(board: Board) -> list[tuple[str, str]]:
    return [(control.field, _VARIABLES[control.field]) for control in board.controls if control.field in _VARIABLES]


def _variables(board: Board) -> list[dict[str, Any]]:
    titles = {control.field: control.title for control in board.controls}
    return [
        {
            "type": "query", "name": name, "label": titles[field], "datasource": _SOURCE, "refresh": 2, "multi": True,
            "query": {"query": f"label_values({_LISTED[name]}, {name})", "refId": name}, "includeAll": True,
            "allValue": ".*", "current": {"text": "All", "value": "$__all"},
        }
        for field, name in _chosen(board)
    ]  # fmt: skip


_LISTED = {
    "env": "contrail_relay_up", "dag_id": "contrail_dag_run_outcomes_total", "task_id": "contrail_task_attempts_total",
}  # fmt: skip


def _source_variable() -> dict[str, Any]:
    return {"type": "datasource", "name": "source", "label": "Prometheus", "query": "prometheus"}
