"""The dead man's switch: called while the loop is well, silent when it is not, and no way in for anybody."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import structlog
from watch_office import RULES

from benchmarks.watched import Watched, failure
from observability import redact
from observability.watch.heartbeat import Heartbeat
from observability.watch.notify.messages import Links
from observability.watch.notify.notifier import Notifier
from observability.watch.rules.config import parse_rules


class Switch:
    """A server that is called; ``status`` is its answer, ``gate`` holds each answer until it is set."""

    def __init__(self):
        self.paths, self.status, self.gate = [], 200, threading.Event()
        self.gate.set()
        self._called = threading.Condition()
        switch = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with switch._called:
                    switch.paths.append(self.path)
                    switch._called.notify_all()
                switch.gate.wait(20)
                self.send_response(switch.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/ping/s3cret-token-of-mine"

    def wait_for(self, number, within=20.0):
        with self._called:
            assert self._called.wait_for(lambda: len(self.paths) >= number, within), f"called {len(self.paths)} times"

    def close(self):
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def switch(monkeypatch):
    made = Switch()
    monkeypatch.setenv("SWITCH", made.url)
    yield made
    made.close()


@pytest.fixture
def said():
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))  # whatever an earlier test has chosen
    with structlog.testing.capture_logs() as lines:
        yield lines
    structlog.configure(**before)


def notifier(every="0s", allow="[127.0.0.1]", where="env:SWITCH"):
    proof = (
        f"proof: {{canary_every: 0, heartbeat_url: '{where}', heartbeat_every: {every}, heartbeat_allow: {allow}}}\n"
    )
    return Notifier(parse_rules(RULES + proof, "rules"), Links(), "test")


class Nobody:
    """There are no connections and no variables."""

    def connection(self, conn_id):
        raise LookupError(conn_id)

    def variable(self, key):
        raise LookupError(key)


@pytest.fixture
def heartbeat(tmp_path, ledger):
    made = Heartbeat(tmp_path, Nobody())

    def round_(who):
        with ledger.transaction() as connection:
            began = time.monotonic()
            assert made.round(connection, who.rules, time.time(), pytest.fail) == []
        return time.monotonic() - began

    made.go = round_
    yield made
    made.close()


def test_it_is_called_each_time_it_is_due_and_not_before(heartbeat, switch):
    heartbeat.go(notifier(every="1h"))
    heartbeat.close()
    heartbeat.go(notifier(every="1h"))
    heartbeat.close()
    assert switch.paths == ["/ping/s3cret-token-of-mine"]
    heartbeat.go(notifier(every="0s"))
    heartbeat.close()
    assert len(switch.paths) == 2


def test_a_switch_that_hangs_holds_up_no_round_and_is_called_once(heartbeat, switch):
    switch.gate.clear()
    heartbeat.go(notifier())
    switch.wait_for(1)
    for _ in range(5):
        assert heartbeat.go(notifier()) < 5
    switch.gate.set()
    for thread in [one for one in threading.enumerate() if one.name == "heartbeat"]:
        thread.join()
    assert len(switch.paths) == 1


def test_a_switch_that_fails_is_called_on_and_said_once_until_it_is_well_again(heartbeat, switch, said):
    switch.status = 500
    for _ in range(3):
        heartbeat.go(notifier())
        heartbeat.close()
    switch.status = 200
    for _ in range(2):
        heartbeat.go(notifier())
        heartbeat.close()
    assert len(switch.paths) == 5
    assert [line["event"] for line in said] == [
        "the dead man's switch is not reached",
        "the dead man's switch is reached again",
    ]
    assert said[0]["reason"] == "ChannelUnavailable: 127.0.0.1 answered 500"


@pytest.mark.parametrize(
    ("url", "allow"),
    [
        (None, "[]"),
        ("https://169.254.169.254/latest/meta-data/", "[127.0.0.1]"),
        ("http://user:secret@127.0.0.1/", "[127.0.0.1]"),
        ("file:///etc/passwd", "[127.0.0.1]"),
    ],
)
def test_it_is_no_way_to_private_addresses(  # noqa: PLR0913, PLR0917 - fixtures
    heartbeat, switch, said, monkeypatch, url, allow
):
    if url is not None:
        monkeypatch.setenv("SWITCH", url)
    heartbeat.go(notifier(allow=allow))
    heartbeat.close()
    assert switch.paths == []
    assert [line["reason"].partition(":")[0] for line in said] == ["ChannelRefused"]


def test_an_address_that_is_not_known_yet_is_asked_for_again(heartbeat, switch, said):
    heartbeat.go(notifier(where="variable:switch"))
    heartbeat.close()
    assert said[0]["reason"].startswith("ChannelUnavailable: variable:switch")


PROOF = "proof: {canary_every: 0, heartbeat_url: 'env:SWITCH', heartbeat_every: 1s, heartbeat_allow: [127.0.0.1]}\n"


@contextmanager
def watching(home):
    """A watcher of its own process that calls the switch each second."""
    watched = Watched(home)
    with (home / "alerts.yaml").open("a") as rules:
        rules.write(PROOF)
    watched.start()
    try:
        watched.wait_until_watching()
        yield watched
    finally:
        watched.stop()


def test_a_watcher_calls_it_while_all_is_well_and_not_while_its_ledger_is_away(tmp_path, switch):
    with watching(tmp_path / "home") as watched:
        switch.wait_for(3)
        lock = sqlite3.connect(watched.home / "ledger.db", isolation_level=None, timeout=30)
        lock.execute("BEGIN IMMEDIATE")
        time.sleep(0.5)  # a call that is under way may still arrive
        before = len(switch.paths)
        time.sleep(3)  # three calls would have come
        assert len(switch.paths) == before
        lock.execute("ROLLBACK")
        lock.close()
        switch.wait_for(before + 2)


def test_its_address_stands_in_no_log_and_no_file(tmp_path, switch):
    redact.add_secret("unrelated")
    switch.status = 404
    with watching(tmp_path / "home") as watched:
        switch.wait_for(2)
        watched.report(failure("load", "r1"))
        assert watched.wait_for(1, 20)
        home = watched.home
    kept = [path for path in home.rglob("*") if path.is_file()]
    assert b"the dead man's switch is not reached" in (home / "watcher.log").read_bytes()
    assert [path.name for path in kept if b"s3cret-token-of-mine" in path.read_bytes()] == []
