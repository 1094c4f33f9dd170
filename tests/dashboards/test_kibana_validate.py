"""The saved objects keep every rule that was seen to break a Kibana, and the check finds each breach."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from observability import catalog
from observability.dashboards import usage
from observability.dashboards.boards import BOARDS
from observability.dashboards.kibana.objects import ndjson, saved_objects
from observability.dashboards.kibana.runtime import DAG_TASK, LOG_PAGE, runtime_fields
from observability.dashboards.kibana.validate import faults
from observability.dashboards.names import Names

MAPPING = {name: spec.type for name, spec in (catalog.FIELDS | catalog.ALERT_DOCUMENT).items()}


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

    formats = [json.loads(view["attributes"]["fieldFormatMap"]) for view in views]
    pages = {name: one for found in formats for name, one in found.items() if name in {"airflow.run_path", LOG_PAGE}}
    assert set(pages) == {"airflow.run_path", LOG_PAGE}
    assert {one["params"]["urlTemplate"] for one in pages.values()} == {"https://airflow.example/{{rawValue}}"}


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


def lens_panels(objects):
    for item in objects:
        if item["type"] == "dashboard":
            for panel in json.loads(item["attributes"]["panelsJSON"]):
                if panel["type"] == "lens":
                    yield item["id"], panel


def test_a_layer_that_ignores_global_filters_is_refused_without_a_filter_on_each_of_its_columns(objects):
    alone = {panel.title for board in BOARDS for panel in board.panels if panel.alone}
    for title in sorted(alone):
        fresh = copy.deepcopy(objects)
        item = next(
            item
            for item in fresh
            if item["type"] == "dashboard"
            and f'"title": "{title}"' in item["attributes"]["panelsJSON"]
            and '"ignoreGlobalFilters": true' in item["attributes"]["panelsJSON"]
        )

        def unfiltered(panel):
            for column in layer(panel)["columns"].values():
                column.pop("filter", None)

        change_panel(item, title, unfiltered)
        assert any("ignores global filters" in fault for fault in faults(fresh, MAPPING)), title


def test_a_runtime_field_with_the_name_of_a_mapped_field_is_refused(objects):
    assert not set(runtime_fields("logs")) & set(MAPPING)
    view = next(item for item in objects if item["id"] == "contrail-logs" and item["type"] == "index-pattern")
    view["attributes"]["runtimeFieldMap"] = json.dumps({"airflow.run_path": runtime_fields("logs")[LOG_PAGE]})

    assert any("Kibana would never compute it" in fault for fault in faults(objects, MAPPING))


def test_no_list_of_values_is_cut_without_saying_so(objects):
    splits = [
        (board, panel["title"], column)
        for board, panel in lens_panels(objects)
        for column in layer(panel)["columns"].values()
        if column["operationType"] == "terms"
    ]

    assert splits
    assert [(board, title) for board, title, column in splits if not column["params"]["otherBucket"]] == []


def test_no_number_is_rounded_to_thousands(objects):
    formats = [
        column["params"]["format"]
        for _, panel in lens_panels(objects)
        for column in layer(panel)["columns"].values()
        if column.get("params", {}).get("format", {}).get("id") == "number"
    ]

    assert formats
    assert {one["params"]["compact"] for one in formats} == {False}


def test_no_column_is_too_narrow_for_its_heading(objects):
    """A real Kibana cut *Exit code* at 100 pixels, *Try* at 60, and *Failed attempts* at 130."""
    labels = {
        view["id"]: {name: one["customLabel"] for name, one in json.loads(view["attributes"]["fieldAttrs"]).items()}
        for view in objects
        if view["type"] == "index-pattern"
    }
    searches = [item for item in objects if item["type"] == "search"]
    widths = {
        labels[item["references"][0]["id"]].get(field, field): column["width"]
        for item in searches
        for field, column in item["attributes"]["grid"]["columns"].items()
    }
    assert (widths["Exit code"], widths["Try"]) > (120, 76)
    assert [name for name, width in widths.items() if width < 7.4 * len(name) + 55] == []
    tables = [
        panel["embeddableConfig"]["attributes"]["state"]
        for item in objects
        if item["type"] == "dashboard"
        for panel in json.loads(item["attributes"]["panelsJSON"])
        if panel["embeddableConfig"].get("attributes", {}).get("visualizationType") == "lnsDatatable"
    ]
    shown = {
        state["datasourceStates"]["formBased"]["layers"]["main"]["columns"][one["columnId"]]["label"]: one["width"]
        for state in tables
        for one in state["visualization"]["columns"]
        if "width" in one
    }
    assert shown["Failed attempts"] > 160
    assert [name for name, width in shown.items() if width < 7.4 * len(name) + 36] == []


def test_the_header_of_a_row_is_one_line():
    """A real Kibana of 1,600 pixels shows 205 letters, and a scroll bar where there are more."""
    texts = [f"{row.title} {row.text}" for one in BOARDS for row in one.rows]
    assert texts
    assert [text for text in texts if len(text) > 205] == []


def test_a_click_carries_only_what_the_board_that_it_opens_has_a_list_of(monkeypatch):
    panel = next(panel for board in BOARDS for panel in board.panels if panel.key == "failing-dags")
    changed = replace(panel, by=("airflow.dag_id", "airflow.cause"))
    board = next(board for board in BOARDS if panel in board.panels)
    rows = tuple(
        replace(row, panels=tuple(changed if one is panel else one for one in row.panels)) for row in board.rows
    )
    monkeypatch.setattr(usage, "BOARDS", tuple(replace(one, rows=rows) if one is board else one for one in BOARDS))

    assert [line for line in usage.unknown_names() if "a click carries 'airflow.cause' to board 'dag'" in line]


def test_a_click_on_a_task_carries_its_dag_too(objects):
    tables = {
        panel["title"]: [column["sourceField"] for column in layer(panel)["columns"].values() if column["isBucketed"]]
        for _, panel in lens_panels(objects)
        if panel["embeddableConfig"]["enhancements"]
        and panel["embeddableConfig"]["attributes"]["visualizationType"] == "lnsDatatable"
    }

    assert tables["Failed attempts by task"] == ["airflow.dag_id", DAG_TASK]
    assert all("airflow.task_id" not in fields for fields in tables.values())


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
