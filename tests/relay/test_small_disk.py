"""A disk that is full for real: a small file system of its own, which only root can make."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time

import pytest
from otlp_receiver import OtlpReceiver
from relay_lines import expected, line, stored

from observability.contain import count_loss
from observability.relay.checkpoint import adopt_checkpoint, open_checkpoint
from observability.relay.relay import Relay, read_status
from observability.relay.sinks.sink import SinkUnavailable
from observability.relay.sources.files.tail import Cursor
from observability.settings import load_settings
from observability.store.embedded import EmbeddedStore
from observability.store.store import Query


@pytest.fixture
def small(settings):
    """The home of the relay on 8 MB of memory; called with a size, it becomes that."""
    settings.home.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "contrail-small", str(settings.home)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system here")
    yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", str(settings.home)], check=True)
    subprocess.run(["umount", "-l", str(settings.home)], check=True)


def test_a_full_file_system_loses_nothing_that_is_on_disk_and_counts_what_is_not(settings, logs, small):
    for number in range(10):
        logs.write(line("x" * 1000) * 1500, f"dag_id=d/run_id=r{number}/task_id=t/attempt=1.log")
    relay = Relay(settings, statsd=False)
    runner = threading.Thread(target=relay.run, daemon=True)
    runner.start()
    deadline = time.monotonic() + 30
    while not relay.workers[0].account.trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "full" in relay.workers[0].account.trouble
    small("64m")
    while relay._left() and time.monotonic() < deadline + 60:
        time.sleep(0.05)
    relay.stop()
    runner.join(60)
    assert set(stored(settings.store_path)) == expected(logs.root)
    assert len(stored(settings.store_path)) == 15_000
    books = read_status(settings.home)["sinks"]["embedded"]["streams"]["airflow.task"]
    assert (books["emitted"], books["stored"], books["dropped"]) == (15_000, 15_000, 0)


def test_a_relay_that_starts_on_a_full_disk_knows_later_what_it_had_sent_and_says_what_was_lost(
    settings, logs, small, monkeypatch
):
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("CONTRAIL_OTLP__URL", receiver.url)
        monkeypatch.setenv("CONTRAIL_RELAY__SINKS", "embedded,otlp")
        monkeypatch.setenv("CONTRAIL_STORE__RETENTION_DAYS", "36500")
        monkeypatch.setenv("CONTRAIL_RELAY__LOG_FOLDER", str(logs.root))
        monkeypatch.setenv("CONTRAIL_CORE__HOME", str(settings.home))
        settings = load_settings()
        logs.write(line("early") * 100)
        Relay(settings, statsd=False).run(once=True)
        full(settings.home)
        logs.write(line("late") * 100)
        relay = Relay(settings, statsd=False)
        runner = threading.Thread(target=relay.run, daemon=True)
        runner.start()
        await_(lambda: all(worker.account.trouble for worker in relay.workers))
        count_loss("emit", "JournalError", 3)
        assert len(receiver.logs) == 100
        (settings.home / "filler").unlink()
        await_(lambda: not relay._left() and len(stored(settings.store_path)) == 200 and lost(settings))
        relay.stop()
        runner.join(60)
    lines = [uid for uid in receiver.uids if "-" in uid]
    assert len(lines) == len(set(lines)) == 200
    assert lost(settings) == {"JournalError": 3}
    assert not list(settings.home.rglob("*damaged*"))


def test_a_checkpoint_that_cannot_be_used_now_is_kept_under_either_name(settings, small):
    path, old = settings.home / "sink.db", settings.home / "old.db"
    for each in (path, old):
        checkpoint = open_checkpoint(each, each.stem)
        checkpoint.save([("a.log", Cursor("0123456789abcdef", 700, b"tail", 0, 0))])
        checkpoint.close()
    full(settings.home)
    for attempt in (
        lambda: open_checkpoint(path, "sink"),
        lambda: open_checkpoint(settings.home / "new.db", "new"),
        lambda: adopt_checkpoint(settings.home / "taken.db", "taken", old, "old"),
    ):
        for _ in range(2):
            with pytest.raises((SinkUnavailable, OSError), match=r"full|space"):
                attempt()
    (settings.home / "filler").unlink()
    adopt_checkpoint(settings.home / "taken.db", "taken", old, "old")
    for each in ("sink", "taken"):
        checkpoint = open_checkpoint(settings.home / f"{each}.db", each)
        assert checkpoint.cursor("0123456789abcdef").offset == 700
        checkpoint.close()
    assert sorted(one.name for one in settings.home.iterdir()) == ["sink.db", "taken.db"]


def full(folder):
    """Leave no byte of the file system of ``folder``."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        for size in (65_536, 1):
            with contextlib.suppress(OSError):
                while filler.write(b"x" * size):
                    pass


def lost(settings):
    """The losses that the store knows, by reason."""
    store = EmbeddedStore(settings.store_path)
    found = list(store.documents(Query("contrail.alert", {"event.action": "telemetry.lost"})))
    store.close()
    return {one["telemetry.reason"]: one["telemetry.count"] for one in found}


def await_(happened, patience_s=60):
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)
