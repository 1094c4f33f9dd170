"""The connection to a cluster: what it sends to prove who it is, and whom it refuses to talk to."""

from __future__ import annotations

import base64
import gzip
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import make_certificate
from fault_proxy import FaultProxy

from observability.credentials import Credentials
from observability.store.cluster import Cluster, ClusterError, ClusterUnreachable


class Service:
    """An HTTPS server with a certificate for ``host``; it keeps what it was sent."""

    def __init__(self, folder, host="localhost", days=1, status=200):
        self.requests = []
        key, certificate = make_certificate(host, days)
        self.authority = folder / f"{host}{days}.pem"
        self.authority.write_bytes(certificate + key)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # a body would wait 40 ms for the acknowledgement of its headers

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                service.requests.append((dict(self.headers), body))
                reply = b'{"error":{"type":"x","reason":"outer","caused_by":{"reason":"inner"}}}'
                self.send_response(status)
                self.send_header("content-length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *_): ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                """A client that refuses us is part of the test."""

        self._server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.authority)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"https://localhost:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(tmp_path):
    services = []

    def start(**named):
        services.append(Service(tmp_path, **named))
        return services[-1]

    yield start
    for service in services:
        service.close()


def headers(service, cluster, **named):
    cluster.send("POST", "/_bulk", b"{}", **named)
    cluster.close()
    return {name.lower(): value for name, value in service.requests[-1][0].items()}


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({"extra": {"api_key": "abc=="}}, "ApiKey abc=="),
        ({"extra": {"api_key": ["id", "key"]}}, "ApiKey " + base64.b64encode(b"id:key").decode()),
        ({"login": "me", "password": "pass"}, "Basic " + base64.b64encode(b"me:pass").decode()),
    ],
)
def test_an_api_key_or_a_password_goes_out_over_a_verified_connection(serve, credentials, expected):
    service = serve()
    extra = credentials.pop("extra", {}) | {"ca_certs": str(service.authority)}

    sent = headers(service, Cluster(Credentials(url=service.url, extra=extra, **credentials)))

    assert sent["authorization"] == expected


@pytest.mark.parametrize(
    "named", [{}, {"host": "elsewhere"}, {"days": -1}], ids=["unknown authority", "wrong host", "expired"]
)
def test_a_certificate_that_cannot_be_trusted_is_refused(serve, named):
    service = serve(**named)
    extra = {"api_key": "abc"} | ({"ca_certs": str(service.authority)} if named else {})
    cluster = Cluster(Credentials(url=service.url, extra=extra))

    with pytest.raises(ClusterUnreachable, match=r"certificate|hostname"):
        cluster.send("GET", "/")
    assert service.requests == []
    cluster.close()


def test_an_older_server_is_spoken_to_in_its_own_version(serve):
    service = serve()
    credentials = Credentials(url=service.url, extra={"ca_certs": str(service.authority)})

    sent = headers(service, Cluster(credentials, compat_with=8), media="x-ndjson")

    assert sent["content-type"] == "application/vnd.elasticsearch+x-ndjson; compatible-with=8"
    assert sent["accept"] == "application/vnd.elasticsearch+json; compatible-with=8"


def test_what_is_sent_can_be_compressed(serve):
    service = serve()
    credentials = Credentials(url=service.url, extra={"ca_certs": str(service.authority)})
    cluster = Cluster(credentials, compress=True)

    cluster.send("POST", "/_bulk", b"x" * 1000)
    cluster.close()

    assert gzip.decompress(service.requests[-1][1]) == b"x" * 1000


def test_an_error_tells_its_innermost_reason(serve):
    service = serve(status=400)
    cluster = Cluster(Credentials(url=service.url, extra={"ca_certs": str(service.authority)}))

    with pytest.raises(ClusterError, match="answered 400 x: outer: inner"):
        cluster.ask("GET", "/_anything")
    cluster.close()


def test_a_password_is_not_in_the_repr():
    assert "secret" not in repr(Credentials("http://x", "me", "secret", {"api_key": "secret"}))


@pytest.mark.elasticsearch
def test_a_real_server_understands_the_older_version(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url), compat_with=8)

    assert cluster.ask("GET", "/")["tagline"] == "You Know, for Search"
    cluster.close()


class ForwardProxy(FaultProxy):
    """A proxy that answers for any address, and remembers which."""

    def __init__(self):
        super().__init__("http://unused", ())
        self.asked = []

    def serve(self, request):
        self.asked.append((request.path, request.headers.get("proxy-authorization")))
        body = b'{"through":"the proxy"}'
        request.send_response(200)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


def test_a_cluster_elsewhere_is_asked_through_the_proxy_and_one_on_this_machine_never(monkeypatch):
    with ForwardProxy() as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url.replace("http://", "http://ann:p%40ss@"))
        monkeypatch.setenv("no_proxy", "es.inside")
        outside = Cluster(Credentials(url="http://es.example:9200/below"))
        assert outside.ask("GET", "/_license?x=1") == {"through": "the proxy"}
        outside.close()
        assert proxy.asked == [("http://es.example:9200/below/_license?x=1", "Basic YW5uOnBAc3M=")]
        for url in ("http://127.0.0.1:9", "http://localhost:9", "http://es.inside:9"):
            with pytest.raises(ClusterUnreachable):
                Cluster(Credentials(url=url), timeout_s=1).ask("GET", "/")
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("proxy", ["socks5://proxy.corp:1080", "socks5h://proxy.corp:1080", "SOCKS4://proxy.corp"])
def test_a_socks_proxy_is_refused_with_the_remedy(monkeypatch, proxy):
    for name in ("https_proxy", "http_proxy", "no_proxy", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(ClusterUnreachable, match="name one by HTTPS_PROXY, or spare the host by NO_PROXY"):
        Cluster(Credentials(url="https://es.example:9200"))
    Cluster(Credentials(url="https://127.0.0.1:9200")).close()
