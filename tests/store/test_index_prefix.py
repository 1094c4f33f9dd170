"""A company's index prefix: every name of ours on the cluster begins with it, and every reader follows."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from stores import NOW, at, elasticsearch, fill, journal

from observability import catalog
from observability.cli.dashboards import names_of
from observability.dashboard_installer.verify import verify_elasticsearch
from observability.dashboards.kibana.objects import saved_objects
from observability.dashboards.kibana.rules import connectors
from observability.relay.sinks.sink import Batch
from observability.settings import SettingsError, load_settings
from observability.store.cluster import open_cluster
from observability.store.elasticsearch_setup import install
from observability.store.store import Query, open_store

EVENTS = [
    {"event.action": "task.failed", "airflow.dag_id": "a", "message": "Task failed", "airflow.cause": "app"},
    {"event.action": "dag_run.failed", "airflow.dag_id": "a", "message": "Run failed"},
]
METRIC = {"metric.name": "contrail.task.outcomes", "metric.type": "counter", "metric.value": 1, "airflow.dag_id": "a"}


def line_of_a_task():
    document = b'{"airflow.dag_id":"a","log.file.path":"a.log","offset":1,"@timestamp":"%b","event":"hello"}'
    return Batch("airflow.task", "a.log", "a.log", [b"a-1"], [document % at(0).encode()])


def names_on(cluster):
    """Everything on the cluster that has a name and that a set-up or a sink may make."""
    parts = cluster.ask("GET", "/_component_template")["component_templates"]
    wholes = cluster.ask("GET", "/_index_template")["index_templates"]
    streams = cluster.ask("GET", "/_resolve/index/*")
    named = [*parts, *wholes, *streams["data_streams"], *streams["indices"]]
    return {one["name"] for one in named}


@pytest.fixture
def prefixed(elasticsearch_url):
    """The settings of a store with a prefix of its own, filled, and the names that this brought to the cluster."""
    there = load_settings(environ={"CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url})
    cluster = open_cluster(there)
    before = names_on(cluster)
    environ = elasticsearch(elasticsearch_url, index_prefix=f"acme.{uuid.uuid4().hex[:8]}-")
    settings = load_settings(environ=environ)
    fill(settings, journal("etl.event", EVENTS), journal("airflow.statsd", [METRIC]), line_of_a_task())
    yield settings, cluster, names_on(cluster) - before
    cluster.close()


@pytest.mark.elasticsearch
def test_every_name_on_the_cluster_begins_with_the_prefix_and_the_store_reads_it_back(prefixed):
    settings, _, made = prefixed
    prefix = settings.elasticsearch.index_prefix
    store = open_store(settings)

    assert len(made) >= len(catalog.DATASETS) + 4
    assert {name for name in made if not name.removeprefix(".ds-").startswith(prefix)} == set()
    assert store.health() is None
    assert store.count(Query("etl.event"), by="event.action") == {"dag_run.failed": 1, "task.failed": 1}
    assert [one["event"] for one in store.documents(Query("airflow.task"))] == ["hello"]
    assert [one["airflow.dag_id"] for one in store.arrivals(Query("airflow.statsd"), {})] == ["a"]
    assert store.series() == 1
    store.close()


@pytest.mark.elasticsearch
def test_the_panels_of_kibana_ask_the_streams_with_the_prefix(prefixed):
    settings, cluster, _ = prefixed
    prefix, environment = settings.elasticsearch.index_prefix, settings.core.environment

    def shown(prefix):
        until = NOW + timedelta(hours=1)
        verdicts = verify_elasticsearch(cluster, environment, NOW - timedelta(hours=1), until, prefix=prefix)
        return sum(1 for one in verdicts if one.rows)

    assert shown(prefix) > 0
    assert shown("") == 0


@pytest.mark.elasticsearch
def test_two_contrails_with_prefixes_of_their_own_are_in_nobodys_way(prefixed):
    settings, cluster, _ = prefixed
    environment = settings.core.environment

    other = install(cluster, environment=environment, prefix=f"beta{uuid.uuid4().hex[:8]}-")
    plain = install(cluster, environment=environment)
    again = install(cluster, environment=environment, prefix=settings.elasticsearch.index_prefix)

    assert (other.in_the_way, plain.in_the_way, again.in_the_way) == ({}, {}, {})
    assert (again.installed, again.rolled_over) == ([], [])


@pytest.mark.elasticsearch
def test_a_template_of_the_company_that_wins_over_ours_is_named(elasticsearch_url):
    cluster = open_cluster(load_settings(environ={"CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url}))
    prefix = f"corp{uuid.uuid4().hex[:8]}-"
    theirs = {"index_patterns": [f"{prefix}*"], "priority": 500, "template": {"settings": {"number_of_shards": 1}}}
    cluster.ask("PUT", f"/_index_template/{prefix}everything", theirs)
    try:
        report = install(cluster, environment="prod", prefix=prefix)
    finally:
        cluster.ask("DELETE", f"/_index_template/{prefix}everything")
        cluster.close()

    assert f"it covers {prefix}" in report.in_the_way[f"_index_template/{prefix}everything"]


def test_data_views_and_the_index_of_the_rules_follow_the_prefix():
    settings = load_settings(environ={"CONTRAIL_ELASTICSEARCH__INDEX_PREFIX": "acme-"})
    names = names_of(settings)

    views = [one["attributes"]["title"] for one in saved_objects(names) if one["type"] == "index-pattern"]
    (index,) = [one["config"]["index"] for one in connectors(names).values() if "index" in one["config"]]

    assert [part for view in views for part in view.split(",") if not part.startswith("acme-")] == []
    assert index == settings.alert_index == "acme-contrail-kibana-alerts"


def test_rules_write_into_the_index_that_the_watcher_reads():
    settings = load_settings(environ={"CONTRAIL_WATCH__KIBANA_ALERTS": "alerts-of-ours"})

    assert names_of(settings).alert_index == "alerts-of-ours"


@pytest.mark.parametrize("prefix", ["Acme-", "-acme", "acme*", "_x", ".acme", "a,b", "a/b", "a" * 51, "ä-"])
def test_a_prefix_that_no_index_may_have_is_refused(prefix):
    with pytest.raises(SettingsError, match="INDEX_PREFIX must be at most 50 lower-case letters"):
        load_settings(environ={"CONTRAIL_ELASTICSEARCH__INDEX_PREFIX": prefix})
