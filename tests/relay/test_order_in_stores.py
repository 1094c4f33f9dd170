"""The order of one attempt's lines in every store: the bytes of a file, and between two files the time."""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from stores import EVERY_STORE

from observability.relay.relay import Relay
from observability.settings import load_settings
from observability.store import Query, open_store

BEGAN = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=10)
WORKER = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
ATTEMPT = {"airflow.dag_id": "d", "airflow.task_id": "t", "airflow.run_id": "r", "airflow.try_number": 1}


def line(seconds, event):
    stamp = (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return json.dumps({"timestamp": stamp, "level": "info", "event": event}, separators=(",", ":")) + "\n"


@pytest.fixture(params=EVERY_STORE)
def settings(request, tmp_path, monkeypatch):
    environ = {
        "CONTRAIL_CORE__HOME": str(tmp_path / "home"),
        "CONTRAIL_CORE__ENVIRONMENT": f"o{uuid.uuid4().hex[:10]}",
        "CONTRAIL_RELAY__LOG_FOLDER": str(tmp_path / "logs"),
        "CONTRAIL_RELAY__SINKS": request.param,
        "CONTRAIL_RELAY__BATCH_BYTES": "65536",
        "CONTRAIL_STORE__BACKEND": request.param,
    }
    if request.param == "elasticsearch":
        from observability.store.cluster import open_cluster
        from observability.store.elasticsearch_setup import install

        environ["CONTRAIL_ELASTICSEARCH__URL"] = request.getfixturevalue("elasticsearch_url")
        with closing(open_cluster(load_settings(environ=environ))) as cluster:
            install(cluster)
    if request.param == "cloudwatch":
        environ |= {
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": request.getfixturevalue("moto_url"),
        }
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return load_settings(environ=environ)


def carried(settings):
    """The lines of the attempt, after another run of a relay."""
    assert Relay(settings, statsd=False).run(once=True, patience_s=60)
    if settings.store.backend == "elasticsearch":
        from observability.store.cluster import open_cluster

        with closing(open_cluster(settings)) as cluster:
            cluster.send("POST", f"/*-{settings.core.environment}/_refresh")
    with closing(open_store(settings)) as store:
        return [one["event"] for one in store.documents(Query("airflow.task", where=ATTEMPT))]


def test_lines_are_in_the_order_of_their_file_and_of_time_across_files(settings):
    worker = settings.log_folder / WORKER
    worker.parent.mkdir(parents=True)
    flood = [f"line {number} {'x' * 90}" for number in range(1500)]  # 150 kB, several batches, all of one microsecond
    worker.write_text(line(0, "begins") + "".join(line(1, one) for one in flood) + line(2, "defers"))
    trigger = worker.with_name(f"{worker.name}.trigger.7.log")
    trigger.write_text(line(3, "the trigger waits") + line(58, "the trigger fires"))
    assert carried(settings) == ["begins", *flood, "defers", "the trigger waits", "the trigger fires"]

    with worker.open("a") as log:  # a relay that was started anew goes on with the order
        log.write(line(60, "resumes") + line(30, "the clock was set back") + line(31, "ends"))
    expected = ["begins", *flood, "defers", "the trigger waits", "the trigger fires"]
    assert carried(settings) == [*expected, "resumes", "the clock was set back", "ends"]
