"""Every client of ours behind a real proxy: asked by CONNECT with its login, spared where NO_PROXY says so."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading

import pytest
from botocore.config import Config

from observability.credentials import Credentials
from observability.dashboard_installer.kibana import Kibana
from observability.store.aws import aws_client
from observability.store.cluster import Cluster
from observability.watch.heartbeat import Heartbeat
from observability.watch.notify.channels.channel import open_channel
from observability.watch.notify.messages import Message
from observability.watch.rules.config import ChannelSpec, parse_rules
from observability.watch.sources.api import AirflowApi

pytestmark = pytest.mark.filterwarnings("ignore")

VARIABLES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
MESSAGE = Message(kind="opened", severity="error", title="t", summary="s", dedup_key="i:1", incident_id="i")
LOGIN = "Basic " + base64.b64encode(b"ann:p@ss").decode()


class Proxy(threading.Thread):
    """Notes what it is asked for and by whom, and connects to nothing."""

    def __init__(self):
        super().__init__(daemon=True)
        self.asked = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]

    def run(self):
        while True:
            try:
                inner, _ = self._server.accept()
            except OSError:
                return
            with inner:
                head = b""
                while b"\r\n\r\n" not in head and (more := inner.recv(65536)):
                    head += more
                lines = head.decode("latin-1").split("\r\n")
                who = next((line[21:] for line in lines if line.lower().startswith("proxy-authorization: ")), "")
                self.asked.append((lines[0].split(" ")[:2], who))
                inner.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def close(self):
        self._server.close()


@pytest.fixture
def proxy(monkeypatch):
    """A proxy on this machine, and a network in which nothing else answers."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word")
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def nowhere(sock, address):
        if address[0] != "127.0.0.1":
            raise ConnectionRefusedError(111, "nothing is there")
        return connect(sock, address)

    def unknown(host, *rest, **named):
        if host not in {"127.0.0.1", b"127.0.0.1"} and not str(host).startswith("10."):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", nowhere)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    started = Proxy()
    started.start()
    yield started
    started.close()


class Nobody:
    def __init__(self, url=""):
        self._url = url

    def connection(self, conn_id):
        raise LookupError(conn_id)

    def variable(self, _key):
        return self._url


def cluster(host):
    one = Cluster(Credentials(f"https://{host}"), timeout_s=5)
    one.ask("GET", "/")


def airflow(host):
    AirflowApi(f"https://{host}", timeout_s=5)._http.get("/")


def kibana(host):
    Kibana(Credentials(f"https://{host}")).ask("GET", "/api/status")


def aws(service):
    def call(host):
        config = Config(retries={"total_max_attempts": 1}, connect_timeout=5)
        client = aws_client(service, "", config, region="eu-central-1", endpoint_url=f"https://{host}")
        (client.describe_log_groups if service == "logs" else client.list_topics)()

    return call


def channel(kind, path="/hook", **more):
    def call(host):
        spec = {"type": kind, "url": "variable:x", "timeout": 5, "allow": ["10.1.2.3", host.partition(":")[0]], **more}
        if kind == "pagerduty":
            spec["routing_key"] = "variable:x"
        open_channel("c", ChannelSpec.model_validate(spec), Nobody(f"https://{host}{path}"), None).send(
            MESSAGE, resent=False
        )

    return call


def apprise(host):
    spec = ChannelSpec.model_validate({"type": "apprise", "url": "variable:x", "timeout": 5, "allow": ["10.1.2.3"]})
    open_channel("c", spec, Nobody(f"jsons://{host}/hook"), None).send(MESSAGE, resent=False)


def heartbeat(host):
    rules = parse_rules(
        "channels: {a: {type: log}}\nreceivers: {b: {channels: [a]}}\nroutes: [{receiver: b}]\n"
        f"proof: {{heartbeat_url: 'variable:x', heartbeat_allow: ['{host.partition(':')[0]}']}}",
        "x",
    )
    proof = Heartbeat.__new__(Heartbeat)
    proof._contacts, proof._trouble = Nobody(f"https://{host}/beat"), ""
    proof._ping(rules.proof.heartbeat_url, rules.proof.heartbeat_allow)


CLIENTS = {
    "Elasticsearch": cluster,
    "Airflow": airflow,
    "Kibana": kibana,
    "CloudWatch Logs": aws("logs"),
    "SNS": aws("sns"),
    "webhook": channel("webhook"),
    "Slack": channel("slack"),
    "PagerDuty": channel("pagerduty"),
    "Apprise": apprise,
    "dead man's switch": heartbeat,
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_asks_the_proxy_that_is_named_and_spares_what_it_is_to_spare(name, proxy, monkeypatch):
    call, found = CLIENTS[name], {}
    for variable in VARIABLES:
        found[variable] = asked(
            proxy, call, monkeypatch, "service.example", {variable: f"http://ann:p%40ss@127.0.0.1:{proxy.port}"}
        )
    assert found == {variable: [(["CONNECT", "service.example:443"], LOGIN)] for variable in VARIABLES}

    for host, spared in (
        ("service.example", "service.example"),
        ("service.example", ".example"),
        ("service.example", "other, example"),
        ("service.example", "*"),
        ("service.example", "service.example:443"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", "10.0.0.0/8"),
    ):
        if name == "Apprise" and spared == "service.example:443":
            continue  # requests, which it sends with, wants the port in the address as well
        for no_proxy in ("NO_PROXY", "no_proxy") if spared == host else ("no_proxy",):
            given = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", no_proxy: spared}
            found[host, spared, no_proxy] = asked(proxy, call, monkeypatch, host, given)
    assert {key: value for key, value in found.items() if isinstance(key, tuple) and value} == {}

    for host, spared in (
        ("service.example", "vice.example"),
        ("service.example", "service.example:8443"),
        ("10.1.2.3", "11.0.0.0/8"),
    ):
        given = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}", "NO_PROXY": spared}
        assert [one[0] for one in asked(proxy, call, monkeypatch, host, given)] == [["CONNECT", f"{host}:443"]], spared


def asked(proxy, call, monkeypatch, host, variables):
    """The requests to the proxy while ``call`` tried to reach ``host``."""
    proxy.asked.clear()
    with monkeypatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with contextlib.suppress(Exception):
            call(host)
    for left in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(left, raising=False)
    return proxy.asked[:1]
