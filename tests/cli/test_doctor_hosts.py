"""The doctor's link about hosts: whose writings arrive, and whose heartbeat can be known."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from datetime import datetime, timezone

import pytest
from airflow_platform import clean_environment, wait_until

from observability.doctor import hosts
from observability.doctor.link import Broken
from observability.settings import load_settings
from observability.store import Query, StoreError, open_store

_AS_HOST = """
import runpy, socket, sys
socket.gethostname = lambda: "carrier"
runpy.run_module("observability.cli.relay", run_name="__main__")
"""


@pytest.fixture
def settings(tmp_path):
    """Settings of a home whose real relay, on a host called carrier, also carries the log of worker-b."""
    log = tmp_path / "logs" / "components" / "worker" / "worker-b.log"
    log.parent.mkdir(parents=True)
    now = datetime.now(timezone.utc).isoformat()
    log.write_text(json.dumps({"timestamp": now, "level": "info", "event": "ready"}) + "\n")
    environ = clean_environment(
        CONTRAIL_CORE__HOME=str(tmp_path), CONTRAIL_RELAY__STATSD_PORT="0", CONTRAIL_RELAY__STATSD_INTERVAL_S="0.2",
        CONTRAIL_RELAY__LOG_FOLDER=str(tmp_path / "logs"),
    )  # fmt: skip
    relay = subprocess.Popen([sys.executable, "-c", _AS_HOST], env=environ)
    found = load_settings(environ=environ)

    def heard():
        try:
            return hosts._heard(found)[1]
        except StoreError:
            return None

    wait_until(heard, within=60)
    yield found
    relay.kill()
    relay.wait()


def airflow(*workers):
    """An Airflow whose scheduler is on carrier, and whose tasks began on these hosts; rows as its API lists them."""

    class Api:
        def __init__(self, url): ...
        def close(self): ...
        def get(self, path, **_):
            if path == "/jobs":
                return {"jobs": [{"job_type": "SchedulerJob", "hostname": "carrier.example"}]}
            return {"task_instances": [{"hostname": one} for one in (*workers, "")]}

    return Api


def test_a_host_whose_log_another_relay_carries_is_named_as_one_without_a_heartbeat(settings, monkeypatch):
    monkeypatch.setattr(hosts, "AirflowApi", airflow("worker-b.example"))
    wait_until(lambda: "worker-b" in hosts._heard(settings)[0] or None, within=60)
    said = hosts._hosts(settings)
    assert "all 2 are heard of; 1 of them have no relay of their name, such as worker-b" in said


def test_a_host_on_which_tasks_ran_and_that_nobody_hears_of_is_broken(settings, monkeypatch):
    monkeypatch.setattr(hosts, "AirflowApi", airflow("carrier", "worker-c"))
    with pytest.raises(Broken, match="1 hosts, such as worker-c: what its worker writes"):
        hosts._hosts(settings)


def test_hosts_that_have_a_relay_each_are_well(settings, monkeypatch):
    monkeypatch.setattr(hosts, "AirflowApi", airflow("carrier"))
    assert hosts._hosts(settings).startswith("all 1 are heard of; each has a relay")


def test_two_relays_of_one_name_are_named_and_what_both_carry_arrives_once(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "AirflowApi", airflow("carrier"))
    folder = tmp_path / "other" / "logs"
    shutil.copytree(tmp_path / "logs", folder, ignore=shutil.ignore_patterns(".contrail*"))
    environ = clean_environment(
        CONTRAIL_CORE__HOME=str(tmp_path / "other"), CONTRAIL_RELAY__STATSD_PORT="0",
        CONTRAIL_RELAY__STATSD_INTERVAL_S="0.2", CONTRAIL_RELAY__LOG_FOLDER=str(folder),
        CONTRAIL_STORE__PATH=str(settings.store_path),
    )  # fmt: skip
    assert not hosts._named_twice(settings)
    other = subprocess.Popen([sys.executable, "-c", _AS_HOST], env=environ)
    try:
        wait_until(lambda: hosts._named_twice(settings) == "carrier", within=60)
        with pytest.raises(Broken, match="two relays call themselves carrier"):
            hosts._hosts(settings)
        with contextlib.closing(open_store(settings)) as store:
            wait_until(lambda: store.count(Query("airflow.component")).get("", 0) > 1, within=60)
            lines = list(store.documents(Query("airflow.component")))
            beats = list(store.documents(Query("airflow.statsd", {"metric.name": "contrail.relay.up"})))
    finally:
        other.kill()
        other.wait()
    assert [line["event"] for line in lines] == ["ready", "ready"]
    assert len({beat["process.pid"] for beat in beats}) == 2
