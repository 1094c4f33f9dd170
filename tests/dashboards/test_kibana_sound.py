"""The saved objects keep every rule that was seen to break a Kibana, and the check finds each breach."""

from __future__ import annotations

import copy
import json

import pytest

from dashboards.kibana.objects import ndjson, saved_objects
from dashboards.kibana.sound import faults
from dashboards.names import Names
from observability import catalog

MAPPING = {name: spec.type for name, spec in catalog.FIELDS.items()}


@pytest.fixture
def objects():
    return copy.deepcopy(saved_objects(Names()))


def board(objects, name):
    return next(item for item in objects if (item["type"], item["id"]) == ("dashboard", f"contrail-{name}"))


def change_panel(item, title, change):
    panels = json.loads(item["attributes"]["panelsJSON"])
    change(next(panel for panel in panels if panel["title"] == title))
    item["attributes"]["panelsJSON"] = json.dumps(panels)


def layer(panel):
    return panel["embeddableConfig"]["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["main"]


def test_the_objects_are_sound(objects):
    assert faults(objects, MAPPING) == []


def test_ids_do_not_change_between_builds(objects):
    assert ndjson(objects) == ndjson(saved_objects(Names()))


def test_links_lead_to_the_airflow_of_the_installation():
    views = [
        item for item in saved_objects(Names(airflow_url="https://airflow.example")) if item["type"] == "index-pattern"
    ]

    formats = [json.loads(view["attributes"]["fieldFormatMap"])["airflow.run_path"] for view in views]
    assert {one["params"]["urlTemplate"] for one in formats} == {"https://airflow.example/{{rawValue}}"}


def no_view(panel):
    panel["embeddableConfig"]["attributes"]["references"] = []


def metric_first(panel):
    layer(panel)["columnOrder"].reverse()


def unmapped(panel):
    layer(panel)["columns"]["by0"]["sourceField"] = "airflow.dag"


def text(panel):
    layer(panel)["columns"]["by0"]["sourceField"] = "event.reason"


def paid(panel):
    panel["embeddableConfig"]["enhancements"]["dynamicActions"]["events"][0]["action"]["factoryId"] = "URL_DRILLDOWN"


def wide(panel):
    panel["gridData"]["w"] = 40


def other_index(panel):
    panel["gridData"]["i"] = "1"


def no_column(panel):
    panel["embeddableConfig"]["attributes"]["state"]["visualization"]["layers"][0]["accessors"] = ["gone"]


def no_kql(panel):
    panel["embeddableConfig"]["attributes"]["state"]["query"]["query"] = "event.action : ("


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_view, "names no data view"),
        (metric_first, "a metric before a bucket"),
        (unmapped, "airflow.dag is not in the mapping"),
        (text, "terms of event.reason, which is text"),
        (paid, "not in the free licence"),
        (wide, "covers"),
        (other_index, "gridData.i is not its panelIndex"),
        (no_column, "shows column gone"),
        (no_kql, "lacks"),
    ],
)
def test_a_broken_panel_is_found(objects, change, said):
    change_panel(board(objects, "operations"), "Run outcomes", change)

    assert any(said in fault for fault in faults(objects, MAPPING))


def test_a_reference_to_nothing_is_found(objects):
    objects.remove(board(objects, "logs"))

    assert any("leads to dashboard contrail-logs, which is not there" in fault for fault in faults(objects, MAPPING))


def test_a_panel_index_used_on_two_boards_is_found(objects):
    first, second = board(objects, "dag"), board(objects, "run")
    shared = json.loads(first["attributes"]["panelsJSON"])[0]["panelIndex"]
    change_panel(second, "Boards", lambda panel: panel.update(panelIndex=shared))

    assert any("over all dashboards" in fault for fault in faults(objects, MAPPING))


def test_a_version_that_an_installed_kibana_refuses_is_found(objects):
    board(objects, "run")["typeMigrationVersion"] = "10.2.0"

    assert any("newer than Kibana 8.12 takes" in fault for fault in faults(objects, MAPPING))


def test_a_search_panel_without_its_reference_is_found(objects):
    item = board(objects, "logs")
    item["references"] = [one for one in item["references"] if one["type"] != "search"]

    assert any("would not open at all" in fault for fault in faults(objects, MAPPING))
