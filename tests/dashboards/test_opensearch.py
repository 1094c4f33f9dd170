"""Saved objects for OpenSearch Dashboards, held against the shapes of its source."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from observability.cli.dashboards import app
from observability.dashboards.boards import SAVED
from observability.dashboards.names import DATA_VIEWS, Names
from observability.dashboards.opensearch import saved_objects

FORMATS = {"boolean", "bytes", "color", "date", "date_nanos", "duration", "ip", "number", "percent", "static_lookup",
           "string", "truncate", "url", "_source"}  # fmt: skip
"""Of ``src/plugins/data/common/field_formats`` there."""
MIGRATIONS = {"index-pattern": {"6.5.0", "7.6.0"}, "search": {"6.7.2", "7.0.0", "7.4.0", "7.9.3"}}
SEARCH = {"columns", "description", "hits", "kibanaSavedObjectMeta", "sort", "title", "version"}
"""The members of a search that its mapping has; another one is refused."""


def test_there_is_an_index_pattern_for_each_source_and_each_saved_search():
    found = [one["type"] for one in saved_objects(Names())]
    assert found == ["index-pattern"] * len(DATA_VIEWS) + ["search"] * len(SAVED)


def test_each_is_of_a_shape_that_opensearch_dashboards_imports():
    known = set()
    for one in saved_objects(Names(index_prefix="acme-", airflow_url="https://airflow.example")):
        kind, attributes = one["type"], one["attributes"]
        (version,) = one["migrationVersion"].values()
        assert version == max(MIGRATIONS[kind], key=lambda text: [int(part) for part in text.split(".")])
        assert all((each["type"], each["id"]) in known for each in one["references"])
        known.add((kind, one["id"]))
        if kind == "index-pattern":
            assert attributes["timeFieldName"] == "@timestamp"
            assert all(part.startswith("acme-") for part in attributes["title"].split(","))
            formats = json.loads(attributes["fieldFormatMap"])
            assert {each["id"] for each in formats.values()} <= FORMATS
            assert not any(name.startswith("airflow.log_page") for name in formats)  # no runtime fields there
        else:
            assert set(attributes) <= SEARCH
            source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
            assert source["query"]["language"] == "kuery"
            assert source["indexRefName"] == one["references"][0]["name"]


def test_they_are_printed_for_an_import_by_hand():
    printed = CliRunner().invoke(app, ["export", "opensearch"])
    assert [json.loads(line)["id"] for line in printed.stdout.splitlines()] == [
        one["id"] for one in saved_objects(Names())
    ]
    refused = CliRunner().invoke(app, ["export", "grafana"])
    assert refused.exit_code == 2
    assert "name kibana or opensearch" in refused.stderr
