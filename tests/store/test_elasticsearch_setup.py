"""Templates from the catalogue, and their installation on a real cluster."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import orjson
import pytest
import urllib3

from observability import catalog
from observability.cli.elasticsearch import generate
from observability.credentials import Credentials
from observability.store import elasticsearch_templates as templates
from observability.store.cluster import Cluster, ClusterError
from observability.store.elasticsearch_neighbours import overlap
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

    assert patterns == [[spec.stream("*")] for spec in catalog.DATASETS.values()]
    assert "metrics-airflow.statsd-*" not in {pattern for [pattern] in patterns}  # Elastic's own integration has it


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


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("logs-*", "logs-airflow.task-*", True),
        ("*-prod", "logs-airflow.task-*", True),
        ("logs-*-prod", "logs-airflow.task-prod", True),
        ("logs-*-dev", "logs-airflow.task-prod", False),
        ("metrics-airflow.statsd-*", "metrics-contrail.statsd-*", False),
        ("*", "", True),
    ],
)
def test_two_patterns_that_some_name_matches_overlap(one, other, expected):
    assert (overlap(one, other), overlap(other, one)) == (expected, expected)


@pytest.fixture
def cluster(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    yield cluster
    cluster.close()


def body_of(pattern, priority):
    return {
        "index_patterns": [pattern],
        "priority": priority,
        "data_stream": {},
        "template": {"mappings": {"dynamic": "strict", "properties": {"@timestamp": {"type": "date"}}}},
        "_meta": {"managed_by": "fleet", "package": {"name": "airflow"}},
    }


@pytest.fixture
def name():
    """A deployment of this test's own."""
    return f"u{uuid.uuid4().hex[:10]}"


@pytest.fixture
def foreign(cluster):
    """Install a template of somebody else's; it is gone afterwards, with what it made."""
    made = []

    def put(name, pattern, priority=500):
        cluster.ask("PUT", f"/_index_template/{name}", body_of(pattern, priority))
        made.append((name, pattern))

    yield put
    for name, pattern in made:  # this node cannot delete a stream, so a template that has some stays, out of the way
        cluster.send("PUT", f"/_index_template/{name}", orjson.dumps(body_of(pattern, 1)))
        cluster.send("DELETE", f"/_index_template/{name}")


@pytest.mark.elasticsearch
def test_a_template_of_somebody_elses_that_wins_over_ours_is_named(cluster, foreign, name):
    foreign("acme-logs", f"logs-*-{name}")

    for dry_run in (True, False):
        report = install(cluster, dry_run=dry_run, environment=name)
        assert list(report.in_the_way) == ["_index_template/acme-logs"]
        assert "wins over contrail-" in report.in_the_way["_index_template/acme-logs"]
    assert install(cluster, environment="setupother").in_the_way == {}


@pytest.mark.elasticsearch
def test_a_stream_that_somebody_elses_template_made_is_named_and_left_alone(cluster, foreign, name):
    stream = f"logs-etl.event-{name}"
    foreign("acme-taken", stream)
    cluster.ask("POST", f"/{stream}/_create/1", {"@timestamp": "2026-01-01T00:00:00Z"})
    cluster.send("DELETE", "/_index_template/acme-taken")  # ours covers it now, so this is allowed

    report = install(cluster, environment=name)
    assert (list(report.in_the_way), stream in report.rolled_over) == ([stream], False)
    beside = install(cluster, environment="setupother")
    assert (stream in beside.left_alone, stream in beside.rolled_over, beside.in_the_way) == (True, False, {})


@pytest.mark.elasticsearch
def test_the_integration_of_elastic_keeps_its_streams(cluster, foreign, name):
    stream = f"metrics-airflow.statsd-{name}"
    foreign("metrics-airflow.statsd", "metrics-airflow.statsd-*", 200)
    cluster.ask("POST", f"/{stream}/_create/1", {"@timestamp": "2026-01-01T00:00:00Z"})

    report = install(cluster)

    assert "_index_template/metrics-airflow.statsd" in report.left_alone
    assert (report.in_the_way, stream in report.rolled_over) == ({}, False)


@pytest.mark.elasticsearch
def test_an_index_or_alias_that_is_called_like_a_stream_of_ours_is_named(cluster, name):
    index, alias = f"acme-{name}", f"logs-etl.event-{name}"
    cluster.ask("PUT", f"/{index}", {"aliases": {alias: {"is_write_index": True}}})
    try:
        for dry_run in (True, False):
            report = install(cluster, dry_run=dry_run, environment=name)
            assert list(report.in_the_way) == [alias]
            assert f"an alias of {index}, not of ours" in report.in_the_way[alias]
        beside = install(cluster, environment="setupother")
        assert (alias in beside.left_alone, beside.in_the_way) == (True, {})
    finally:
        cluster.send("DELETE", f"/{index}")


@pytest.mark.elasticsearch
def test_a_set_up_that_was_cut_off_is_finished_by_the_next(cluster, name):
    stream = f"logs-etl.event-{name}"
    old = templates.index_templates()["contrail-etl.event"]
    old["template"]["mappings"]["_meta"]["digest"] = "older"
    cluster.ask("PUT", "/_index_template/contrail-etl.event", old)
    cluster.ask("POST", f"/{stream}/_create/1", {"@timestamp": "2026-01-01T00:00:00Z"})

    class Cut:
        url = cluster.url

        def ask(self, method, path, body=None):
            if path.endswith("_rollover"):
                raise ClusterError(503, "", "gone")
            return cluster.ask(method, path, body)

    with pytest.raises(ClusterError):
        install(Cut())
    assert stream in install(cluster, dry_run=True).rolled_over
    assert stream in install(cluster).rolled_over
    assert install(cluster).rolled_over == []


@pytest.mark.elasticsearch
def test_settings_that_a_managed_server_does_not_allow_are_left_out_and_said(cluster):
    refused = "index.auto_expand_replicas"

    class Managed:
        url = cluster.url

        def ask(self, method, path, body=None):
            settings = (body or {}).get("template", {}).get("settings", {})
            if refused in settings:
                reason = f"Settings [{refused}] are not available when running in serverless mode"
                raise ClusterError(400, "illegal_argument_exception", reason)
            answer = cluster.ask(method, path, body)
            if path == "/":
                answer["version"]["build_flavor"] = "serverless"
            return answer

    path = "_component_template/contrail-settings"
    cluster.ask("PUT", f"/{path}", {"template": {"settings": {}}, "_meta": {"digest": "older"}})
    report = install(Managed())
    assert "not available when running in serverless mode" in report.left_out[refused]
    assert (path in report.installed, report.left_out.get("retention")) == (True, None)
    settings = cluster.ask("GET", f"/{path}")["component_templates"][0]["component_template"]["template"]["settings"]
    assert ("codec" in settings["index"], "auto_expand_replicas" in settings["index"]) == (True, False)
    assert install(Managed()).installed == []
    install(cluster)
