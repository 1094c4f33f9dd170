"""Messages, documents and questions arrive through a real proxy with a login; nothing else reaches their service."""

from __future__ import annotations

import contextlib
import socket
import uuid
from datetime import datetime, timezone
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
from botocore.exceptions import BotoCoreError
from test_behind_proxies import MESSAGE, Nobody, aws, channel, heartbeat
from through_proxy import ForwardProxy, Service
from webhook_server import certificate

from observability.credentials import Credentials
from observability.dashboard_installer.changes import InstallError
from observability.dashboard_installer.kibana import Kibana
from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.relay.sinks.sink import Batch, SendResult, open_sink
from observability.settings import load_settings
from observability.store import Query, open_store
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install
from observability.watch.errors import WatchError
from observability.watch.notify.channels.channel import open_channel
from observability.watch.rules.config import ChannelSpec
from observability.watch.sources.api import AirflowApi

pytestmark = pytest.mark.filterwarnings("ignore")

HOST = "service.example"
ANSWERS = {
    "/": (200, {"version": {"number": "9.4.3"}, "tagline": "You Know, for Search"}),
    "/v2/enqueue": (202, {"status": "success", "dedup_key": "i"}),
    "/hook": (200, b"ok"),
}


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    """A key and the certificate of the service."""
    return certificate(tmp_path_factory.mktemp("tls"), HOST, 1)


@pytest.fixture
def network(identity, monkeypatch):
    """The service and the proxy before it; no other address is reached, and no name of a host outside is known."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(identity))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    look_up = socket.getaddrinfo

    def unknown(host, *rest, **named):
        if host not in {"127.0.0.1", b"127.0.0.1"}:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with Service(identity, ANSWERS) as service:
        proxy = ForwardProxy("ann:p@ss", service.port)
        proxy.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:p%40ss@127.0.0.1:{proxy.port}")
        yield service, proxy
        proxy.close()


def airflow(host):
    assert AirflowApi(f"https://{host}", timeout_s=5)._http.get("/api/v2/version").status_code == 200


def kibana(host):
    Kibana(Credentials(f"https://{host}")).ask("GET", "/api/status")


def apprise(host):
    spec = ChannelSpec.model_validate({"type": "apprise", "url": "variable:x", "timeout": 5})
    open_channel("c", spec, Nobody(f"jsons://{host}/hook"), None).send(MESSAGE, resent=False)


SILENT = "dead man's switch"
"""It counts what fails, and raises nothing."""
CLIENTS = {
    "webhook": (channel("webhook"), "/hook", MESSAGE.title),
    "Slack": (channel("slack"), "/hook", MESSAGE.title),
    "PagerDuty": (channel("pagerduty", "/v2/enqueue"), "", MESSAGE.title),
    "Apprise": (apprise, "/hook", MESSAGE.title),
    SILENT: (heartbeat, "/beat", ""),
    "Airflow": (airflow, "/api/v2/version", ""),
    "Kibana": (kibana, "/api/status", ""),
    "CloudWatch Logs": (aws("logs"), "/", "{"),
    "SNS": (aws("sns"), "/", "Action=ListTopics"),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_what_a_client_sends_arrives_through_the_proxy(name, network):
    call, path, text = CLIENTS[name]
    service, proxy = network
    try:
        call(HOST)
    except Exception as error:
        if name not in {"CloudWatch Logs", "SNS"}:  # the stand-in's answer is none of theirs
            raise AssertionError(proxy.asked, service.requests) from error
    assert set(proxy.asked) == {f"CONNECT {HOST}:443"}
    assert [body for _, where, body in service.requests if (not path or where == path) and text in body]


@pytest.mark.parametrize("name", CLIENTS)
def test_a_login_that_the_proxy_refuses_is_said(name, network, monkeypatch):
    service, proxy = network
    monkeypatch.setenv("HTTPS_PROXY", f"http://ann:other@127.0.0.1:{proxy.port}")
    raised = pytest.raises((WatchError, InstallError, httpx.HTTPError, BotoCoreError))
    with contextlib.nullcontext() if name == SILENT else raised as caught:
        CLIENTS[name][0](HOST)
    error = caught.value if caught else None
    said = f"{error} {error and error.__context__}"
    assert name == SILENT or "407" in said or "proxy" in said.lower(), said
    assert "other" not in said
    assert proxy.refused
    assert not service.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_service_on_this_machine_is_never_asked_through_the_proxy(name, host, network):
    service, proxy = network
    with contextlib.suppress(Exception):
        CLIENTS[name][0](f"{host}:{service.port}")  # its certificate is another host's: it may well be refused
    assert (proxy.asked, proxy.refused) == ([], 0)


@pytest.fixture
def plain_proxy(monkeypatch):
    """A function that starts a proxy for plain HTTP before a port of this machine, and names it to all clients."""
    started = []

    def start(port):
        started.append(ForwardProxy("ann:p@ss", port))
        started[-1].start()
        monkeypatch.setenv("HTTP_PROXY", f"http://ann:p%40ss@127.0.0.1:{started[-1].port}")
        return started[-1]

    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    yield start
    for proxy in started:
        proxy.close()


@pytest.mark.elasticsearch
def test_documents_reach_elasticsearch_through_a_proxy(plain_proxy, elasticsearch_url):
    proxy = plain_proxy(urlsplit(elasticsearch_url).port)
    environment = f"p{uuid.uuid4().hex[:8]}"
    install(Cluster(Credentials("http://search.example:9200")))
    sink = ElasticsearchSink(lambda: Cluster(Credentials("http://search.example:9200")), environment)
    document = b'{"@timestamp":"2026-01-01T00:00:00Z","event.id":"' + b"1" * 32 + b'"}'
    assert sink.send(Batch("etl.event", "j", "journal", [b"1" * 32], [document])) == SendResult(stored=1)
    sink.close()
    assert proxy.asked
    assert all("http://search.example:9200/" in one for one in proxy.asked)
    straight = Cluster(Credentials(elasticsearch_url))
    straight.ask("POST", f"/logs-etl.event-{environment}/_refresh")
    assert straight.ask("GET", f"/logs-etl.event-{environment}/_count")["count"] == 1
    straight.close()


@pytest.mark.aws
def test_records_reach_cloudwatch_through_a_proxy(plain_proxy, aws_environ):
    endpoint = aws_environ["CONTRAIL_CLOUDWATCH__ENDPOINT_URL"]
    proxy = plain_proxy(urlsplit(endpoint).port)
    settings = load_settings(environ=aws_environ | {"CONTRAIL_CLOUDWATCH__ENDPOINT_URL": "http://logs.example:4566"})
    sink = open_sink("cloudwatch", settings)
    now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
    document = orjson.dumps({"@timestamp": now, "event.id": "1" * 32, "event.action": "task.failed"})
    assert sink.send(Batch("etl.event", "j", "journal", [b"1" * 32], [document])) == SendResult(stored=1)
    sink.close()
    assert proxy.asked
    assert all("http://logs.example:4566/" in one for one in proxy.asked)
    store = open_store(load_settings(environ=aws_environ | {"CONTRAIL_STORE__BACKEND": "cloudwatch"}))
    assert [one["event.id"] for one in store.documents(Query("etl.event"))] == ["1" * 32]
    store.close()
