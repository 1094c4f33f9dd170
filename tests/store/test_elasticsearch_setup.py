"""Templates from the catalogue, and their installation on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import urllib3

from observability import catalog
from observability.cli.elasticsearch import generate
from observability.credentials import Credentials
from observability.store import elasticsearch_templates as templates
from observability.store.cluster import Cluster, ClusterError
from observability.store.elasticsearch_setup import OldestServer, install

COMMITTED = Path(__file__).parents[2] / "config" / "elasticsearch"


def test_the_committed_templates_are_those_of_the_catalogue(tmp_path):
    fresh = {path.relative_to(tmp_path): path.read_text("utf-8") for path in generate(tmp_path)}
    committed = {path.relative_to(COMMITTED): path.read_text("utf-8") for path in COMMITTED.rglob("*.json")}

    assert committed == fresh, "run `make generate`"


def test_every_field_of_the_catalogue_is_mapped_for_events():
    properties = templates.component_templates()["contrail-events"]["template"]["mappings"]["properties"]

    assert set(catalog.FIELDS) - set(properties) == {"log_id", "offset", "event", "level", "logger", "timestamp"}


def test_every_dataset_has_a_template_of_its_own():
    patterns = [body["index_patterns"] for body in templates.index_templates().values()]

    assert patterns == [[f"{spec.type}-{name}-*"] for name, spec in catalog.DATASETS.items()]


@pytest.mark.elasticsearch
def test_setup_is_safe_to_run_again_and_says_what_the_cluster_cannot_do(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)

    report = install(cluster)

    assert report.installed == []
    assert len(report.unchanged) >= len(catalog.DATASETS) + 4
    assert all(report.left_out.values())
    cluster.close()


@pytest.mark.elasticsearch
def test_a_changed_template_is_installed_and_its_streams_roll_over(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    stream = "logs-etl.event-setup"
    cluster.send("POST", f"/{stream}/_create/1", b'{"@timestamp":"2026-01-01T00:00:00Z"}')
    older = templates.index_templates()["contrail-etl.event"] | {"_meta": {"digest": "older"}}
    cluster.ask("PUT", "/_index_template/contrail-etl.event", older)

    report = install(cluster)

    assert report.installed == ["_index_template/contrail-etl.event"]
    assert stream in report.rolled_over
    cluster.close()


@pytest.mark.elasticsearch
def test_the_command_reports_as_json(elasticsearch_url, monkeypatch):
    from typer.testing import CliRunner

    from observability.cli.elasticsearch import app
    from observability.settings import get_settings

    monkeypatch.setenv("CONTRAIL_ELASTICSEARCH__URL", elasticsearch_url)
    get_settings.cache_clear()
    try:
        result = CliRunner().invoke(app, ["setup", "--json"])
    finally:
        get_settings.cache_clear()

    with urllib3.PoolManager() as pool:
        server = pool.request("GET", elasticsearch_url).json()["version"]["number"]
    assert (result.exit_code, json.loads(result.stdout)["version"]) == (0, server)


class Recorded:
    """A cluster that has what the node of the tests lacks; it keeps what it was asked to install."""

    url = "http://recorded"

    def __init__(self, version, *able):
        self._version = version
        self._able = able
        self.put = {}

    def ask(self, method, path, body=None):
        if method == "PUT":
            self.put[path] = body
            return {"acknowledged": True}
        if path == "/":
            return {"version": {"number": self._version}}
        if path == "/_license":
            return {"license": {"type": "basic"}}
        if path in self._able:
            return {}
        if path.startswith("/_resolve"):
            return {"data_streams": []}
        raise ClusterError(404 if path.count("/") > 1 and "_template" in path else 400, "", "no")


def test_the_data_stream_lifecycle_forgets_where_there_is_one():
    cluster = Recorded("9.1.0", "/_lifecycle/stats", "/_ilm/status")

    report = install(cluster)

    assert cluster.put["/_index_template/contrail-etl.event"]["template"]["lifecycle"] == {"data_retention": "365d"}
    assert report.left_out == {"index lifecycle management": "not needed: the data stream lifecycle does it"}


def test_index_lifecycle_management_forgets_where_that_is_all_there_is():
    cluster = Recorded("8.10.0", "/_ilm/status")
    cluster.ask = _with_policies(cluster.ask)

    install(cluster)

    settings = cluster.put["/_index_template/contrail-airflow.task"]["template"]["settings"]
    assert settings == {"index.lifecycle.name": "contrail-30d"}
    assert cluster.put["/_ilm/policy/contrail-30d"]["policy"]["phases"]["delete"]["min_age"] == "30d"


def _with_policies(ask):
    def asked(method, path, body=None):
        if method == "GET" and path.startswith("/_ilm/policy"):
            raise ClusterError(404, "", "no such policy")
        return ask(method, path, body)

    return asked


def test_a_server_that_is_too_old_is_refused_by_name():
    with pytest.raises(OldestServer, match=r"runs Elasticsearch 7\.17\.0; Contrail needs 8\.8 or newer"):
        install(Recorded("7.17.0"))
