"""Every panel's and rule's question, as the saved object has it, asked of a real node about what was really emitted."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from filled import carried, not_installed

from observability import catalog
from observability.dashboard_installer.verify import verify_elasticsearch
from observability.dashboards.boards import BOARDS
from observability.dashboards.kibana.columns import kql
from observability.dashboards.kibana.kql import to_query
from observability.dashboards.kibana.objects import saved_objects
from observability.dashboards.kibana.rules import rules
from observability.dashboards.kibana.translate import rows, searches
from observability.dashboards.kibana.validate import faults
from observability.dashboards.names import DATA_VIEWS, Names, index_pattern
from observability.dashboards.panels import signals_of
from observability.dashboards.usage import events_used
from observability.store.cluster import open_cluster
from observability.store.elasticsearch_setup import install

pytestmark = [pytest.mark.elasticsearch, pytest.mark.airflow]

SILENT = {
    "scheduler-heartbeat-absent": "it alerts when there is no document",
    "canary-silent": "it alerts when there is no document",
    "watcher-silent": "it alerts when there is no document",
    "relay-lag": "the drill's relay keeps up: its documents say nought",
}
"""Rules that the drills do not set off; their documents are there."""


def deployment(home, folder, url):
    environ = {
        "CONTRAIL_RELAY__SINKS": "elasticsearch",
        "CONTRAIL_STORE__BACKEND": "elasticsearch",
        "CONTRAIL_ELASTICSEARCH__URL": url,
        "CONTRAIL_CORE__ENVIRONMENT": f"d{uuid.uuid4().hex[:10]}",
    }
    settings = carried(home, folder, environ)
    cluster = open_cluster(settings)
    environment = settings.core.environment
    cluster.send("POST", f"/*-{environment}/_refresh")
    return cluster, environment


@pytest.fixture(scope="module")
def templates(elasticsearch_url):
    from observability.credentials import Credentials
    from observability.store.cluster import Cluster

    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    cluster.close()


@pytest.fixture(scope="module")
def demo_on_node(demo, templates, elasticsearch_url, tmp_path_factory):
    cluster, environment = deployment(demo.home, tmp_path_factory.mktemp("demo-node"), elasticsearch_url)
    yield cluster, environment
    cluster.close()


@pytest.fixture(scope="module")
def drills_on_node(drills, templates, elasticsearch_url, tmp_path_factory):
    cluster, environment = deployment(drills, tmp_path_factory.mktemp("drills-node"), elasticsearch_url)
    yield cluster, environment
    cluster.close()


def verdicts(filled):
    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    return verify_elasticsearch(*filled, until - timedelta(hours=6), until)


def titled(found):
    return {f"{one.board} / {one.panel}": one.reason for one in found}


def test_every_panel_shows_the_demo_or_says_why_a_healthy_system_leaves_it_empty(demo_on_node):
    empty = titled(one for one in verdicts(demo_on_node) if one.rows == 0 and not one.quiet)

    assert empty == {}


def test_every_panel_that_the_demo_leaves_empty_is_filled_by_its_drill(demo_on_node, drills_on_node):
    quiet = titled(one for one in verdicts(demo_on_node) if one.quiet)
    filled = titled(one for one in verdicts(drills_on_node) if one.rows > 0)

    assert sorted(set(quiet) - set(filled) - not_installed()) == []


def test_every_kind_of_event_has_a_row_on_a_panel_once_it_has_happened(drills_on_node):
    cluster, environment = drills_on_node
    until = datetime.now(timezone.utc) + timedelta(minutes=1)
    asked_for = {
        (board.title, panel.title): {action for signal in signals_of(panel) for action in signal.actions}
        for board in BOARDS
        for panel in board.panels
    }
    missing = set(events_used())
    for asked in searches(saved_objects(Names()), until - timedelta(hours=6), until):
        index = asked.index.replace("-*", f"-{environment}")
        for action in asked_for.get((asked.board, asked.panel), set()) & missing:
            only = {"bool": {"filter": [asked.body["query"], to_query(kql((("event.action", (action,)),)))]}}
            answer = cluster.ask("POST", f"/{index}/_search?ignore_unavailable=true", {**asked.body, "query": only})
            missing -= {action} if rows(asked, answer) else set()

    assert missing == set()


def answers(filled, body):
    """The result of a rule's query, by the values of its group ('' where it has none)."""
    cluster, environment = filled
    params = body["params"]
    view = params["searchConfiguration"]["index"].removeprefix("contrail-")
    index = index_pattern(view).replace("-*", f"-{environment}")
    added = {"value": {params["aggType"]: {"field": params["aggField"]}}} if "aggField" in params else {}
    terms = {
        "terms": {"field": params.get("termField", "event.kind"), "size": params.get("termSize", 1)},
        "aggs": added,
    }
    asked = {"query": to_query(params["searchConfiguration"]["query"]["query"]), "track_total_hits": True, "size": 0}
    answer = cluster.ask("POST", f"/{index}/_search", {**asked, "aggs": {"groups": terms, **added}})
    if "termField" in params:
        buckets = answer["aggregations"]["groups"]["buckets"]
        return {one["key"]: one["value"]["value"] if added else one["doc_count"] for one in buckets}
    return {"": answer["aggregations"]["value"]["value"] if added else answer["hits"]["total"]["value"]}


@pytest.mark.parametrize("key", [key for key in catalog.MONITORS if key not in SILENT])
def test_every_rule_is_set_off_by_its_drill(key, drills_on_node):
    body = next(body for body in rules(Names()).values() if key in body["tags"])
    (limit,) = body["params"]["threshold"]

    found = answers(drills_on_node, body)

    assert any(value > limit for value in found.values()), found
    assert body["params"]["thresholdComparator"] == ">"


@pytest.mark.parametrize("key", SILENT)
def test_a_rule_that_no_drill_sets_off_has_documents_to_look_at(key, demo_on_node, drills_on_node):
    body = next(body for body in rules(Names()).values() if key in body["tags"])

    found = [value for filled in (demo_on_node, drills_on_node) for value in answers(filled, body).values()]

    assert found
    assert any(value is not None and value >= (0 if key == "relay-lag" else 1) for value in found)


def test_every_field_that_a_panel_names_is_mapped_on_the_node_with_a_type_that_its_operation_allows(demo_on_node):
    cluster, environment = demo_on_node
    answer = cluster.ask("GET", f"/*-{environment}/_field_caps?fields=*&include_unmapped=false")
    mapping = {name: next(iter(kinds)) for name, kinds in answer["fields"].items()}
    alerts = cluster.ask("POST", f"/_index_template/_simulate_index/{catalog.ALERT_INDEX}")  # only Kibana writes to it
    mapping |= {name: spec["type"] for name, spec in alerts["template"]["mappings"]["properties"].items()}

    assert faults(saved_objects(Names()), mapping) == []


@pytest.mark.parametrize("source", DATA_VIEWS)
def test_a_field_means_the_same_in_every_stream_that_a_data_view_joins(source, demo_on_node):
    cluster, environment = demo_on_node
    index = index_pattern(source).replace("-*", f"-{environment}")
    fields = cluster.ask("GET", f"/{index}/_field_caps?fields=*&include_unmapped=false&ignore_unavailable=true")[
        "fields"
    ]

    several = {name: list(kinds) for name, kinds in fields.items() if name in catalog.FIELDS and len(kinds) > 1}
    assert several == {}


def test_the_committed_saved_objects_are_the_ones_that_were_asked():
    from observability.dashboards.build import ROOT

    lines = (ROOT / "dashboards/generated/kibana/saved-objects.ndjson").read_text("utf-8").splitlines()

    assert [json.loads(line) for line in lines] == saved_objects(Names())
