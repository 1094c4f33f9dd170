"""Many clients of /metrics, or slow ones, take neither threads nor descriptors of the process that is scraped."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from contextlib import ExitStack, suppress

import pytest

from observability import bounded_server
from observability.contain import take_losses
from observability.openmetrics import MetricsServer


@pytest.fixture
def server():
    server = MetricsServer(lambda _openmetrics: b"x 1\n", "127.0.0.1", 0)
    yield server
    server.stop()


def scraped(port):
    """The answer to a scrape, asked until there is room for one."""
    ends_at = time.monotonic() + 30
    while time.monotonic() < ends_at:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            return answer.read()
    return b""


def test_clients_that_say_nothing_are_few_at_once_and_let_go_in_the_end(server, monkeypatch):
    monkeypatch.setattr(bounded_server, "LONGEST_S", 0.2)
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            client.sendall(b"G")  # and nothing more, so that a wait for each byte never ends
            assert threading.active_count() - before <= 2 * bounded_server.MOST_CONNECTIONS

        assert scraped(server.port) == b"x 1\n"


def test_an_address_of_ipv6_is_served():
    try:
        server = MetricsServer(lambda _openmetrics: b"x 1\n", "::1", 0)
    except OSError:
        pytest.skip("this host has no IPv6")
    try:
        with urllib.request.urlopen(f"http://[::1]:{server.port}/metrics", timeout=30) as answer:
            assert answer.read() == b"x 1\n"
    finally:
        server.stop()


def test_a_scraper_that_goes_away_is_no_loss(server):
    take_losses()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.port), 10) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")

    assert scraped(server.port) == b"x 1\n"
    assert take_losses() == {}
