"""Lens panels: from a panel of ours to the state of the chart that Kibana draws for it."""

from __future__ import annotations

from typing import Any

from dashboards.kibana.colours import AMBER, mapping, steps
from dashboards.kibana.columns import Columns, columns_of, kql, order, static_value, terms, time_buckets
from dashboards.names import object_id
from dashboards.panels import Panel, same_conditions, signals_of, source_of
from dashboards.signals import Signal, conditions

__all__ = ["lens"]

_SERIES = {"line": "line", "area": "area_stacked", "bars": "bar_stacked"}
_SHIFTED = "3h"
"""A shift must be a multiple of the interval, so the interval is fixed where there is one."""


def lens(panel: Panel) -> dict[str, Any]:
    """The attributes of a by-value Lens panel."""
    layers, chart, state = _DRAW[panel.kind](panel)
    view = object_id(source_of(panel))
    return {
        "title": panel.title,
        "description": f"Empty is good: {panel.quiet.reason}" if panel.quiet else "",
        "type": "lens",
        "visualizationType": chart,
        "references": [
            {"name": f"indexpattern-datasource-layer-{name}", "type": "index-pattern", "id": view} for name in layers
        ],
        "state": {
            "visualization": state,
            "query": {"query": _query(panel), "language": "kuery"},
            "filters": [],
            "datasourceStates": {"formBased": {"layers": layers}, "textBased": {"layers": {}}},
            "internalReferences": [],
            "adHocDataViews": {},
        },
    }


def _query(panel: Panel) -> str:
    texts = list(dict.fromkeys(kql(conditions(signal)) for signal in signals_of(panel)))
    if "" in texts:
        return ""
    return texts[0] if len(texts) == 1 else " or ".join(f"({text})" for text in texts)


def _answers(panel: Panel) -> Columns:
    columns: Columns = {}
    for number, question in enumerate(panel.questions):
        columns |= columns_of(f"q{number}", question, filtered=not same_conditions(panel))
    return columns


def _shown(panel: Panel) -> list[str]:
    return [f"q{number}" for number in range(len(panel.questions))]


def _splits(panel: Panel) -> Columns:
    question = panel.questions[panel.sort]
    sortable = isinstance(question, Signal) and question.aggregate != "last"
    return {
        f"by{number}": terms(
            field,
            order_by=f"q{panel.sort}" if sortable else None,
            size=panel.top if number == 0 else min(panel.top, 5),
            rising=panel.rising,
        )
        for number, field in enumerate(panel.by)
    }


def _layer(panel: Panel, columns: Columns) -> dict[str, Any]:
    return {
        "columns": columns,
        "columnOrder": order(columns),
        "incompleteColumns": {},
        "sampling": 1,
        "ignoreGlobalFilters": panel.alone,
    }


def _number(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    state: dict[str, Any] = {"layerId": "main", "layerType": "data", "metricAccessor": "q0"}
    if panel.by:
        state |= {"breakdownByAccessor": "by0", "maxCols": 4}
    if panel.limits:
        state["palette"] = steps(panel.limits)
    return {"main": _layer(panel, _splits(panel) | _answers(panel))}, "lnsMetric", state


def _over_time(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    shifted = any(signal.shift for signal in signals_of(panel))
    columns = {"x": time_buckets(_SHIFTED if shifted else "auto"), **_splits(panel), **_answers(panel)}
    return _xy(panel, _SERIES[panel.kind], columns, split="by0" if panel.by else "")


def _ranking(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    splits = _splits(panel)
    columns = {"x": splits["by0"], **({"by1": splits["by1"]} if len(splits) > 1 else {}), **_answers(panel)}
    return _xy(panel, "bar_horizontal_stacked", columns, split="by1" if len(splits) > 1 else "")


def _xy(panel: Panel, series: str, columns: Columns, split: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    data: dict[str, Any] = {
        "layerId": "main",
        "layerType": "data",
        "seriesType": series,
        "position": "top",
        "showGridlines": False,
        "xAccessor": "x",
        "accessors": _shown(panel),
    }
    if split:
        data["splitAccessor"] = split
        if colours := mapping(columns[split]["sourceField"]):
            data["colorMapping"] = colours
    layers = {"main": _layer(panel, columns)}
    drawn = [data]
    if panel.line:
        layers["limit"] = _layer(panel, {"limit": static_value(*panel.line)})
        drawn.append(_limit())
    state = {
        "legend": {"isVisible": True, "position": "right"},
        "valueLabels": "hide",
        "fittingFunction": "None",
        "preferredSeriesType": series,
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": True, "yRight": True},
        "layers": drawn,
    }
    return layers, "lnsXY", state


def _limit() -> dict[str, Any]:
    style = {
        "forAccessor": "limit",
        "axisMode": "left",
        "color": AMBER,
        "lineWidth": 2,
        "lineStyle": "dashed",
        "fill": "above",
        "icon": "alert",
        "iconPosition": "auto",
        "textVisibility": True,
    }
    return {"layerId": "limit", "layerType": "referenceLine", "accessors": ["limit"], "yConfig": [style]}


def _table(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    columns = _splits(panel) | _answers(panel)
    shown: list[dict[str, Any]] = [{"columnId": name} for name in (*_splits(panel), *_shown(panel))]
    for entry in shown:
        if columns[entry["columnId"]]["dataType"] == "date":
            entry["width"] = 220
    state = {
        "layerId": "main",
        "layerType": "data",
        "columns": shown,
        "paging": {"size": 10, "enabled": True},
        "rowHeight": "single",
        "rowHeightLines": 1,
        "headerRowHeight": "single",
        "sorting": {"columnId": f"q{panel.sort}", "direction": "asc" if panel.rising else "desc"},
    }
    return {"main": _layer(panel, columns)}, "lnsDatatable", state


def _heatmap(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    columns = {"x": time_buckets(), "y": terms(panel.by[0], order_by=None, size=20), **_answers(panel)}
    grid = {
        "type": "heatmap_grid",
        "isCellLabelVisible": False,
        "isYAxisLabelVisible": True,
        "isXAxisLabelVisible": True,
        "isYAxisTitleVisible": False,
        "isXAxisTitleVisible": False,
    }
    state: dict[str, Any] = {
        "shape": "heatmap",
        "layerId": "main",
        "layerType": "data",
        "xAccessor": "x",
        "yAccessor": "y",
        "valueAccessor": "q0",
        "legend": {"isVisible": True, "position": "right", "type": "heatmap_legend"},
        "gridConfig": grid,
    }
    if panel.limits:
        state["palette"] = steps(panel.limits, "q0")
    return {"main": _layer(panel, columns)}, "lnsHeatmap", state


def _donut(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    part: dict[str, Any] = {
        "layerId": "main",
        "layerType": "data",
        "primaryGroups": [f"by{number}" for number in range(len(panel.by))],
        "metrics": ["q0"],
        "numberDisplay": "percent",
        "categoryDisplay": "default",
        "legendDisplay": "show",
        "legendPosition": "right",
        "nestedLegend": False,
    }
    if colours := mapping(panel.by[0]):
        part["colorMapping"] = colours
    columns = _splits(panel) | _answers(panel)
    return {"main": _layer(panel, columns)}, "lnsPie", {"shape": "donut", "layers": [part]}


_DRAW = {
    "number": _number,
    "line": _over_time,
    "area": _over_time,
    "bars": _over_time,
    "ranking": _ranking,
    "table": _table,
    "heatmap": _heatmap,
    "donut": _donut,
}
