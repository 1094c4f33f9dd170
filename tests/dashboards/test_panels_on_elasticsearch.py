"""Every panel's and rule's question, as the saved object has it, asked of a real node about what was really emitted."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from filled import carried, emit_drills

from dashboards.kibana.kql import to_query
from dashboards.kibana.objects import saved_objects
from dashboards.kibana.rules import rules
from dashboards.kibana.sound import faults
from dashboards.names import Names, index_pattern
from observability import catalog
from observability.cli.boards.verify import verify_elasticsearch
from observability.store.cluster import open_cluster
from observability.store.elasticsearch_setup import install

pytestmark = [pytest.mark.elasticsearch, pytest.mark.airflow]

QUIET_RULES = {
    "deadline-missed": "no deadline was missed",
    "dag-import-failed": "every DAG file parses",
    "component-silent": "every component has a heartbeat",
    "telemetry-lost": "nothing was lost",
    "canary-silent": "the demo leaves the canary paused",
    "notification-failed": "the demo's channel takes everything",
}
"""Rules that the demo gives nothing to; the drills do."""


def deployment(home, folder, url):
    environ = {
        "CONTRAIL_RELAY__SINKS": "elasticsearch",
        "CONTRAIL_STORE__BACKEND": "elasticsearch",
        "CONTRAIL_ELASTICSEARCH__URL": url,
        "CONTRAIL_CONTRAIL__ENVIRONMENT": f"d{uuid.uuid4().hex[:10]}",
    }
    settings = carried(home, folder, environ)
    cluster = open_cluster(settings)
    environment = settings.contrail.environment
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
def drills_on_node(templates, elasticsearch_url, tmp_path_factory):
    home = tmp_path_factory.mktemp("drills")
    emit_drills(home)
    cluster, environment = deployment(home, tmp_path_factory.mktemp("drills-node"), elasticsearch_url)
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

    assert sorted(set(quiet) - set(filled)) == []


def matching(filled, body):
    """How many documents a rule's query matches, and the values of its group."""
    cluster, environment = filled
    params = body["params"]
    view = params["searchConfiguration"]["index"].removeprefix("contrail-")
    index = index_pattern(view).replace("-*", f"-{environment}")
    asked = {"size": 0, "query": to_query(params["searchConfiguration"]["query"]["query"])}
    aggregations = {}
    if "aggField" in params:
        aggregations["value"] = {params["aggType"]: {"field": params["aggField"]}}
    if "termField" in params:
        aggregations["groups"] = {"terms": {"field": params["termField"], "size": params["termSize"]}}
    answer = cluster.ask("POST", f"/{index}/_search?ignore_unavailable=true", {**asked, "aggs": aggregations})
    groups = [bucket["key"] for bucket in answer.get("aggregations", {}).get("groups", {}).get("buckets", [])]
    value = answer.get("aggregations", {}).get("value", {}).get("value", answer["hits"]["total"]["value"])
    return value, groups


@pytest.mark.parametrize("key", catalog.RULES)
def test_every_rule_finds_documents_and_its_groups(key, demo_on_node, drills_on_node):
    body = next(body for body in rules(Names()).values() if key in body["tags"])
    filled = drills_on_node if key in QUIET_RULES else demo_on_node

    value, groups = matching(filled, body)

    assert value is not None
    assert value > 0 or key == "relay-lag"
    assert bool(groups) == ("termField" in body["params"])


def test_every_field_that_a_panel_names_is_mapped_on_the_node_with_a_type_that_its_operation_allows(demo_on_node):
    cluster, environment = demo_on_node
    answer = cluster.ask("GET", f"/*-{environment}/_field_caps?fields=*&include_unmapped=false")
    mapping = {name: next(iter(kinds)) for name, kinds in answer["fields"].items()}

    assert faults(saved_objects(Names()), mapping) == []


def test_a_field_means_the_same_in_every_stream_that_a_data_view_joins(demo_on_node):
    cluster, environment = demo_on_node
    answer = cluster.ask("GET", f"/*-{environment}/_field_caps?fields=*&include_unmapped=false")
    named = {name for name in catalog.FIELDS if name in answer["fields"]}

    assert {name: list(answer["fields"][name]) for name in named if len(answer["fields"][name]) > 1} == {}


def test_the_committed_saved_objects_are_the_ones_that_were_asked():
    from dashboards.build import ROOT

    lines = (ROOT / "dashboards/generated/kibana/saved-objects.ndjson").read_text("utf-8").splitlines()

    assert [json.loads(line) for line in lines] == saved_objects(Names())
