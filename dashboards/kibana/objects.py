"""Saved objects: data views, searches and dashboards, as Kibana's import takes them.

Versions are those that Kibana 8.12 writes; newer Kibanas migrate them, an older one refuses newer ones.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dashboards.boards import BOARDS, SAVED
from dashboards.kibana.charts import lens
from dashboards.kibana.columns import kql
from dashboards.names import DATA_VIEWS, Names, index_pattern, object_id, stable_uuid
from observability import catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dashboards.panels import Board, Control, Panel, Saved

__all__ = ["SavedObject", "ndjson", "saved_objects"]

SavedObject = dict[str, Any]
_VERSION = "8.12.2"
_TYPE_VERSIONS = {"dashboard": "8.9.0", "index-pattern": "8.0.0", "search": "8.0.0"}
_COLUMNS = 48
_RUN_PATH = {
    "type": "keyword",
    "script": {
        "source": "if (doc['airflow.task_id'].size() > 0 && doc['airflow.run_id'].size() > 0) {"
        " emit('dags/' + doc['airflow.dag_id'].value + '/runs/'"
        " + doc['airflow.run_id'].value.replace(':', '%3A').replace('+', '%2B')"
        " + '/tasks/' + doc['airflow.task_id'].value); }"
    },
}
"""Log lines do not carry the path of their page: it is computed for those that are shown."""
_HEADER_HEIGHT = 4
_BY_TIME_OR_BAR = {"line", "area", "bars", "ranking"}
"""Charts on which a click was seen to open the drill-downs."""


def saved_objects(names: Names) -> list[SavedObject]:
    """Everything, in the order in which it can be imported."""
    return [
        *(_data_view(source, names) for source in DATA_VIEWS),
        *(_search(saved) for saved in SAVED),
        *(_dashboard(board) for board in BOARDS),
    ]


def ndjson(objects: list[SavedObject]) -> str:
    """The import file: one object a line."""
    return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects)


def _object(kind: str, name: str, attributes: dict[str, Any], references: list[dict[str, str]]) -> SavedObject:
    return {
        "type": kind,
        "id": object_id(name),
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": _TYPE_VERSIONS[kind],
    }


def _data_view(source: str, names: Names) -> SavedObject:
    attributes = {
        "title": index_pattern(source),
        "name": DATA_VIEWS[source][0],
        "timeFieldName": "@timestamp",
        "fields": "[]",
        "fieldAttrs": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
        "fieldFormatMap": json.dumps(_formats(names)),
        "runtimeFieldMap": json.dumps({"airflow.run_path": _RUN_PATH} if source == "logs" else {}),
    }
    return _object("index-pattern", source, attributes, [])


def _formats(names: Names) -> dict[str, Any]:
    def url(template: str, label: str) -> dict[str, Any]:
        shown = {"type": "a", "urlTemplate": template, "labelTemplate": label, "openLinkInCurrentTab": False}
        return {"id": "url", "params": shown}

    duration = {"outputFormat": "humanizePrecise", "outputPrecision": 1, "useShortSuffix": True}
    by_unit = {
        "ns": {"id": "duration", "params": {"inputFormat": "nanoseconds", **duration}},
        "bytes": {"id": "bytes", "params": {"pattern": "0,0.[0]b"}},
        "rows": {"id": "number", "params": {"pattern": "0,0"}},
    }
    formats = {name: by_unit[spec.unit] for name, spec in catalog.FIELDS.items() if spec.unit in by_unit}
    return formats | {
        "airflow.dag_id": url(f"{names.airflow_url}/dags/{{{{value}}}}", "{{value}}"),
        "airflow.run_path": url(f"{names.airflow_url}/{{{{rawValue}}}}", "open in Airflow"),
        "incident.runbook": url("{{rawValue}}", "runbook"),
    }


def _search(saved: Saved) -> SavedObject:
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "query": {"query": kql(saved.where), "language": "kuery"},
        "filter": [],
        "indexRefName": index,
    }
    attributes = {
        "title": saved.title,
        "description": "",
        "columns": list(saved.columns),
        "sort": [["@timestamp", "desc"]],
        "hideChart": False,
        "timeRestore": False,
        "isTextBasedQuery": False,
        "rowHeight": 1,
        "grid": {"columns": {saved.columns[0]: {"width": 120}}},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    references = [{"name": index, "type": "index-pattern", "id": object_id(saved.source)}]
    return _object("search", saved.key, attributes, references)


def _dashboard(board: Board) -> SavedObject:
    panels: list[dict[str, Any]] = []
    references: list[dict[str, str]] = []
    for name, (config, needed), grid in _placed(board):
        index = stable_uuid(f"{board.key}:panel:{name}")
        panels.append({"version": _VERSION, "panelIndex": index, "gridData": {**grid, "i": index}, **config})
        if config["type"] == "search":
            panels[-1]["panelRefName"] = f"panel_{index}"
        references += [{**one, "name": f"{index}:{one['name'].format(index=index)}"} for one in needed]
    controls, control_references = _controls(board)
    attributes = {
        "title": board.title,
        "description": board.description,
        "version": 1,
        "timeRestore": True,
        "timeFrom": board.since,
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 60000},
        "panelsJSON": json.dumps(panels, ensure_ascii=False),
        "optionsJSON": json.dumps(
            {
                "useMargins": True,
                "syncColors": False,
                "syncCursor": True,
                "syncTooltips": False,
                "hidePanelTitles": False,
            }
        ),
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})
        },
        "controlGroupInput": controls,
    }
    return _object("dashboard", board.key, attributes, references + control_references)


_Drawn = tuple[dict[str, Any], list[dict[str, str]]]


def _placed(board: Board) -> Iterator[tuple[str, _Drawn, dict[str, int]]]:
    yield "links", _links(board), {"x": 0, "y": 0, "w": _COLUMNS, "h": 3}
    bottom = 3
    for number, row in enumerate(board.rows):
        yield f"row-{number}", _header(row.title, row.text), {"x": 0, "y": bottom, "w": _COLUMNS, "h": _HEADER_HEIGHT}
        bottom += _HEADER_HEIGHT
        x = tallest = 0
        for panel in row.panels:
            width, height = panel.size
            if x + width > _COLUMNS:
                x, bottom, tallest = 0, bottom + tallest, 0
            yield panel.key, _panel(board, panel), {"x": x, "y": bottom, "w": width, "h": height}
            x, tallest = x + width, max(tallest, height)
        bottom += tallest


def _panel(board: Board, panel: Panel) -> _Drawn:
    if panel.kind == "search":
        reference = {"name": "panel_{index}", "type": "search", "id": object_id(panel.saved)}
        return {"type": "search", "title": panel.title, "embeddableConfig": {"enhancements": {}}}, [reference]
    attributes = lens(panel)
    events, references = _drilldowns(board, panel)
    config = {"attributes": attributes, "enhancements": {"dynamicActions": {"events": events}} if events else {}}
    shown = {"type": "lens", "title": panel.title, "embeddableConfig": config}
    return shown, [*attributes["references"], *references]


def _drilldowns(board: Board, panel: Panel) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    events: list[dict[str, Any]] = []
    if panel.by and panel.kind in _BY_TIME_OR_BAR:
        name, factory = f"{board.key}:{panel.key}:discover", "OPEN_IN_DISCOVER_DRILLDOWN"
        events = [_event(name, "Show the documents", factory, {"openInNewTab": False})]
    if not panel.opens or panel.kind not in {*_BY_TIME_OR_BAR, "table"}:
        return events, []
    factory = "DASHBOARD_TO_DASHBOARD_DRILLDOWN"
    kept = {"useCurrentFilters": True, "useCurrentDateRange": True, "openInNewTab": False}
    title = next(other.title for other in BOARDS if other.key == panel.opens)
    event = _event(f"{board.key}:{panel.key}:{panel.opens}", f"Open {title}", factory, kept)
    reference = {
        "name": f"drilldown:{factory}:{event['eventId']}:dashboardId",
        "type": "dashboard",
        "id": object_id(panel.opens),
    }
    return [event, *events], [reference]


def _event(name: str, label: str, factory: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "eventId": stable_uuid(name),
        "triggers": ["FILTER_TRIGGER"],
        "action": {"factoryId": factory, "name": label, "config": config},
    }


def _header(title: str, text: str) -> _Drawn:
    state = {
        "title": "",
        "description": "",
        "type": "markdown",
        "uiState": {},
        "params": {"fontSize": 12, "openLinksInNewTab": False, "markdown": text},
        "data": {"aggs": [], "searchSource": {}},
    }
    config = {"savedVis": state, "enhancements": {}}
    return {"type": "visualization", "title": title, "embeddableConfig": config}, []


def _links(board: Board) -> _Drawn:
    entries: list[dict[str, Any]] = []
    references: list[dict[str, str]] = []
    for other in BOARDS:
        link = stable_uuid(f"{board.key}:link:{other.key}")
        name = f"link_{link}_dashboard"
        options = {"useCurrentFilters": True, "useCurrentDateRange": True, "openInNewTab": False}
        entries.append(
            {
                "id": link,
                "type": "dashboardLink",
                "label": _label(other),
                "order": len(entries),
                "destinationRefName": name,
                "options": options,
            }
        )
        references.append({"name": name, "type": "dashboard", "id": object_id(other.key)})
    attributes = {"title": "Boards", "description": "", "layout": "horizontal", "links": entries}
    config = {"attributes": attributes, "enhancements": {}}
    return {"type": "links", "title": "Boards", "embeddableConfig": config}, references


def _label(board: Board) -> str:
    text = board.title.removeprefix("Contrail: ")
    return text[0].upper() + text[1:]


def _controls(board: Board) -> tuple[dict[str, Any], list[dict[str, str]]]:
    panels: dict[str, Any] = {}
    references: list[dict[str, str]] = []
    source = "logs" if board.key == "logs" else "events"
    for control in board.controls:
        key = stable_uuid(f"{board.key}:control:{control.field}")
        panels[key] = _control(key, "optionsListControl", len(panels), _chooser(control))
        reference = f"controlGroup_{key}:optionsListDataView"
        references.append({"name": reference, "type": "index-pattern", "id": object_id(source)})
    key = stable_uuid(f"{board.key}:control:time")
    panels[key] = _control(key, "timeSlider", len(panels), {"title": "Time"})
    ignore = dict.fromkeys(("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False)
    group = {
        "chainingSystem": "HIERARCHICAL",
        "controlStyle": "oneLine",
        "ignoreParentSettingsJSON": json.dumps(ignore),
        "panelsJSON": json.dumps(panels),
    }
    return group, references


def _chooser(control: Control) -> dict[str, Any]:
    return {"title": control.title, "fieldName": control.field}


def _control(key: str, kind: str, position: int, given: dict[str, Any]) -> dict[str, Any]:
    return {
        "order": position,
        "width": "medium",
        "grow": True,
        "type": kind,
        "explicitInput": {"id": key, "enhancements": {}, **given},
    }
