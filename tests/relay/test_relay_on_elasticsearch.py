"""The whole way from log files through a relay that is killed, over a harmful network, into a real Elasticsearch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone

import orjson
import pytest
from fault_proxy import FAULTS, FaultProxy

from observability.credentials import Credentials
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install

pytestmark = pytest.mark.elasticsearch

_BEGAN = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
_RELAY = """
import sys
from observability.relay.relay import Relay
from observability.settings import load_settings
sys.exit(not Relay(load_settings(), statsd=False).run(once=sys.argv[1] == "once", patience_s=120))
"""


@pytest.fixture
def cluster(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    yield cluster
    cluster.close()


def write(path, start, stop):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as log:
        for number in range(start, stop):
            stamp = (_BEGAN + timedelta(seconds=number)).isoformat(timespec="microseconds").replace("+00:00", "Z")
            log.write(
                orjson.dumps({"timestamp": stamp, "level": "info", "event": f"line {number}", "n": number}) + b"\n"
            )


def stored(cluster, environment):
    """(file, number of the line) of every document, file by file in the order of ``offset``."""
    stream = f"logs-airflow.task-{environment}"
    cluster.send("POST", f"/{stream}/_refresh")
    found, after = [], None
    while True:
        body = {"size": 5000, "_source": ["log.file.path", "n"], "sort": ["log.file.path", "offset", "_doc"]}
        hits = cluster.ask("POST", f"/{stream}/_search", body | ({"search_after": after} if after else {}))["hits"][
            "hits"
        ]
        if not hits:
            return found
        found += [(hit["_source"]["log.file.path"], hit["_source"]["n"]) for hit in hits]
        after = hits[-1]["sort"]


@pytest.mark.parametrize(
    ("seed", "kills", "lines"), [(1, 3, 6000), pytest.param(2, 20, 100_000, marks=pytest.mark.slow)]
)
def test_killed_relays_and_a_harmful_network_lose_double_and_disorder_nothing(seed, kills, lines, cluster, tmp_path):
    chance = random.Random(seed)
    environment = f"k{uuid.uuid4().hex[:10]}"
    names = [f"dag_id=d/run_id=r/task_id=t{number}/attempt=1.log" for number in range(3)]
    harms = [fault for fault in FAULTS if fault != "stall"]
    faults = (chance.choice(harms) if chance.random() < 0.2 else None for _ in iter(int, 1))
    with FaultProxy(cluster.url, faults, choose=lambda _: chance.random() < 0.3) as proxy:
        env = {
            **os.environ,
            "CONTRAIL_HOME": str(tmp_path / "home"),
            "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path / "logs"),
            "CONTRAIL_RELAY__SINKS": "elasticsearch",
            "CONTRAIL_RELAY__BATCH_BYTES": "65536",
            "CONTRAIL_ELASTICSEARCH__URL": proxy.url,
            "CONTRAIL_CORE__ENVIRONMENT": environment,
        }
        step = lines // (kills + 1)
        for number in range(kills):
            for name in names:
                write(tmp_path / "logs" / name, number * step, (number + 1) * step)
            before = proxy.seen.total()
            relay = subprocess.Popen([sys.executable, "-c", _RELAY, "on"], env=env)
            while proxy.seen.total() == before and relay.poll() is None:
                time.sleep(0.01)
            time.sleep(chance.random() * 0.3)
            os.kill(relay.pid, signal.SIGKILL)
            relay.wait()
            if number % 2:
                cluster.send("POST", f"/logs-airflow.task-{environment}/_rollover")
        for name in names:
            write(tmp_path / "logs" / name, kills * step, lines)
        subprocess.run([sys.executable, "-c", _RELAY, "once"], env=env, check=True)

    assert stored(cluster, environment) == [(name, number) for name in names for number in range(lines)]
    assert proxy.seen.total() > proxy.seen["passed"]
