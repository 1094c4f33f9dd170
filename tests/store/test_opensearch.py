"""Everything that meets an Elasticsearch in this suite and that OpenSearch has as well, against a real OpenSearch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from filled import carried, emit_drills
from opensearch_node import OpenSearchNode

from observability.credentials import Credentials
from observability.dashboards.kibana.kql import to_query
from observability.dashboards.names import Names
from observability.dashboards.opensearch import saved_objects
from observability.errors import ClusterError, OldestServer
from observability.store import opensearch
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install
from observability.store.elasticsearch_templates import component_templates, index_templates

TESTS = Path(__file__).parents[1]
FILES = (
    "relay/sinks/test_elasticsearch.py",
    "relay/test_relay_on_elasticsearch.py",
    "store/test_store.py",
    "store/test_tables.py",
    "store/test_following.py",
    "store/test_elasticsearch_store.py",
)
OWN_NODE = "not killed_and_comes_back and not larger_than_the_node"


@pytest.fixture(scope="module")
def node():
    with OpenSearchNode() as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sink_store_and_relay_do_there_what_they_do_with_elasticsearch(node):
    pass_there(node, "elasticsearch and not slow", OWN_NODE, FILES)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_of_the_relay_lose_and_double_nothing_there(node):
    pass_there(node, "elasticsearch and slow", "killed_relays", ["relay/test_relay_on_elasticsearch.py"])


def pass_there(node, marks, names, files):
    """Run tests of the suite against the OpenSearch."""
    files = [str(TESTS / file) for file in files]
    command = [sys.executable, "-m", "pytest", "-m", marks, "-k", names, *files]
    env = {**os.environ, "ES_URL": node.url}
    done = subprocess.run(command, env=env, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout


@pytest.mark.slow
def test_setup_says_what_it_left_out_and_a_second_one_changes_nothing(node):
    cluster = Cluster(Credentials(url=node.url))
    first = install(cluster, prefix="twice-")
    assert (first.product, first.version.split(".")[0], first.in_the_way) == ("OpenSearch", "3", {})
    assert {"retention", "index.mapping.total_fields.ignore_dynamic_beyond_limit"} <= set(first.left_out)

    again = install(cluster, prefix="twice-")
    assert (again.installed, again.rolled_over) == ([], [])
    assert sorted(again.unchanged) == sorted(first.installed)
    cluster.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_saved_search_for_its_dashboards_finds_what_the_product_emitted(node, tmp_path):
    install(cluster := Cluster(Credentials(url=node.url)))
    emit_drills(tmp_path / "drills")
    where = {"CONTRAIL_RELAY__SINKS": "elasticsearch", "CONTRAIL_ELASTICSEARCH__URL": node.url}
    carried(tmp_path / "drills", tmp_path / "carried", where)
    cluster.send("POST", "/_refresh")
    views, found = {}, {}
    for one in saved_objects(Names()):
        attributes = one["attributes"]
        if one["type"] == "index-pattern":
            views[one["id"]] = attributes["title"]
            continue
        query = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])["query"]["query"]
        body = {"query": to_query(query), "sort": [{name: order} for name, order in attributes["sort"]]}
        answer = cluster.ask("POST", f"/{views[one['references'][0]['id']]}/_search", body)
        found[attributes["title"]] = answer["hits"]["total"]["value"]
    cluster.close()
    assert [title for title, number in found.items() if not number] == []


def test_the_templates_have_no_word_that_opensearch_does_not_know():
    for body in (*component_templates().values(), *index_templates().values()):
        text = str(opensearch.fitted(body))
        assert "subobjects" not in text
        assert "flattened" not in text
    mappings = opensearch.fitted(component_templates()["contrail-events"])["template"]["mappings"]
    assert mappings["disable_objects"] is True
    assert mappings["properties"]["metric.tags"] == {"type": "flat_object"}


def test_an_opensearch_without_flat_names_is_refused_with_the_reason():
    class Older:
        url = "http://older"

        def ask(self, _method, path, _body=None):
            if path == "/":
                return {"version": {"distribution": "opensearch", "number": "2.11.0"}}
            raise ClusterError(400, "mapper_parsing_exception", "unsupported parameters: [disable_objects : true]")

    with pytest.raises(OldestServer, match=r"OpenSearch 2\.11\.0, which does not know the mapping parameter"):
        install(Older())
