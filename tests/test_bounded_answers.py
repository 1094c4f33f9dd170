"""Answers that are longer than anybody asked for, or packed from far more: memory is bounded, no reader is held."""

from __future__ import annotations

import gzip
import os
import threading
import tracemalloc

import httpx
import pytest
from local_server import LocalServer

from observability.credentials import Credentials
from observability.dashboard_installer import kibana
from observability.dashboard_installer.kibana import InstallError, Kibana
from observability.errors import ApiUnavailable, ChannelRefused, PlatformError, SinkUnavailable
from observability.http_client import whole_answer
from observability.local.api import Api, monitor_health
from observability.relay.otlp.destination import Destination
from observability.relay.otlp.receiver import Receiver, Refused
from observability.store import cluster
from observability.store.cluster import AnswerTooLarge, Cluster
from observability.watch.notify.channels.guarded_client import guarded_client
from observability.watch.notify.channels.webhook import post
from observability.watch.sources import api
from observability.watch.sources.api import AirflowApi

PACKED = gzip.compress(b" " * 64_000_000, 6)
MOST = 8_000_000
"""Bytes that a reader may take at its peak: its own bound is 1 MiB here."""


class Flood(LocalServer):
    """Answers with 64 MB, packed to 64 kB or as they are."""

    def __init__(self, status, *, packed):
        self._status, self._packed, self.requests = status, packed, 0

    def serve(self, request):
        request.rfile.read(int(request.headers.get("content-length") or 0))
        self.requests += 1
        request.send_response(self._status)
        request.send_header("content-type", "application/json")
        if self._packed:
            request.send_header("content-encoding", "gzip")
        request.send_header("content-length", str(len(PACKED) if self._packed else 64_000_000))
        request.end_headers()
        request.close_connection = True
        for _ in range(1 if self._packed else 64):
            request.wfile.write(PACKED if self._packed else b" " * 1_000_000)


def of_airflow(url, ask, **environ):
    os.environ.update(environ)
    asked = AirflowApi(url)
    try:
        with pytest.raises(ApiUnavailable, match="longer than 1 MiB"):
            ask(asked)
    finally:
        asked.close()


def of_elasticsearch(url):
    asked = Cluster(Credentials(url=url))
    for _ in range(5):  # more than there are connections
        with pytest.raises(AnswerTooLarge):
            asked.ask("GET", "/")
    asked.close()


def of_receiver(url):
    asked = Receiver(Destination(url, Credentials(url=url), False, 10.0))
    for _ in range(3):
        with pytest.raises(SinkUnavailable):
            asked.send(b"x")
    asked.close()


def of_channel(url):
    client = guarded_client(["127.0.0.1"], 10.0)
    with pytest.raises(ChannelRefused, match="answered 400"):
        post(client, httpx.URL(url), b"{}", {}, "hook")
    client.close()


def of_kibana(url):
    asked = Kibana(Credentials(url=url))
    for _ in range(3):
        with pytest.raises(InstallError, match="longer than 1 MiB"):
            asked.request("GET", "/api/status")
    asked.close()


def of_contrail_status(url):
    with pytest.raises(PlatformError, match="longer than 1 MiB"):
        monitor_health(url)
    with Api(url, "p") as asked, pytest.raises(PlatformError, match="longer than 1 MiB"):
        asked.call("GET", "/dags")


READERS = {
    "kibana": (200, of_kibana),
    "contrail status": (200, of_contrail_status),
    "elasticsearch": (200, of_elasticsearch),
    "otlp": (200, of_receiver),
    "a channel": (400, of_channel),
    "airflow": (200, lambda url: of_airflow(url, lambda one: one.once("/dags"), CONTRAIL_API_TOKEN="t" * 20)),
    "airflow's change": (
        200, lambda url: of_airflow(url, lambda one: one.change("POST", "/dags", {}), CONTRAIL_API_TOKEN="t" * 20),
    ),
    "airflow's login": (
        200, lambda url: of_airflow(
            url, lambda one: one.once("/dags"), CONTRAIL_API_USERNAME="u", CONTRAIL_API_PASSWORD="p-of-somebody",
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "as it is"])
@pytest.mark.parametrize("reader", READERS)
def test_an_answer_of_any_length_takes_a_bounded_memory(reader, packed, monkeypatch):
    for name in ("CONTRAIL_API_TOKEN", "CONTRAIL_API_USERNAME", "CONTRAIL_API_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # and so taken back at the end
    monkeypatch.setattr(cluster, "_MOST_ANSWER", 1 << 20)
    monkeypatch.setattr(api, "_MOST_BYTES", 1 << 20)
    monkeypatch.setattr(kibana, "_MOST_BYTES", 1 << 20)
    monkeypatch.setitem(whole_answer.__kwdefaults__, "most_bytes", 1 << 20)
    status, read = READERS[reader]
    with Flood(status, packed=packed) as server:
        tracemalloc.start()
        try:
            read(server.url)
            assert tracemalloc.get_traced_memory()[1] < MOST
        finally:
            tracemalloc.stop()


def test_a_receiver_that_refuses_at_length_is_asked_again():
    answers = []
    with Flood(400, packed=False) as server:
        asked = Receiver(Destination(server.url, Credentials(url=server.url), False, 10.0))
        thread = threading.Thread(target=lambda: answers.extend(asked.send(b"x") for _ in range(3)), daemon=True)
        thread.start()
        thread.join(30)
        asked.close()

    assert [type(one) for one in answers] == [Refused] * 3
