"""Connections mean here what the hook of their own provider takes them to mean."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.elasticsearch.hooks.elasticsearch import ElasticsearchSQLHook
from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.pagerduty.hooks.pagerduty import PagerdutyHook
from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from botocore.config import Config

from observability import credentials
from observability.airflow import connections
from observability.airflow.connections import resolve
from observability.cli.watch import AirflowContacts
from observability.credentials import CredentialsError
from observability.store.aws import aws_client
from observability.store.cluster import Cluster
from observability.watch.notify.channels.channel import ChannelRefused, ChannelUnavailable, endpoint, reference

ROOT = Path(__file__).parents[2]


@pytest.fixture
def connection(monkeypatch):
    """Name a Connection for this process, which has Airflow."""
    monkeypatch.setattr(credentials, "_own", [resolve])

    def name(**fields):
        monkeypatch.setenv("AIRFLOW_CONN_THE_ONE", json.dumps(fields))
        return "the_one"

    return name


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "es.example", "port": 9200},
        {"host": "es.example", "port": 9243, "schema": "https", "login": "me", "password": "p w"},
        {"host": "es.example", "port": 443, "schema": "https", "extra": {"api_key": ["id", "key"]}},
        {"host": "es.example", "port": 1, "extra": {"scheme": "https", "port": 9201}},
        {"host": "es.example", "port": 9200, "extra": {"user": "u", "password": "p"}},
        {"host": "es.example", "port": 9200, "extra": {"bearer_auth": "token"}},
        {"host": "es.example", "port": 9200, "extra": {"basic_auth": ["u", "p"], "opaque_id": "x"}},
        {"host": "es.example", "port": 9200, "extra": {"headers": {"X-One": "1"}}},
    ],
)
def test_an_elasticsearch_connection(connection, fields):
    conn_id = connection(conn_type="elasticsearch", **fields)
    theirs = ElasticsearchSQLHook(elasticsearch_conn_id=conn_id).get_conn()
    ours = Cluster(resolve(conn_id))
    sent = dict(theirs.es.options()._headers)

    assert ours.url == theirs.url.rstrip("/")
    assert {**sent, **ours._headers} == {**ours._headers, **sent}
    assert {"authorization", "x-opaque-id", "x-one"} & set(sent) <= set(ours._headers)


@pytest.mark.parametrize(("schema", "scheme"), [("http", "http"), ("https", "https"), (None, "http")])
def test_an_elasticsearch_without_a_port_is_at_its_providers_port(connection, schema, scheme):
    assert resolve(connection(conn_type="elasticsearch", host="es", schema=schema)).url == f"{scheme}://es:9200"


def test_an_elasticsearch_without_a_host_is_named(connection):
    with pytest.raises(CredentialsError, match="'the_one' names no host"):
        resolve(connection(conn_type="elasticsearch"))


def test_options_of_tls_time_and_compression_of_a_cluster(connection):
    extra = {"ssl_assert_hostname": "es.internal", "request_timeout": 7, "http_compress": True}
    cluster = Cluster(resolve(connection(conn_type="elasticsearch", schema="https", host="es", extra=extra)))

    assert cluster._pool.assert_hostname == "es.internal"
    assert (cluster._pool.timeout.read_timeout, cluster._compress) == (7.0, True)


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("elasticsearch", {"verify_certs": False}),
        ("elasticsearch", {"ssl_assert_hostname": False}),
        ("http", {"verify": False}),
        ("http", {"verify_ssl": False}),
    ],
)
def test_a_connection_that_would_take_any_certificate_is_refused_with_the_remedy(connection, kind, extra):
    with pytest.raises(CredentialsError, match="certificates are always verified; name the file"):
        Cluster(resolve(connection(conn_type=kind, schema="https", host="es", extra=extra)))


def test_an_aws_connection_that_would_take_any_certificate_is_refused_with_the_remedy(connection):
    conn_id = connection(conn_type="aws", login="AKIA", password="word", extra={"verify": False})
    with pytest.raises(CredentialsError, match="certificates are always verified; name the file"):
        aws_client("logs", conn_id, Config(), region="eu-central-1")


@pytest.mark.parametrize("extra", [{"ca_certs": "/nowhere.pem"}, {"client_cert": "/nowhere.pem"}])
def test_a_file_that_is_not_there_is_named(connection, extra):
    with pytest.raises(CredentialsError, match=r"/nowhere\.pem, which cannot be used"):
        Cluster(resolve(connection(conn_type="elasticsearch", schema="https", host="es", extra=extra)))


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "hooks.example"},
        {"host": "https://hooks.example"},
        {"host": "hooks.example/below", "schema": "https"},
        {"host": "hooks.example", "schema": "https", "port": 8443, "login": "me", "password": "word"},
        {"host": "h.example", "schema": "https", "extra": {"X-Token": "t-1", "stream": True}},
        {"host": "h.example", "schema": "https", "extra": {"proxies": {"https": "http://gate.example:3128"}}},
    ],
)
def test_an_http_connection(connection, fields):
    conn_id = connection(conn_type="http", **fields)
    hook = HttpHook(http_conn_id=conn_id)
    session = hook.get_conn()
    found = resolve(conn_id)

    assert found.url == hook.base_url
    assert found.headers() == {
        **{name.lower(): value for name, value in (fields.get("extra") or {}).items() if name == "X-Token"},
        **({"authorization": session.auth(_Asked()).headers["Authorization"]} if session.auth else {}),
    }
    assert session.verify is True
    assert session.proxies.get("https") == found.extra.get("proxy")


class _Asked:
    def __init__(self):
        self.headers = {}


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "T1/B1/word"},
        {"password": "/T1/B1/word", "host": "slack.example/services"},
        {"password": "T1/B1/word", "host": "https://slack.example/services/"},
        {"password": "https://hooks.slack.com/services/T1/B1/word"},
        {"password": "T1/B1/word", "extra": {"timeout": 3, "proxy": "http://gate.example:3128"}},
        {"password": "T1/B1/word", "extra": {"extra__slackwebhook__timeout": 3}},
    ],
)
def test_a_slack_connection(connection, fields):
    conn_id = connection(conn_type="slackwebhook", **fields)
    theirs = SlackWebhookHook(slack_webhook_conn_id=conn_id)._get_conn_params()
    found = endpoint(f"connection:{conn_id}", AirflowContacts())

    assert found.url == theirs["url"]
    assert (found.timeout_s, found.proxy or None) == (theirs.get("timeout"), theirs.get("proxy"))
    assert found.headers == {}


def test_a_pagerduty_connection_gives_its_routing_key_and_not_the_accounts(connection):
    conn_id = connection(conn_type="pagerduty", password="account-key", extra={"routing_key": "the-routing-key"})
    assert reference(f"connection:{conn_id}", AirflowContacts()) == PagerdutyHook(pagerduty_conn_id=conn_id).routing_key

    conn_id = connection(conn_type="pagerduty_events", password="integration-key")
    assert reference(f"connection:{conn_id}", AirflowContacts()) == "integration-key"

    with pytest.raises(ChannelUnavailable, match="no extra routing_key"):
        reference(f"connection:{connection(conn_type='pagerduty', password='account-key')}", AirflowContacts())


def test_a_connection_that_holds_nothing_is_refused(connection):
    with pytest.raises(ChannelRefused, match="connection:the_one is empty"):
        reference(f"connection:{connection(conn_type='generic', login='me')}", AirflowContacts())


@pytest.mark.parametrize(
    ("service", "extra"),
    [
        ("logs", {"verify": __file__}),
        ("logs", {"endpoint_url": "http://127.0.0.1:9/all", "config_kwargs": {"read_timeout": 7}}),
        ("sns", {"service_config": {"sns": {"endpoint_url": "http://127.0.0.1:9/sns"}}}),
        ("cloudwatch", {"config_kwargs": {"proxies": {"https": "http://gate.example:3128"}}}),
        ("sns", {"config_kwargs": {"signature_version": "unsigned"}, "verify": __file__}),
    ],
)
def test_an_aws_connection(connection, extra, service):
    conn_id = connection(conn_type="aws", login="AKIA", password="word", extra={"region_name": "eu-central-1", **extra})
    theirs = AwsGenericHook(aws_conn_id=conn_id, client_type=service).get_client_type(region_name="eu-central-1")
    ours = aws_client(service, conn_id, Config(retries={"total_max_attempts": 1}))
    told = ("read_timeout", "proxies", "signature_version", "region_name")

    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    assert [getattr(ours.meta.config, name) for name in told] == [getattr(theirs.meta.config, name) for name in told]
    assert ours._endpoint.http_session._verify == theirs._endpoint.http_session._verify
    assert ours.meta.config.retries["total_max_attempts"] == 1


def test_the_profile_of_an_aws_connection_gives_keys_and_region(connection, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("[profile ours]\nregion = ap-south-1\n")
    (tmp_path / "credentials").write_text("[ours]\naws_access_key_id = AKIAOURS\naws_secret_access_key = word\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))

    found = resolve(connection(conn_type="aws", extra={"profile_name": "ours"}))

    assert (found.login, found.extra["region_name"]) == ("AKIAOURS", "ap-south-1")


def test_each_extra_that_is_read_stands_on_the_reference_page():
    page = (ROOT / "docs/reference/connections.md").read_text("utf-8")
    code = "\n".join(
        path.read_text("utf-8") for path in (ROOT / "observability").rglob("*.py") if "relay" not in path.parts
    )
    read = set(re.findall(r"""\b(?:extra|extra_dejson|extra_config|given)\.(?:get|pop)\(\s*"(\w+)\"""", code))
    read |= set(re.findall(r"""\b(?:extra|given)\["(\w+)"\]""", code)) | connections._OURS | connections._HTTP_UNUSED
    ours = {"session_token", "expiry", "endpoints"}  # what the resolver makes, not what people write

    assert {"auth_type", "ca_certs", "proxies", "routing_key", "verify"} <= read
    assert [name for name in sorted(read - ours) if f"`{name}`" not in page] == []
