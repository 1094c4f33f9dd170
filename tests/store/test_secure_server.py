"""A real server with its security on: who is let in, and whom we refuse to talk to."""

from __future__ import annotations

import json
import uuid

import pytest
from secure_elasticsearch import PASSWORD, USER, secure_node
from typer.testing import CliRunner

from observability import credentials
from observability.airflow.connections import resolve
from observability.cli.elasticsearch import app
from observability.credentials import Credentials
from observability.local.elasticsearch_node import OLDER, VERSION, NodeError
from observability.settings import get_settings, load_settings
from observability.store.cluster import Cluster, ClusterUnreachable

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(600)]


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
                "CONTRAIL_CORE__HOME": str(tmp_path),
                "CONTRAIL_CORE__ENVIRONMENT": environment,
                "CONTRAIL_STORE__BACKEND": "elasticsearch",
            }
        )

    return settings


def test_setup_goes_through_with_a_password_from_the_connection(node, connect):
    connect(login=USER, password=PASSWORD)
    get_settings.cache_clear()
    done = CliRunner().invoke(app, ["setup", "--json"])
    get_settings.cache_clear()
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["version"] == node.version


@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
def test_a_server_that_cannot_prove_who_it_is_gets_no_credentials(node, host, trusted):
    extra = {"ca_certs": node.authority} if trusted else {}
    cluster = Cluster(Credentials(f"https://{host}:{node.port}", USER, PASSWORD, extra=extra))

    with pytest.raises(ClusterUnreachable, match=r"certificate|hostname|IP address"):
        cluster.send("GET", "/")
    cluster.close()
