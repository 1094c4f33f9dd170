"""A real relay and a real watcher, each a process: a fault of delivery is one message."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from airflow_platform import clean_environment, wait_until

from observability.credentials import Credentials
from observability.settings import load_settings
from observability.store import open_store
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install
from observability.watch.sources import relays

_RELAY = """
import runpy, socket, sys
from observability.relay.alarms import SinkAlarms
host = sys.argv.pop()
socket.gethostname = lambda: host
SinkAlarms.__init__.__kwdefaults__["patience_s"] = 1.0
runpy.run_module("observability.cli.relay", run_name="__main__")
"""
_WATCH = """
import runpy, sys
from observability.watch.sources import relays
relays._BUCKET_S = 1
silent_s = float(sys.argv.pop())
relays.RelayHosts.__init__.__kwdefaults__ |= {"every_s": 0.2, "silent_s": silent_s, "starts_s": silent_s}
runpy.run_module("observability.cli", run_name="__main__")
"""
_RULES = "channels: {file: {type: file}}\nreceivers: {all: {channels: [file]}}\nroutes: [{receiver: all}]\n"
_WITHIN_S = 90


class Hosts:
    """Processes on hosts with homes of their own, and the embedded store that all of them reach."""

    def __init__(self, folder):
        self.folder, self.running, self.environment = folder, {}, f"t{uuid.uuid4().hex[:10]}"
        (folder / "alerts.yaml").write_text(_RULES)

    def environ(self, host, **more):
        home = self.folder / host
        (home / "logs").mkdir(parents=True, exist_ok=True)
        return clean_environment(
            CONTRAIL_HOME=str(home), CONTRAIL_STORE__PATH=str(self.folder / "store.db"),
            CONTRAIL_CORE__ENVIRONMENT=self.environment, CONTRAIL_RELAY__STATSD_PORT="0",
            CONTRAIL_RELAY__STATSD_INTERVAL_S="0.2", CONTRAIL_RELAY__LOG_FOLDER=str(home / "logs"),
            CONTRAIL_WATCH__RULES_FILE=str(self.folder / "alerts.yaml"), **more,
        )  # fmt: skip

    def relay(self, host, **more):
        self.running[host] = subprocess.Popen([sys.executable, "-c", _RELAY, host], env=self.environ(host, **more))

    def watcher(self, host, silent_s=600, **more):
        """Start a watcher, and return when it is at work."""
        command = [sys.executable, "-c", _WATCH, "watch", "--no-api", str(silent_s)]
        self.watching, self.running["watcher"] = host, subprocess.Popen(command, env=self.environ(host, **more))
        wait_until((self.folder / host / "").exists, within=_WITHIN_S)

    def write(self, host, lines):
        path = self.folder / host / "logs" / "dag_id=d" / "run_id=r" / "task_id=t" / "attempt=1.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(timezone.utc).isoformat()
        with path.open("a") as log:
            for number in range(lines):
                log.write(json.dumps({"timestamp": stamp, "level": "info", "event": f"line {number}"}) + "\n")

    def messages(self):
        path = self.folder / self.watching / "alerts.jsonl"
        told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [(one["kind"], one["incident_key"]) for one in told]

    def wait_for(self, *expected):
        wait_until(lambda: len(self.messages()) >= len(expected), within=_WITHIN_S)
        assert self.messages() == list(expected)

    def close(self):
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@pytest.fixture
def hosts(tmp_path):
    made = Hosts(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("watched_from", ["a-host", "elsewhere"])
def test_a_sink_that_is_away_is_one_message_wherever_the_watcher_is(hosts, watched_from):
    hosts.watcher(watched_from)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        away = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    sinks = {"CONTRAIL_RELAY__SINKS": "elasticsearch,embedded"}
    hosts.relay("a-host", CONTRAIL_ELASTICSEARCH__URL=away, **sinks)
    hosts.write("a-host", 3)
    hosts.wait_for(("opened", "sink:elasticsearch of a-host"))


@pytest.mark.elasticsearch
def test_a_foreign_template_that_makes_dead_letters_is_one_message(hosts, elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    theirs = {
        "index_patterns": [f"logs-airflow.task-{hosts.environment}"],
        "priority": 900,
        "data_stream": {},
        "template": {"mappings": {"properties": {"event": {"type": "ip"}}}},
    }
    name = f"acme-{hosts.environment}"
    cluster.ask("PUT", f"/_index_template/{name}", theirs)
    try:
        hosts.watcher("a-host")
        sinks = {"CONTRAIL_RELAY__SINKS": "elasticsearch,embedded", "CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url}
        hosts.relay("a-host", **sinks)
        hosts.write("a-host", 5)
        dead = "sink:elasticsearch of a-host: dead letters"
        hosts.wait_for(("opened", dead))
        hosts.write("a-host", 300)  # now it is each document of the stream
        status = hosts.folder / "a-host" / "relay.status.json"
        refused = lambda: json.loads(status.read_text())["sinks"]["elasticsearch"]  # noqa: E731
        wait_until(lambda: refused()["dead_letters"] == 305 and refused()["state"] == "refusing", within=_WITHIN_S)
        hosts.write("a-host", 1)
        wait_until(lambda: refused()["dead_letters"] == 306, within=_WITHIN_S)
        hosts.wait_for(("opened", dead))
    finally:
        cluster.ask("DELETE", f"/_index_template/{name}")
        cluster.close()


@pytest.mark.slow  # test_relay_hosts.py is its short form
@pytest.mark.elasticsearch
def test_a_relay_that_stands_still_is_one_message_of_the_watcher_and_one_when_it_goes_on(hosts, elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    cluster.close()
    shared = {
        "CONTRAIL_RELAY__SINKS": "elasticsearch",
        "CONTRAIL_STORE__BACKEND": "elasticsearch",
        "CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url,
    }
    for host in ("a-host", "b-host"):
        hosts.relay(host, **shared)
    store = open_store(load_settings(environ=hosts.environ("elsewhere", **shared)))
    since = datetime.now(timezone.utc) - timedelta(minutes=5)
    wait_until(lambda: len(relays.last_words(store, since, 1)) == 2, within=_WITHIN_S)
    store.close()
    hosts.watcher("elsewhere", silent_s=20, **shared)
    hosts.running["b-host"].send_signal(signal.SIGSTOP)
    silent = "component:relay of b-host"
    hosts.wait_for(("opened", silent))
    hosts.running["b-host"].send_signal(signal.SIGCONT)
    hosts.wait_for(("opened", silent), ("resolved", silent))
