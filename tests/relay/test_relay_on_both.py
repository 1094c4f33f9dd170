"""One relay with three sinks at once, a real Elasticsearch among them, while one is ill and the relay is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from datetime import datetime, timedelta, timezone
from itertools import cycle

import orjson
import pytest
from fault_proxy import FaultProxy
from relay_lines import stored as stored_in_embedded

from observability.credentials import Credentials
from observability.settings import load_settings
from observability.store.aws import group_name, logs_client, stream_name
from observability.store.cluster import Cluster, ClusterError
from observability.store.elasticsearch_setup import install

pytestmark = pytest.mark.elasticsearch

_RELAY = """
import sys
from observability.relay.relay import Relay
from observability.settings import load_settings
sys.exit(not Relay(load_settings(), statsd=False).run(once=sys.argv[1] == "once", patience_s=120))
"""
NAMES = [f"dag_id=d/run_id=r/task_id=t{number}/attempt=1.log" for number in range(3)]
START = datetime.now(timezone.utc) - timedelta(hours=1)


def wait_until(true, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Deployment:
    """The settings of a relay on all three sinks, and what each store holds."""

    def __init__(self, folder, elasticsearch, moto_url, proxies):
        self.logs, self.home = folder / "logs", folder / "home"
        self.environ = {
            "CONTRAIL_CORE__ENVIRONMENT": f"b{uuid.uuid4().hex[:10]}",
            "CONTRAIL_CORE__HOME": str(self.home),
            "CONTRAIL_RELAY__LOG_FOLDER": str(self.logs),
            "CONTRAIL_RELAY__SINKS": "elasticsearch,cloudwatch,embedded",
            "CONTRAIL_RELAY__BATCH_BYTES": "65536",
            "CONTRAIL_ELASTICSEARCH__URL": proxies["elasticsearch"],
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": proxies["cloudwatch"],
        }
        self.settings = load_settings(environ=self.environ | {"CONTRAIL_CLOUDWATCH__ENDPOINT_URL": moto_url})
        self._cluster = elasticsearch
        self._logs = logs_client(self.settings)

    def close(self):
        self._logs.close()

    def write(self, start, stop):
        for name in NAMES:
            path = self.logs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as log:
                for number in range(start, stop):
                    stamp = (START + timedelta(milliseconds=number)).isoformat(timespec="microseconds")
                    record = {"timestamp": stamp.replace("+00:00", "Z"), "level": "info", "event": "line", "n": number}
                    log.write(orjson.dumps(record) + b"\n")

    def start(self, how):
        return subprocess.Popen([sys.executable, "-c", _RELAY, how], env={**os.environ, **self.environ})

    def held(self, sink):
        """The numbers of the lines of each file, as a reader of that store gets them."""
        return getattr(self, f"_{sink}")()

    def _elasticsearch(self):
        stream = f"logs-airflow.task-{self.settings.core.environment}"
        self._cluster.send("POST", f"/{stream}/_refresh?ignore_unavailable=true")
        held, after = {name: [] for name in NAMES}, None
        while True:
            body = {"size": 5000, "_source": ["log.file.path", "n"], "sort": ["log.file.path", "offset", "_doc"]}
            path = f"/{stream}/_search?ignore_unavailable=true"
            try:
                found = self._cluster.ask("POST", path, body | ({"search_after": after} if after else {}))
            except ClusterError as error:
                if error.status != 503:  # a stream of which no shard has started yet
                    raise
                return held
            hits = found["hits"]["hits"]
            if not hits:
                return held
            for hit in hits:
                held[hit["_source"]["log.file.path"]].append(hit["_source"]["n"])
            after = hits[-1]["sort"]

    def _cloudwatch(self):
        group, held = group_name(self.settings, "airflow.task"), {name: [] for name in NAMES}
        for name in NAMES:
            token = {}
            while True:
                try:
                    page = self._logs.get_log_events(
                        logGroupName=group, logStreamName=stream_name(name, name), startFromHead=True, **token
                    )
                except self._logs.exceptions.ResourceNotFoundException:
                    break
                held[name] += [orjson.loads(event["message"])["n"] for event in page["events"]]
                if page["nextForwardToken"] == token.get("nextToken"):
                    break
                token = {"nextToken": page["nextForwardToken"]}
        return held

    def _embedded(self):
        held = {name: [] for name in NAMES}
        offsets = {}
        for name in NAMES:
            content = (self.logs / name).read_bytes()
            at = 0
            for number, line in enumerate(content.split(b"\n")[:-1]):
                offsets[name, at] = number
                at += len(line) + 1
        with contextlib.suppress(sqlite3.OperationalError):  # not made yet
            for name, offset in stored_in_embedded(self.settings.store_path):
                held[name].append(offsets[name, offset])
        return held


@pytest.fixture
def deploy(elasticsearch_url, moto_url, tmp_path, monkeypatch):
    """Makes a deployment in which each request to ``sick`` meets the next of ``faults`` until ``well`` is set."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    proxies, made = [], []

    def make(sick, faults, well):
        script = cycle(faults)
        upstreams = {"elasticsearch": elasticsearch_url, "cloudwatch": moto_url}
        proxy = FaultProxy(
            upstreams[sick],
            (None if well.is_set() else next(script) for _ in iter(int, 1)),
            harms=lambda request: request.command == "POST" and "_search" not in request.path,
        )
        proxies.append(proxy)
        proxy.__enter__()
        made.append(Deployment(tmp_path, cluster, moto_url, {**upstreams, sick: proxy.url}))
        return made[0], proxy

    yield make
    for proxy in proxies:
        proxy.__exit__()
    for deployment in made:
        deployment.close()
    cluster.close()


@pytest.mark.parametrize(
    ("sick", "faults"),
    [
        ("elasticsearch", ["whole 502", "reset before"]),
        ("cloudwatch", ["whole 502", "reset before"]),
        pytest.param("elasticsearch", ["stall", "reset after"], marks=pytest.mark.slow),
        pytest.param("cloudwatch", ["stall", "reset after"], marks=pytest.mark.slow),
    ],
)
def test_a_sick_sink_delays_no_other_and_each_holds_every_line_once_in_order(deploy, sick, faults):
    well = threading.Event()
    deployment, proxy = deploy(sick, faults, well)
    others = {"elasticsearch", "cloudwatch", "embedded"} - {sick}

    deployment.write(0, 1000)
    relay = deployment.start("on")
    try:
        for stop in (1000, 2000):
            if stop == 2000:
                os.kill(relay.pid, signal.SIGKILL)
                relay.wait()
                deployment.write(1000, 2000)
                relay = deployment.start("on")
            expected = {name: list(range(stop)) for name in NAMES}
            for sink in others:
                wait_until(lambda sink=sink, expected=expected: deployment.held(sink) == expected)
            wait_until(lambda: proxy.seen.total() > 2)
            if "stall" not in faults:
                assert deployment.held(sick) == {name: [] for name in NAMES}
        deployment.write(2000, 2500)
        well.set()
        time_to_kill = proxy.seen["passed"]
        wait_until(lambda: proxy.seen["passed"] > time_to_kill)
        os.kill(relay.pid, signal.SIGKILL)
    finally:
        relay.kill()
        relay.wait()
    once = deployment.start("once")
    assert once.wait(180) == 0

    for sink in (sick, *others):
        assert deployment.held(sink) == {name: list(range(2500)) for name in NAMES}, sink
