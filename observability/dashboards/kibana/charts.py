"""Lens panels: from a panel of ours to the state of the chart that Kibana draws for it."""

from __future__ import annotations

from typing import Any

from observability.dashboards.kibana.colours import AMBER, mapping, steps
from observability.dashboards.kibana.columns import Columns, columns_of, kql, order, static_value, terms, time_buckets
from observability.dashboards.kibana.runtime import DAG_TASK
from observability.dashboards.names import object_id
from observability.dashboards.panels import Panel, same_conditions, signals_of, source_of
from observability.dashboards.signals import Signal, conditions, measure

__all__ = ["heading_px", "lens"]

_SERIES = {"line": "line", "area": "area_stacked", "bars": "bar_stacked"}
_WIDTHS = {"date": 150, "number": 104}
"""The least pixels of a table's column: the words get what is left."""
_LETTER_PX, _ARROW_PX, _ARROWS_PX = 7.5, 38, 60
"""Pixels of a bold letter, of a heading's margins and menu, and of those with the arrow of what is sorted by."""
_DAG_AND_TASK = {"airflow.dag_id", "airflow.task_id"}


def heading_px(words: str, beside: int) -> int:
    """The pixels of a column whose heading is not cut: ``words``, and ``beside`` for the signs next to them."""
    return round(_LETTER_PX * len(words)) + beside


def lens(panel: Panel) -> dict[str, Any]:
    """The attributes of a by-value Lens panel."""
    layers, chart, state = _DRAW[panel.kind](panel)
    view = object_id(source_of(panel))
    return {
        "title": panel.title,
        "description": _description(panel),
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


def _description(panel: Panel) -> str:
    quiet = f"Empty is good: {panel.quiet.reason}" if panel.quiet else ""
    return f"{panel.note} {quiet}".strip()


def _query(panel: Panel) -> str:
    """The documents of all signals; where one field is measured, only those that have it make a line or a row."""
    texts = list(dict.fromkeys(kql(conditions(signal)) for signal in signals_of(panel)))
    if "" in texts:
        return ""
    whole = texts[0] if len(texts) == 1 else " or ".join(f"({text})" for text in texts)
    fields = {measure(signal)[1] for signal in signals_of(panel)}
    if panel.by and len(fields) == 1 and (field := fields.pop()) not in {"", "@timestamp", "metric.value"}:
        whole = f"({whole}) and {field} : *"
    return whole


def _answers(panel: Panel) -> Columns:
    """The metric columns. A layer that ignores global filters loses the panel's query too, so its columns filter."""
    columns: Columns = {}
    for number, question in enumerate(panel.questions):
        columns |= columns_of(f"q{number}", question, filtered=panel.alone or not same_conditions(panel))
    return columns


def _shown(panel: Panel) -> list[str]:
    return [f"q{number}" for number in range(len(panel.questions))]


def _splits(panel: Panel) -> Columns:
    question = panel.questions[panel.sort]
    sortable = isinstance(question, Signal) and question.aggregate != "last"
    return {
        f"by{number}": terms(
            _asked_field(panel, field),
            order_by=f"q{panel.sort}" if sortable else None,
            size=panel.top,
            rising=panel.rising,
        )
        for number, field in enumerate(panel.by)
    }


def _asked_field(panel: Panel, field: str) -> str:
    """A click on a task's name carries that cell alone, so where it opens a board the cell holds the DAG as well."""
    is_task = panel.opens and field == "airflow.task_id" and set(panel.by) >= _DAG_AND_TASK
    return DAG_TASK if is_task else field


def _layer(panel: Panel, columns: Columns) -> dict[str, Any]:
    return {
        "columns": columns,
        "columnOrder": order(columns),
        "incompleteColumns": {},
        "sampling": 1,
        "ignoreGlobalFilters": panel.alone,
    }


def _number(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    columns = _answers(panel)
    columns["q0"]["label"] = panel.title
    for column in columns.values():
        if column["operationType"] == "sum":
            column["params"]["emptyAsNull"] = False  # nothing lost is 0, not "N/A"
    state: dict[str, Any] = {"layerId": "main", "layerType": "data", "metricAccessor": "q0"}
    if panel.limits:
        state["palette"] = steps(panel.limits, tiles=True)
    trend = {"trend": time_buckets(), **_copies(columns)}
    state |= {
        "trendlineLayerId": "trend",
        "trendlineLayerType": "metricTrendline",
        "trendlineTimeAccessor": "trend",
        "trendlineMetricAccessor": "t_q0",
    }
    layers = {"main": _layer(panel, columns), "trend": _layer(panel, trend) | {"linkToLayers": ["main"]}}
    return layers, "lnsMetric", state


def _copies(columns: Columns) -> Columns:
    """The same columns under names of their own, as a layer that is drawn behind a number wants them."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        return f"t_{value}" if isinstance(value, str) and value in columns else value

    return {f"t_{name}": renamed(column) for name, column in columns.items()}


def _over_time(panel: Panel) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Values first, time inside each: so the list is the top of the whole time, and a gap in one line stays one."""
    columns = {**_splits(panel), "x": time_buckets(), **_answers(panel)}
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
    title = panel.questions[0].title if len(panel.questions) == 1 else ""
    state: dict[str, Any] = {
        "legend": {"isVisible": True, "position": "bottom", "shouldTruncate": False},
        "valueLabels": "hide",
        "fittingFunction": "Linear" if panel.sparse else "None",
        "preferredSeriesType": series,
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": bool(title), "yRight": False},
        "valuesInLegend": panel.kind in _SERIES,
        "layers": drawn,
    }
    if title:
        state["yTitle"] = title
    if panel.wide_range:
        state["yLeftScale"] = "log"
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
        column = columns[entry["columnId"]]
        if not column["isBucketed"]:
            least = _WIDTHS["number" if column["dataType"] == "number" else "date"]
            beside = _ARROWS_PX if entry["columnId"] == f"q{panel.sort}" else _ARROW_PX
            entry["width"] = max(least, heading_px(column["label"], beside))
            if panel.limits and entry["columnId"] == f"q{panel.sort}":
                entry |= {"colorMode": "cell", "palette": steps(panel.limits, tiles=True)}
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
    columns = {"x": time_buckets(), "y": terms(panel.by[0], order_by=None, size=panel.top), **_answers(panel)}
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
        "legend": {"isVisible": True, "position": "bottom", "type": "heatmap_legend"},
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
        "legendPosition": "bottom",
        "truncateLegend": False,
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
