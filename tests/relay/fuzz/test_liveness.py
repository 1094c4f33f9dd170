"""The liveness law: whatever is in the log folder, the journal, the spool or on the socket, what is good arrives.

One body holds it for every input of every fuzzer: a good line, a real event and a metric that come after the input
are in the store within their usual time, and no thread of the relay repeats a failure.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
import time
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from corpus import CORPUS
from test_fuzz import changed

from observability import contain
from observability.contain import take_losses
from observability.journal import Journal
from observability.relay.relay import Relay
from observability.store import Query, open_store

GOOD = "dag_id=good/run_id=r/task_id=t/attempt=1.log"
USUAL_S = 10.0
"""It is a second or two when the machine has nothing else to do."""
BATCH = 40


def inputs(seed):
    """Some hundred inputs by fuzzer: all seeds, or that many changes of them."""
    chance = random.Random(seed)
    if not seed:
        return {target: list(seeds) for target, seeds in CORPUS.items()}
    return {
        target: [changed(chance.choice(seeds), seeds, chance) for _ in range(BATCH)] for target, seeds in CORPUS.items()
    }


def put(folder, settings, found):
    """Lay the inputs where the relay will come by them."""
    for number, data in enumerate(found["log_lines"] + found["tailed_log"]):
        for name in (f"dag_id=d/run_id=r/task_id=t{number}/attempt=1.log", f"dag_processor/2026-01-31/{number}.log"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for data in found["names_of_files"]:
        _file_called(folder, data)
    for number, data in enumerate(found["journal_frames"] + found["tailed_journal"]):
        settings.journal_directory.mkdir(parents=True, exist_ok=True)
        (settings.journal_directory / f"etl.event-20260131-{number:03d}.journal").write_bytes(data + b"\n")
    for number, data in enumerate(found["statsd_spool"]):
        (settings.home / "statsd").mkdir(parents=True, exist_ok=True)
        (settings.home / "statsd" / f"{number}-1-1.datagrams").write_bytes(data)
    os.mkfifo(folder / "dag_id=d/run_id=r/task_id=t0/attempt=2.log")
    (folder / "dag_id=d/run_id=r/task_id=t0/attempt=3.log").symlink_to("/dev/zero")


def _file_called(folder, data):
    parts = [part for part in data.replace(b"\0", b"").split(b"/") if part not in {b"", b".", b".."}]
    path = folder.joinpath(*(os.fsdecode(part[:200]) for part in parts))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x\n")
    except OSError:
        return  # no file can be called so


def send(port, found):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        for data in [*found["datagrams"], b"liveness.good:1|c"]:
            client.sendto(data[:60_000], ("127.0.0.1", port))


def write_what_is_good(folder, settings):
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    path = folder / GOOD
    path.parent.mkdir(parents=True)
    path.write_bytes(orjson.dumps({"timestamp": now, "level": "info", "event": "good"}) + b"\n")
    failure = {"event.id": "f" * 32, "@timestamp": now, "event.action": "task.failed", "airflow.dag_id": "another"}
    Journal(settings.journal_directory).append("etl.event", orjson.dumps(failure))


def arrived(settings):
    with closing(open_store(settings)) as store:
        return (
            [one["event"] for one in store.documents(Query("airflow.task", where={"airflow.dag_id": "good"}))],
            [one["event.id"] for one in store.documents(Query("etl.event", where={"airflow.dag_id": "another"}))],
            bool(store.count(Query("airflow.statsd", where={"metric.name": "liveness.good"}))[""]),
        )


@pytest.mark.parametrize("seed", range(3))
def test_what_is_good_arrives_within_its_usual_time(settings, logs, monkeypatch, seed):
    monkeypatch.setenv("CONTRAIL_RELAY__STATSD_INTERVAL_S", "0.5")
    monkeypatch.setattr(contain, "raises_again", lambda: False)
    take_losses()
    found = inputs(seed)
    put(logs.root, settings, found)
    relay = Relay(settings, say=print)
    relay.statsd._interval_s = 0.5
    runs = threading.Thread(target=relay.run, daemon=True)
    runs.start()
    try:
        while not settings.store_path.exists():
            time.sleep(0.01)
        send(relay.statsd.port, found)
        write_what_is_good(logs.root, settings)
        deadline = time.monotonic() + USUAL_S
        while (got := arrived(settings)) != (["good"], ["f" * 32], True):
            assert time.monotonic() < deadline, got
            time.sleep(0.1)
        assert [lane.account.trouble for lane in relay.lanes] == [""] * len(relay.lanes)
        assert all(lane.is_alive() for lane in relay.lanes)
        assert relay.statsd.is_alive()
        settled = losses(settings)
        time.sleep(3 * 1.5)  # three times the longest pause between two tries
        again = {key: number - settled.get(key, 0) for key, number in losses(settings).items()}
        assert not any(again.values()), "a thread goes on failing"
        assert not list((settings.home / "set-aside").glob("*")), "we fail at an input ourselves"
    finally:
        relay.stop()
        runs.join(30)
        take_losses()


def losses(settings):
    """What the relay has told as lost until now, by stage and reason."""
    since = datetime.now(timezone.utc) - timedelta(hours=1)
    with closing(open_store(settings)) as store:
        told = store.documents(Query("etl.event", where={"event.action": "telemetry.lost"}, since=since))
        counts = {}
        for one in told:
            key = one["telemetry.stage"], one["telemetry.reason"]
            counts[key] = counts.get(key, 0) + one["telemetry.count"]
    return counts
