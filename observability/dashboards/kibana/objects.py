"""Saved objects: data views, searches and dashboards, as Kibana's import takes them.

Versions are those that Kibana 8.12 writes; newer Kibanas migrate them, an older one refuses newer ones.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.dashboards.boards import BOARDS, SAVED
from observability.dashboards.kibana import alerts
from observability.dashboards.kibana.charts import heading_px, lens
from observability.dashboards.kibana.columns import kql
from observability.dashboards.kibana.runtime import LOG_PAGE, runtime_fields
from observability.dashboards.labels import LABELS
from observability.dashboards.names import DATA_VIEWS, HEADINGS, Names, index_pattern, object_id, spaced, stable_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.dashboards.panels import Board, Control, Panel, Saved

__all__ = ["SavedObject", "ndjson", "saved_objects"]

SavedObject = dict[str, Any]
_VERSION = "8.12.2"
_TYPE_VERSIONS = {"dashboard": "8.9.0", "index-pattern": "8.0.0", "search": "8.0.0"}
_COLUMNS = 48
_LINKS_HEIGHT, _HEADER_HEIGHT = 2, 3
_WORDY = {"airflow.audit_extra", "event", "event.reason", "error.message", "incident.title", *alerts.WORDY}
_WIDTHS = {
    "level": 80,
    "airflow.try_number": 60,
    "airflow.map_index": 80,
    "airflow.state": 110,
    "event.duration": 110,
    "airflow.peak_rss": 110,
    "airflow.cpu_time": 110,
    "process.exit_code": 100,
    "airflow.log_page": 130,
    "airflow.run_path": 130,
    **alerts.WIDTHS,
}
"""Pixels of a search's columns; what people read takes the rest."""
_SIGNS_PX = 58
"""Pixels of the sign of a column's type, its menu and the margins."""
_BY_TIME_OR_BAR = {"line", "area", "bars", "ranking"}
"""Charts on which a click was seen to open the drill-downs."""


def saved_objects(names: Names) -> list[SavedObject]:
    """Everything, in the order in which it can be imported."""
    objects = [
        *(_data_view(source, names) for source in DATA_VIEWS),
        _alerts_view(names),
        *(_search(saved) for saved in (*SAVED, alerts.SEARCH)),
        *(_dashboard(board) for board in BOARDS),
    ]
    return [_in_space(item, names.space) for item in objects]


def _in_space(item: SavedObject, space: str) -> SavedObject:
    """The object under the ids of a space: Kibana gives a second copy of an id another one, and links go astray."""
    if not space:
        return item
    references = [{**one, "id": spaced(one["id"], space)} for one in item["references"]]
    moved = {**item, "id": spaced(item["id"], space), "references": references}
    if "panelsJSON" in item["attributes"]:
        panels = json.loads(item["attributes"]["panelsJSON"])
        for panel in panels:
            for one in panel["embeddableConfig"].get("attributes", {}).get("references", []):
                one["id"] = spaced(one["id"], space)
        moved["attributes"] = {**item["attributes"], "panelsJSON": json.dumps(panels, ensure_ascii=False)}
    return moved


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
        "title": index_pattern(source, names.index_prefix),
        "name": DATA_VIEWS[source][0],
        "timeFieldName": "@timestamp",
        "fields": "[]",
        "fieldAttrs": json.dumps({field: {"customLabel": label} for field, label in HEADINGS.items()}),
        "sourceFilters": "[]",
        "typeMeta": "{}",
        "fieldFormatMap": json.dumps(_formats(names, source)),
        "runtimeFieldMap": json.dumps(runtime_fields(source)),
    }
    return _object("index-pattern", source, attributes, [])


def _alerts_view(names: Names) -> SavedObject:
    attributes = {
        "title": names.alert_index,
        "name": alerts.VIEW_NAME,
        "timeFieldName": "@timestamp",
        "fields": "[]",
        "fieldAttrs": json.dumps({field: {"customLabel": label} for field, label in alerts.HEADINGS.items()}),
        "sourceFilters": "[]",
        "typeMeta": "{}",
        "fieldFormatMap": json.dumps(alerts.formats()),
        "runtimeFieldMap": "{}",
        # rules that have not fired have made no index: without this, the panel would be an error
        "allowNoIndex": True,
    }
    return _object("index-pattern", alerts.SOURCE, attributes, [])


def _formats(names: Names, source: str) -> dict[str, Any]:
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
    formats |= {field: _lookup(words) for field, words in LABELS.items()}
    if source != "logs":
        formats["@timestamp"] = {"id": "date", "params": {"pattern": "MMM D, HH:mm:ss"}}
        formats["etl.watermark"] = {"id": "date", "params": {"pattern": "MMM D, YYYY HH:mm"}}
    pages = [LOG_PAGE] if source == "logs" else ["airflow.run_path"]
    return (
        formats
        | {page: url(f"{names.airflow_url}/{{{{rawValue}}}}", "open in Airflow") for page in pages}
        | {
            "airflow.dag_id": url(f"{names.airflow_url}/dags/{{{{value}}}}", "{{value}}"),
            "incident.runbook": url(names.runbook("{{rawValue}}"), "runbook"),
        }
    )


def _lookup(words: dict[str, str]) -> dict[str, Any]:
    entries = [{"key": value, "value": label} for value, label in words.items()]
    return {"id": "static_lookup", "params": {"lookupEntries": entries, "unknownKeyValue": None}}


def _search(saved: Saved) -> SavedObject:
    index = "kibanaSavedObjectMeta.searchSourceJSON.index"
    source = {
        "query": {"query": kql(saved.where), "language": "kuery"},
        "filter": [],
        "indexRefName": index,
    }
    columns = [LOG_PAGE if saved.source == "logs" and one == "airflow.run_path" else one for one in saved.columns]
    attributes = {
        "title": saved.title,
        "description": "",
        "columns": columns,
        "sort": [["@timestamp", "desc"]],
        "hideChart": False,
        "timeRestore": False,
        "isTextBasedQuery": False,
        "rowHeight": 2,
        "grid": {"columns": {one: {"width": _width(saved, one)} for one in columns if one not in _WORDY}},
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    references = [{"name": index, "type": "index-pattern", "id": object_id(saved.source)}]
    return _object("search", saved.key, attributes, references)


def _width(saved: Saved, field: str) -> int:
    labels = alerts.HEADINGS if saved.source == alerts.SOURCE else HEADINGS
    return max(_WIDTHS.get(field, 140), heading_px(labels.get(field, field), _SIGNS_PX))


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
    yield "links", _links(board), {"x": 0, "y": 0, "w": _COLUMNS, "h": _LINKS_HEIGHT}
    bottom = _LINKS_HEIGHT
    for number, row in enumerate((*board.rows, *alerts.ROWS.get(board.key, ()))):
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
    config: dict[str, Any] = {
        "attributes": attributes,
        "enhancements": {"dynamicActions": {"events": events}} if events else {},
    }
    if panel.kind == "number":
        config["hidePanelTitles"] = True
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
        "params": {"fontSize": 12, "openLinksInNewTab": False, "markdown": f"**{title}** {text}"},
        "data": {"aggs": [], "searchSource": {}},
    }
    config = {"savedVis": state, "enhancements": {}, "hidePanelTitles": True}
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
    config = {"attributes": attributes, "enhancements": {}, "hidePanelTitles": True}
    return {"type": "links", "title": "Boards", "embeddableConfig": config}, references


def _label(board: Board) -> str:
    text = board.title.removeprefix("Contrail: ")
    return text[0].upper() + text[1:]


def _controls(board: Board) -> tuple[dict[str, Any], list[dict[str, str]]]:
    panels: dict[str, Any] = {}
    references: list[dict[str, str]] = []
    source = board.key if board.key in {"logs", "audit"} else "events"
    for control in board.controls:
        key = stable_uuid(f"{board.key}:control:{control.field}")
        panels[key] = _control(key, "optionsListControl", len(panels), _chooser(control))
        reference = f"controlGroup_{key}:optionsListDataView"
        references.append({"name": reference, "type": "index-pattern", "id": object_id(source)})
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
