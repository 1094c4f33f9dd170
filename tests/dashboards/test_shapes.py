"""Our saved objects and rules are built of what was seen in a real Kibana; what goes beyond is named, with its reason.

``rendered_shapes.txt`` holds the words of examples that were imported into Kibana 8.12.2 and looked at, as
``python -m dashboards.kibana.shapes FILE…`` prints them for a file of saved objects or of requests for rules.
"""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from pathlib import Path

import pytest

from observability.dashboards.build import ROOT
from observability.dashboards.kibana.shapes import BEYOND, beyond, rule_shapes, shapes

KIBANA = ROOT / "dashboards/generated/kibana"
RENDERED = frozenset(Path(__file__).with_name("rendered_shapes.txt").read_text("utf-8").splitlines())


def saved_objects():
    return [json.loads(line) for line in (KIBANA / "saved-objects.ndjson").read_text("utf-8").splitlines()]


def used():
    """Word → what uses it: panels by board and title, other objects by id."""
    found = defaultdict(list)
    for item in saved_objects():
        for word in shapes(item):
            found[word].append(item["id"])
    bodies = json.loads((KIBANA / "rules.json").read_text("utf-8"))
    for body in (*bodies["connectors"].values(), *bodies["rules"].values()):
        for word in rule_shapes(body):
            found[word].append(body["name"])
    return found


def strangers(words):
    return sorted(word for word in words if word not in RENDERED and beyond(word) is None)


def test_every_panel_and_rule_is_built_of_what_was_seen_to_work():
    assert {word: users for word, users in used().items() if word in strangers([word])} == {}


def test_nothing_is_named_as_beyond_that_is_not_used_or_was_seen_after_all():
    needed = {beyond(word) for word in used() if word not in RENDERED}
    assert needed - {None} == set(BEYOND)


def test_the_page_about_boards_names_all_that_goes_beyond():
    page = (ROOT / "docs/dashboards.md").read_text("utf-8")
    assert [f"| `{word}` | {reason} |" for word, reason in BEYOND.items()] == [
        line for line in page.splitlines() if line.startswith(("| `column[", "| `lns", "| `format[", "| `.es-query"))
    ]


def a_lens_panel(change):
    """The words of the DAG board after ``change`` was made to its first XY panel."""
    item = copy.deepcopy(next(one for one in saved_objects() if one["id"] == "contrail-dag"))
    panels = json.loads(item["attributes"]["panelsJSON"])
    attributes = next(
        panel["embeddableConfig"]["attributes"]
        for panel in panels
        if panel["embeddableConfig"].get("attributes", {}).get("visualizationType") == "lnsXY"
    )
    change(panels, attributes, attributes["state"]["visualization"])
    item["attributes"]["panelsJSON"] = json.dumps(panels)
    return shapes(item)


def other_series(_, __, state):
    state["layers"][0]["seriesType"] = "area_unstacked"


def other_operation(_, attributes, __):
    layer = attributes["state"]["datasourceStates"]["formBased"]["layers"]["main"]
    next(column for column in layer["columns"].values() if not column["isBucketed"])["operationType"] = "counter_rate"


def other_parameter(_, attributes, __):
    layer = attributes["state"]["datasourceStates"]["formBased"]["layers"]["main"]
    next(column for column in layer["columns"].values())["params"]["accuracyMode"] = True


def other_layer_key(_, attributes, __):
    attributes["state"]["datasourceStates"]["formBased"]["layers"]["main"]["indexPatternId"] = "x"


def other_state_key(_, __, state):
    state["curveType"] = "CURVE_MONOTONE_X"


def other_panel_key(panels, _, __):
    panels[0]["embeddableConfig"]["hidden"] = True


def other_chart(_, attributes, __):
    attributes["visualizationType"] = "lnsTagcloud"


def other_click(panels, _, __):
    events = [
        event
        for panel in panels
        for event in panel["embeddableConfig"].get("enhancements", {}).get("dynamicActions", {}).get("events", [])
    ]
    events[0]["triggers"] = ["VALUE_CLICK_TRIGGER"]


@pytest.mark.parametrize(
    "change",
    [
        other_series,
        other_operation,
        other_parameter,
        other_layer_key,
        other_state_key,
        other_panel_key,
        other_chart,
        other_click,
    ],
)
def test_a_shape_that_nobody_has_seen_is_found(change):
    assert strangers(a_lens_panel(lambda *_: None)) == []
    assert strangers(a_lens_panel(change)) != []


def test_a_rule_that_nobody_has_seen_is_found():
    bodies = json.loads((KIBANA / "rules.json").read_text("utf-8"))["rules"].values()
    body = next(iter(bodies)) | {"alert_delay": {"active": 2}}
    assert strangers(rule_shapes(body)) == [".es-query.alert_delay", ".es-query.alert_delay.active"]
