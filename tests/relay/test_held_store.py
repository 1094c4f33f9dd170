"""A relay that is stopped while it writes holds SQLite's lock: whoever else comes is answered, and soon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from airflow_platform import clean_environment, wait_until
from relay_lines import line

from observability.airflow import flush as end_of_task
from observability.relay.relay import Relay, RelayError
from observability.relay.sinks.sink import Batch, SinkUnavailable, open_sink
from observability.settings import load_settings
from observability.store import Query, open_store

_HELD = """
import os, runpy, signal, time
from observability.relay.sinks.embedded import EmbeddedSink
store = EmbeddedSink._store
def store_and_stand_still(self, connection, batch):
    answer = store(self, connection, batch)
    if os.path.exists("stand-still"):
        os.unlink("stand-still")
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.5)
    return answer
EmbeddedSink._store = store_and_stand_still
runpy.run_module("observability.cli.relay", run_name="__main__")
"""


def write(logs, run):
    path = logs / f"dag_id=d/run_id={run}/task_id=t/attempt=1.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(line(run))


@pytest.fixture
def held(tmp_path):
    """Settings of a real relay that stands still in the middle of a transaction, after one that was committed."""
    environ = clean_environment(
        CONTRAIL_CORE__HOME=str(tmp_path / "home"), CONTRAIL_RELAY__LOG_FOLDER=str(tmp_path / "logs"),
        CONTRAIL_RELAY__STATSD_PORT="0", CONTRAIL_RELAY__FLUSH_TIMEOUT_S="1",
    )  # fmt: skip
    settings = load_settings(environ=environ)
    write(tmp_path / "logs", "first")
    relay = subprocess.Popen([sys.executable, "-c", _HELD], env=environ, cwd=tmp_path)
    try:
        wait_until(lambda: settings.store_path.exists() and lines(settings) == 1, within=60)
        (tmp_path / "stand-still").touch()
        write(tmp_path / "logs", "second")
        wait_until(lambda: Path(f"/proc/{relay.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", within=60)
        yield settings, relay
    finally:
        relay.send_signal(signal.SIGCONT)
        relay.kill()
        relay.wait()


def lines(settings):
    store = open_store(settings)
    try:
        return store.count(Query("airflow.task"))[""]
    finally:
        store.close()


def test_readers_read_writers_are_refused_and_the_relay_goes_on_where_it_was(held, monkeypatch):
    settings, relay = held
    assert lines(settings) == 1
    batch = Batch("etl.event", "j", "journal", [b"1" * 32], [b'{"@timestamp":"2026-01-01T00:00:00Z"}'])
    sink = open_sink("embedded", settings)
    with pytest.raises(SinkUnavailable, match="locked by another process; end that process or wait"):
        sink.send(batch)
    with pytest.raises(RelayError, match=f"process {relay.pid}"):
        Relay(settings, statsd=False)
    monkeypatch.setattr(end_of_task, "_FRESH_S", 0.0)  # as a quarter of a minute later
    began = time.monotonic()
    assert end_of_task.flush_within(settings) is False
    assert time.monotonic() - began < 30  # 1 s is allowed; a busy machine
    os.kill(relay.pid, signal.SIGCONT)
    wait_until(lambda: lines(settings) == 2, within=60)
    assert sink.send(batch).stored == 1
    sink.close()
