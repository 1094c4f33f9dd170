"""A real server with its security on: who is let in, with which privileges, and whom we refuse to talk to."""

from __future__ import annotations

import base64
import json
import uuid

import orjson
import pytest
from secure_elasticsearch import PASSWORD, USER, secure_node
from typer.testing import CliRunner

from observability import credentials
from observability.airflow.connections import resolve
from observability.cli.elasticsearch import app
from observability.cli.platform.elasticsearch_node import OLDER, VERSION, NodeError
from observability.credentials import Credentials
from observability.relay.sinks.sink import Answer, Batch, SinkUnavailable, open_sink
from observability.settings import get_settings, load_settings
from observability.store import Query, StoreError, open_store
from observability.store.cluster import Cluster, ClusterUnreachable

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(600)]

RELAY = ["auto_configure", "create_doc", "read", "maintenance"]
"""What docs/stores.md says that the relay's key needs."""


@pytest.fixture(scope="module", params=[VERSION, OLDER])
def node(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    try:
        node = secure_node(request.param, folder).start()
    except NodeError as error:
        pytest.skip(str(error))
    node.authority = str(folder / "authority.pem")
    yield node
    node.stop()


@pytest.fixture
def environment():
    return f"s{uuid.uuid4().hex[:10]}"


@pytest.fixture
def connect(node, environment, tmp_path, monkeypatch):
    """Settings of a deployment whose Airflow Connection has what is given; this process reads it, as Airflow's do."""
    monkeypatch.setattr(credentials, "_own", [resolve])

    def settings(**named):
        extra = {"ca_certs": node.authority} | named.pop("extra", {})
        connection = {"conn_type": "elasticsearch", "host": "localhost", "port": node.port, "schema": "https"}
        monkeypatch.setenv("AIRFLOW_CONN_ELASTICSEARCH_DEFAULT", json.dumps(connection | named | {"extra": extra}))
        return load_settings(
            environ={
                "CONTRAIL_CONTRAIL__HOME": str(tmp_path),
                "CONTRAIL_CONTRAIL__ENVIRONMENT": environment,
                "CONTRAIL_STORE__BACKEND": "elasticsearch",
            }
        )

    return settings


@pytest.fixture
def key(node, connect):
    """An API key with some privileges on the data streams of an environment; the templates are there."""
    connect(login=USER, password=PASSWORD)
    get_settings.cache_clear()
    done = CliRunner().invoke(app, ["setup", "--json"])
    get_settings.cache_clear()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == node.version

    def make(environment, privileges):
        names = [f"logs-*-{environment}", f"metrics-*-{environment}"]
        role = {"contrail": {"cluster": [], "index": [{"names": names, "privileges": privileges}]}}
        owner = Cluster(
            Credentials(f"https://localhost:{node.port}", USER, PASSWORD, extra={"ca_certs": node.authority})
        )
        made = owner.ask("POST", "/_security/api_key", {"name": environment, "role_descriptors": role})
        owner.close()
        return base64.b64encode(f"{made['id']}:{made['api_key']}".encode()).decode()

    return make


def lines(start, stop):
    documents = [
        orjson.dumps({"@timestamp": "2026-03-01T00:00:00.000Z", "event": f"line {n}", "offset": n})
        for n in range(start, stop)
    ]
    return Batch("airflow.task", "a.log", "a", [b"f1-%d" % n for n in range(start, stop)], documents)


def test_the_documented_privileges_are_enough_to_send_resend_and_read(key, connect, environment):
    settings = connect(extra={"api_key": key(environment, RELAY)})
    sink = open_sink("elasticsearch", settings)

    assert sink.send(lines(0, 50)) == Answer(stored=50)
    resent = lines(0, 60)
    resent = Batch(resent.dataset, resent.source, resent.group, resent.ids, resent.documents, resent=True)
    assert sink.send(resent) == Answer(stored=10, duplicates=50)
    sink.close()

    reader = connect(extra={"api_key": key(environment, ["read", "maintenance"])})
    store = open_store(reader)
    found = [document["offset"] for document in store.documents(Query("airflow.task"))]
    store.close()
    assert sorted(found) in ([*range(60)], [*range(50)])


def test_a_key_for_another_environment_is_told_what_it_lacks(key, connect, environment):
    sink = open_sink("elasticsearch", connect(extra={"api_key": key("elsewhere", RELAY)}))

    with pytest.raises(SinkUnavailable, match=r"403; the user or API key needs auto_configure, create_doc"):
        sink.send(lines(0, 1))
    sink.close()


def test_a_password_that_is_corrected_in_the_connection_is_used_at_the_next_try(key, connect, environment):
    key(environment, RELAY)
    sink = open_sink("elasticsearch", connect(login=USER, password="wrong"))
    with pytest.raises(SinkUnavailable, match="401; check the Connection's credentials"):
        sink.send(lines(0, 5))

    connect(login=USER, password=PASSWORD)
    assert sink.send(lines(0, 5)) == Answer(stored=5)
    sink.close()


def test_a_reader_without_rights_is_an_error_with_a_reason_and_no_empty_log(key, connect, environment):
    store = open_store(connect(extra={"api_key": key("elsewhere", ["read"])}))

    with pytest.raises(StoreError, match="403"):
        list(store.documents(Query("airflow.task")))
    store.close()


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
def test_a_server_that_cannot_prove_who_it_is_gets_no_credentials(node, host, trusted):
    extra = {"ca_certs": node.authority} if trusted else {}
    cluster = Cluster(Credentials(f"https://{host}:{node.port}", USER, PASSWORD, extra=extra))

    with pytest.raises(ClusterUnreachable, match=r"certificate|hostname|IP address"):
        cluster.send("GET", "/")
    cluster.close()
