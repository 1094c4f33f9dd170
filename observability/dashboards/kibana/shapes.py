"""The parts of a saved object or rule, as a set of words: compared with what was seen in a real Kibana.

A word is a path of keys (``lnsXY.visualization.layers[data].seriesType``), with ``=value`` where Kibana takes one of
a few. Names that are ours (columns, layers, ids, titles, KQL) are left out, so two objects of the same make have
the same words.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.dashboards.kibana.objects import SavedObject

__all__ = ["BEYOND", "beyond", "rule_shapes", "shapes"]

BEYOND: dict[str, str] = {
    "lnsMetric shows last_value": "asked by top_metrics, which was seen over an emulated answer only",
}
"""Words that no rendered example has (nor their longer forms), and why they are used all the same."""

_JSON = {
    "fieldFormatMap", "ignoreParentSettingsJSON", "optionsJSON", "panelsJSON", "runtimeFieldMap", "searchSourceJSON",
}  # fmt: skip
_CHOICES = {
    "aggType", "appendOperator", "assignmentMode", "axisMode", "categoryDisplay", "chainingSystem", "colorMode",
    "connector_type_id", "consumer", "continuity", "controlStyle", "coreMigrationVersion", "dataType", "direction",
    "factoryId", "fill", "fittingFunction", "fromUnit", "group", "groupBy", "headerRowHeight", "icon", "iconPosition",
    "id", "interval", "isBucketed", "language", "layerType", "layout", "legendDisplay", "lineStyle", "mode",
    "notify_when", "numberDisplay", "operationType", "orderDirection", "position", "progression", "rangeType",
    "rowHeight", "rule_type_id", "scale", "searchType", "seriesType", "shape", "showArrayValues",
    "thresholdComparator", "toUnit", "triggers", "type", "typeMigrationVersion", "valueLabels", "visualizationType",
}  # fmt: skip
"""Keys whose value is one of a few that Kibana knows; ``id`` only where it is a format's."""
_NAMED = {"controls": "type", "layers": "", "fieldFormatMap": "id", "runtimeFieldMap": "type"}
"""Objects whose keys are names of ours: the key is left out, or stands for what the value is."""


_OURS = {"documents"}
"""Values that are ours down to the keys."""


def shapes(item: SavedObject) -> set[str]:
    """The words of a saved object; those of a panel begin with the panel's kind."""
    kind = item["type"]
    found = set(_words({key: value for key, value in item.items() if key != "attributes"}, kind))
    for key, value in item["attributes"].items():
        if key == "panelsJSON":
            for panel in json.loads(value):
                found.update(_panel(panel))
        elif key == "controlGroupInput":
            found.update(_controls(value))
        else:
            found.update(_words({key: value}, kind))
    return found


def rule_shapes(body: dict[str, Any]) -> set[str]:
    """The words of a rule's or a connector's body."""
    kind = body.get("rule_type_id") or body["connector_type_id"]
    return set(_words(body, kind))


def beyond(word: str) -> str | None:
    """The entry of :data:`BEYOND` that covers a word."""
    return next((name for name in BEYOND if word == name or word.startswith(f"{name}.")), None)


def _panel(panel: dict[str, Any]) -> Iterator[str]:
    config = panel["embeddableConfig"]
    kind = _panel_kind(panel)
    yield from _words({key: value for key, value in panel.items() if key != "embeddableConfig"}, kind)
    yield from _words(config, kind)


def _panel_kind(panel: dict[str, Any]) -> str:
    kind: str = panel["embeddableConfig"].get("attributes", {}).get("visualizationType") or panel["type"]
    return kind


def _controls(group: dict[str, Any]) -> Iterator[str]:
    controls = json.loads(group["panelsJSON"])
    yield from _words({key: value for key, value in group.items() if key != "panelsJSON"}, "controls")
    for control in controls.values():
        yield from _words(control, f"controls[{control['type']}]")


def _column(column: dict[str, Any], chart: str) -> Iterator[str]:
    """An operation is computed alike for every chart; that a chart was seen with it is a word of its own."""
    operation = column["operationType"]
    yield f"{chart.partition('.')[0]} shows {operation}"
    yield from _words(column, f"column[{operation}]")


def _words(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _entry(key, inner, path)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner, f"{path}[{_role(inner)}]" if isinstance(inner, dict) else path)


def _entry(key: str, value: Any, path: str) -> Iterator[str]:
    if key in _JSON and isinstance(value, str):
        value = json.loads(value)
    here = f"{path}.{key}"
    if key == "columns" and path.endswith("layers[]"):
        for column in value.values():
            yield from _column(column, path)
        return
    if key == "dynamicActions":
        for event in value["events"]:
            yield f"{path.partition('.')[0]} opens {event['action']['factoryId']}"
            yield from _words(event, f"event[{event['action']['factoryId']}]")
        return
    if isinstance(value, dict) and (key in _NAMED or path == "search.grid"):
        yield here
        role = _NAMED.get(key, "")
        for inner in value.values():
            yield from _words(inner, f"{here}[{inner.get(role, '')}]")
        return
    yield here
    if key == "format":
        yield from _words(value, f"format[{value['id']}]")
    elif key not in _OURS:
        yield from _choice(key, value, path)
        yield from _words(value, here)


def _choice(key: str, value: Any, path: str) -> Iterator[str]:
    if key in _CHOICES and (key != "id" or path.startswith("format[")):
        chosen = value if isinstance(value, list) else [value]
        yield from (f"{path}.{key}={json.dumps(one)}" for one in chosen if not isinstance(one, (dict, list)))


def _role(value: dict[str, Any]) -> str:
    role = value.get("layerType") or value.get("action", {}).get("factoryId") or value.get("type") or ""
    return str(role)


def main(paths: list[str]) -> None:
    """Print the words of saved objects (``.ndjson``) and of requests for rules (``.json``): ``… shapes FILE …``."""
    found: set[str] = set()
    for path in paths:
        text = Path(path).read_text("utf-8")
        if path.endswith(".ndjson"):
            found.update(*(shapes(json.loads(line)) for line in text.splitlines()))
        else:
            found.update(*(rule_shapes(request["body"]) for request in json.loads(text)))
    print("\n".join(sorted(found)))  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main(sys.argv[1:])
