"""A relay that stands still, is killed or is told to end, seen by what arrives of it in the store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow_platform import clean_environment, wait_until

from observability.settings import load_settings
from observability.store import open_store
from observability.watch.facts import observed
from observability.watch.sources import relays
from observability.watch.sources.relays import EVERY_HOST, RelayHosts

_AS_HOST = """
import runpy, socket, sys, time
ahead, host = float(sys.argv.pop()), sys.argv.pop()
now = time.time
time.time = lambda: now() + ahead
socket.gethostname = lambda: host
runpy.run_module("observability.cli.relay", run_name="__main__")
"""


class Hosts:
    """Real relays, each with a host's name and a home of its own, and one store that they share."""

    def __init__(self, folder):
        self.folder, self.store_path, self.running = folder, folder / "store.db", {}
        self.store = None

    def start(self, host, ahead_s=0):
        home = self.folder / host
        (home / "logs").mkdir(parents=True, exist_ok=True)
        environ = clean_environment(
            CONTRAIL_HOME=str(home), CONTRAIL_STORE__PATH=str(self.store_path), CONTRAIL_RELAY__STATSD_PORT="0",
            CONTRAIL_RELAY__STATSD_INTERVAL_S="0.2", CONTRAIL_RELAY__LOG_FOLDER=str(home / "logs"),
        )  # fmt: skip
        self.running[host] = subprocess.Popen([sys.executable, "-c", _AS_HOST, host, str(ahead_s)], env=environ)

    def send(self, host, number):
        os.kill(self.running[host].pid, number)

    def heard(self, *hosts):
        """Wait until each of these has said something."""
        wait_until(self.store_path.exists, within=60)
        if self.store is None:
            self.store = open_store(load_settings(environ={"CONTRAIL_STORE__PATH": str(self.store_path)}))
        since = datetime.now(timezone.utc) - timedelta(minutes=5)
        wait_until(lambda: set(hosts) <= set(relays.last_words(self.store, since, 1)), within=60)

    def close(self):
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        if self.store is not None:
            self.store.close()


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    monkeypatch.setattr(relays, "_BUCKET_S", 1)
    made = Hosts(tmp_path)
    yield made
    made.close()


def knows(judge, store, known, *hosts):
    """Look until each of these has said something since the first look: what stood there may be of an earlier life."""
    first = None

    def look():
        nonlocal first
        assert judge.look(store, known) == []
        first = first or dict(known["hosts"])
        return all(known["hosts"].get(host, 0.0) > first.get(host, 0.0) for host in hosts)

    wait_until(look, within=60)


def look_until(judge, store, known, *expected):
    """The facts of looks, until those that are expected have come."""
    found = []

    def look():
        found.extend((fact.status, fact.subject) for fact in judge.look(store, known))
        return len(found) >= len(expected)

    wait_until(look, within=60)
    assert found == list(expected)


def test_a_relay_that_is_held_is_silent_until_it_goes_on_and_one_that_was_told_to_end_is_not(hosts):
    for host in ("one", "two", "three"):
        hosts.start(host)
    hosts.heard("one", "two", "three")
    judge, known = RelayHosts(every_s=0, silent_s=5), {}
    knows(judge, hosts.store, known, "one", "two", "three")
    hosts.send("one", signal.SIGSTOP)
    hosts.send("three", signal.SIGTERM)
    assert hosts.running["three"].wait(30) == 0
    look_until(judge, hosts.store, known, ("firing", "relay of one"))
    assert judge.look(hosts.store, known) == []  # once
    hosts.send("one", signal.SIGCONT)
    look_until(judge, hosts.store, known, ("resolved", "relay of one"))
    assert sorted(known["hosts"]) == ["one", "two"]


def test_a_host_whose_clock_is_put_back_is_not_silent(hosts):
    for host, ahead_s in (("one", 100), ("two", 0)):
        hosts.start(host, ahead_s)
    hosts.heard("one", "two")
    judge, known = RelayHosts(every_s=0, silent_s=2), {}
    knows(judge, hosts.store, known, "one", "two")
    newest = known["hosts"]["one"]
    assert newest > time.time() + 60
    hosts.send("one", signal.SIGKILL)
    hosts.running["one"].wait(30)
    hosts.start("one")
    began = time.monotonic()

    def is_known_to_be_there():
        judge.look(hosts.store, known)
        return time.monotonic() - began > 4 and known["silent"] == []  # longer than silence takes

    wait_until(is_known_to_be_there, within=50)
    assert newest > time.time()  # nothing that it says now is newer than what it said before


def test_a_host_whose_clock_is_wrong_by_hours_is_known_and_its_silence_is_a_finding(hosts):
    for host, ahead_s in (("one", -3_600), ("two", 0), ("three", 7_200)):
        hosts.start(host, ahead_s)
    hosts.heard("two")
    judge, known = RelayHosts(every_s=0, silent_s=3, far_every_s=0.5), {}

    def knows_all():
        assert judge.look(hosts.store, known) == []
        return set(known["hosts"]) == {"one", "two", "three"}

    wait_until(knows_all, within=60)
    hosts.send("one", signal.SIGSTOP)
    look_until(judge, hosts.store, known, ("firing", "relay of one"))
    hosts.send("one", signal.SIGCONT)
    look_until(judge, hosts.store, known, ("resolved", "relay of one"))


def test_hosts_that_fall_silent_together_are_one_finding_which_a_new_watcher_remembers(hosts, monkeypatch):
    passed, monotonic = 0.0, time.monotonic
    monkeypatch.setattr(relays, "time", SimpleNamespace(time=time.time, monotonic=lambda: monotonic() + passed))
    for host in ("one", "two"):
        hosts.start(host)
    hosts.heard("one", "two")
    judge, known = RelayHosts(every_s=0, silent_s=3), {}
    knows(judge, hosts.store, known, "one", "two")
    for host in ("one", "two"):
        hosts.send(host, signal.SIGKILL)
        hosts.running[host].wait(30)
    assert judge.look(hosts.store, known) == []  # their last words
    passed += 4
    look_until(judge, hosts.store, known, ("firing", f"relay of {EVERY_HOST}"))
    heir = RelayHosts(every_s=0, silent_s=3)
    assert [heir.look(hosts.store, known) for _ in range(5)] == [[]] * 5  # nothing came, so nothing is back
    hosts.start("one")
    look_until(heir, hosts.store, known, ("firing", "relay of two"), ("resolved", f"relay of {EVERY_HOST}"))


def test_relays_of_an_earlier_life_have_time_to_start(hosts):
    hosts.start("one")
    hosts.heard("one")
    knows(RelayHosts(every_s=0), hosts.store, known := {}, "one")
    hosts.send("one", signal.SIGKILL)
    hosts.running["one"].wait(30)
    heir, began = RelayHosts(every_s=0, silent_s=0.5, starts_s=2), time.monotonic()
    look_until(heir, hosts.store, known, ("firing", "relay of one"))
    assert time.monotonic() - began >= 2  # not what it takes for one that was heard
    hosts.start("one")
    look_until(heir, hosts.store, known, ("resolved", "relay of one"))


def test_a_silent_relay_is_an_incident_of_its_host(office):
    from observability.events import ComponentRecovered, ComponentSilent, Identity

    for host in ("one", "two"):
        silent = ComponentSilent(identity=Identity(component="relay"), hostname=host, reason="nothing has arrived")
        office.see(observed(silent, time=office.now, certainty=3))
    office.pass_time(5)
    back = ComponentRecovered(identity=Identity(component="relay"), hostname="one", reason="it is back")
    office.see(observed(back, time=office.now))
    assert sorted((one.subject, one.state) for one in office.incidents()) == [
        ("relay of one", "resolved"),
        ("relay of two", "open"),
    ]
