"""Check that a saved object can be imported and drawn; each rule was seen to break a real Kibana 8.12.

Kibana takes a broken panel without a word and shows it only when somebody opens the board, so the rules
are checked here, on the objects as they will be sent.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from observability.dashboards.kibana.kql import KqlError, fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from observability.dashboards.kibana.objects import SavedObject

__all__ = ["faults"]

_NEWEST = {"dashboard": (8, 9, 0), "index-pattern": (8, 0, 0), "search": (8, 0, 0)}
_NEWEST_CORE = (8, 8, 0)
_FREE_DRILLDOWNS = {"DASHBOARD_TO_DASHBOARD_DRILLDOWN", "OPEN_IN_DISCOVER_DRILLDOWN"}
_GRID = 48
_NUMBERS = {"long", "integer", "short", "double", "float"}
_ALLOWED = {
    "terms": {"keyword", "boolean", *_NUMBERS},
    "date_histogram": {"date"},
    "sum": _NUMBERS,
    "average": _NUMBERS,
    "median": _NUMBERS,
    "percentile": _NUMBERS,
    "max": {"date", *_NUMBERS},
    "min": {"date", *_NUMBERS},
    "last_value": {"keyword", "date", *_NUMBERS},
    "unique_count": {"keyword", "date", *_NUMBERS},
}
_COMPUTED = {"formula", "math", "static_value"}
"""Columns that ask Elasticsearch nothing of their own."""
_UNSORTABLE = {"formula", "last_value", "math", "static_value"}


def faults(objects: list[SavedObject], mapping: Mapping[str, str]) -> list[str]:
    """Every fault of ``objects``, one sentence each; ``mapping`` is field → Elasticsearch type."""
    known = Counter((item["type"], item["id"]) for item in objects)
    computed = {name: kind for item in objects for name, kind in _runtime(item).items()}
    twice = sorted(set(computed) & set(mapping))
    mapping = {**computed, **mapping}
    found = [f"{kind} {name} is there {number} times" for (kind, name), number in known.items() if number > 1]
    found += [f"runtime field {name} has the name of a mapped field: Kibana would never compute it" for name in twice]
    indices: Counter[str] = Counter()
    for item in objects:
        found += [f"{item['id']}: {fault}" for fault in _object(item, set(known), mapping)]
        if item["type"] == "dashboard":
            indices.update(panel["panelIndex"] for panel in json.loads(item["attributes"]["panelsJSON"]))
    found += [
        f"panelIndex {index} is used {number} times over all dashboards"
        for index, number in indices.items()
        if number > 1
    ]
    return found


def _runtime(item: SavedObject) -> dict[str, str]:
    if item["type"] != "index-pattern":
        return {}
    return {name: field["type"] for name, field in json.loads(item["attributes"]["runtimeFieldMap"]).items()}


def _object(item: SavedObject, known: set[tuple[str, str]], mapping: Mapping[str, str]) -> Iterator[str]:
    if _version(item["typeMigrationVersion"]) > _NEWEST[item["type"]]:
        yield f"typeMigrationVersion {item['typeMigrationVersion']} is newer than Kibana 8.12 takes"
    if _version(item["coreMigrationVersion"]) > _NEWEST_CORE:
        yield f"coreMigrationVersion {item['coreMigrationVersion']} is newer than Kibana 8.12 takes"
    for reference in item["references"]:
        if (reference["type"], reference["id"]) not in known:
            yield f"reference {reference['name']} leads to {reference['type']} {reference['id']}, which is not there"
    if item["type"] == "dashboard":
        yield from _dashboard(item, mapping)
    elif item["type"] == "search":
        source = json.loads(item["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        yield from _kql(source["query"]["query"], mapping)
        for column in item["attributes"]["columns"]:
            if column not in mapping:
                yield f"column {column} is not in the mapping"
        if source["indexRefName"] not in {reference["name"] for reference in item["references"]}:
            yield f"indexRefName {source['indexRefName']} is no reference"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def _dashboard(item: SavedObject, mapping: Mapping[str, str]) -> Iterator[str]:
    references = {reference["name"] for reference in item["references"]}
    panels = json.loads(item["attributes"]["panelsJSON"])
    yield from _grid(panels)
    for panel in panels:
        for fault in _panel(panel, references, mapping):
            yield f"panel {panel['title']!r}: {fault}"
    controls = json.loads(item["attributes"]["controlGroupInput"]["panelsJSON"])
    for key, control in controls.items():
        field = control["explicitInput"].get("fieldName")
        if control["explicitInput"]["id"] != key:
            yield f"control {key} has another id inside"
        if field and mapping.get(field) not in _ALLOWED["terms"]:
            yield f"control on {field}, which is {mapping.get(field, 'not in the mapping')}"
        if field and f"controlGroup_{key}:optionsListDataView" not in references:
            yield f"control on {field} names no data view"


def _grid(panels: list[dict[str, Any]]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        grid = panel["gridData"]
        if grid["i"] != panel["panelIndex"]:
            yield f"panel {panel['title']!r}: gridData.i is not its panelIndex"
        if grid["x"] < 0 or grid["x"] + grid["w"] > _GRID or grid["w"] < 1 or grid["h"] < 1:
            yield f"panel {panel['title']!r} is outside the {_GRID} columns: {grid}"
        cells = [
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        covered = {taken[cell] for cell in cells if cell in taken}
        if covered:
            yield f"panel {panel['title']!r} covers {', '.join(sorted(covered))}"
        taken.update(dict.fromkeys(cells, panel["title"]))


def _panel(panel: dict[str, Any], references: set[str], mapping: Mapping[str, str]) -> Iterator[str]:
    index = panel["panelIndex"]
    if panel["type"] == "search" and panel.get("panelRefName") != f"panel_{index}":
        yield "panelRefName is not panel_<panelIndex>"
    if panel["type"] == "search" and f"{index}:panel_{index}" not in references:
        yield "the dashboard has no reference to its search, and would not open at all"
    if panel["type"] == "links":
        for link in panel["embeddableConfig"]["attributes"]["links"]:
            if f"{index}:{link['destinationRefName']}" not in references:
                yield f"link {link['label']} names no dashboard"
    for event in panel["embeddableConfig"].get("enhancements", {}).get("dynamicActions", {}).get("events", []):
        factory = event["action"]["factoryId"]
        if factory not in _FREE_DRILLDOWNS:
            yield f"drill-down {factory} is not in the free licence"
        if (
            factory.startswith("DASHBOARD")
            and f"{index}:drilldown:{factory}:{event['eventId']}:dashboardId" not in references
        ):
            yield f"drill-down {event['action']['name']} names no dashboard"
    if panel["type"] == "lens":
        yield from _lens(panel, references, mapping)


def _lens(panel: dict[str, Any], references: set[str], mapping: Mapping[str, str]) -> Iterator[str]:
    attributes = panel["embeddableConfig"]["attributes"]
    own = {reference["name"] for reference in attributes["references"]}
    layers = attributes["state"]["datasourceStates"]["formBased"]["layers"]
    yield from _kql(attributes["state"]["query"]["query"], mapping)
    for name, layer in layers.items():
        reference = f"indexpattern-datasource-layer-{name}"
        if reference not in own:
            yield f"layer {name} names no data view: the panel would stay empty without a message"
        if f"{panel['panelIndex']}:{reference}" not in references:
            yield f"layer {name} is not among the dashboard's references"
        yield from _columns(layer, mapping)
        if layer.get("ignoreGlobalFilters"):
            yield from _unfiltered(name, layer)
    columns = {column for layer in layers.values() for column in layer["columns"]}
    for accessor in _accessors(attributes["state"]["visualization"]):
        if accessor not in columns:
            yield f"the chart shows column {accessor}, which no layer has"


def _unfiltered(name: str, layer: dict[str, Any]) -> Iterator[str]:
    for key, column in layer["columns"].items():
        if column["isBucketed"] or column["operationType"] in _COMPUTED:
            continue
        if not column.get("filter", {}).get("query", "").strip():
            yield f"layer {name} ignores global filters, the panel's query with them, and column {key} has no filter"


def _accessors(state: Any) -> Iterator[str]:
    if isinstance(state, list):
        for part in state:
            yield from _accessors(part)
    elif isinstance(state, dict):
        for key, value in state.items():
            if key == "columnId" or (key.lower().endswith("accessor") and isinstance(value, str)):
                yield value
            elif key in {"accessors", "primaryGroups", "metrics"}:
                yield from value
            elif key in {"layers", "columns", "sorting", "yConfig"}:
                yield from _accessors(value)


def _columns(layer: dict[str, Any], mapping: Mapping[str, str]) -> Iterator[str]:
    columns, order = layer["columns"], layer["columnOrder"]
    if sorted(order) != sorted(columns):
        yield "columnOrder is not the list of its columns"
    bucketed = [columns[name]["isBucketed"] for name in order if name in columns]
    if bucketed != sorted(bucketed, reverse=True):
        yield "columnOrder has a metric before a bucket"
    for name, column in columns.items():
        for fault in _column(column, columns, mapping):
            yield f"column {name}: {fault}"


def _column(column: dict[str, Any], columns: dict[str, Any], mapping: Mapping[str, str]) -> Iterator[str]:
    operation, field = column["operationType"], column.get("sourceField", "___records___")
    if field != "___records___":
        kind = mapping.get(field)
        if kind is None:
            yield f"field {field} is not in the mapping"
        elif kind not in _ALLOWED[operation]:
            yield f"{operation} of {field}, which is {kind}"
    if "filter" in column:
        yield from _kql(column["filter"]["query"], mapping)
    for other in column.get("references", []):
        if other not in columns:
            yield f"refers to column {other}, which is not there"
    if operation == "formula" and not column["references"]:
        yield "a formula without its columns shows an empty number"
    if operation == "terms":
        sorted_by = column["params"]["orderBy"].get("columnId")
        if sorted_by and (sorted_by not in columns or columns[sorted_by]["operationType"] in _UNSORTABLE):
            yield f"terms are ordered by {sorted_by}, which cannot be used to sort"


def _kql(text: str, mapping: Mapping[str, str]) -> Iterator[str]:
    try:
        named = fields(text)
    except KqlError as error:
        yield str(error)
        return
    for field in sorted(named - set(mapping)):
        yield f"the query names {field}, which is not in the mapping"
