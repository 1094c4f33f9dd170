"""A disk that is full for real: a small file system of its own, which only root can make."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

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
    while not relay.workers[0].stats.trouble and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "full" in relay.workers[0].stats.trouble
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
        await_(lambda: all(worker.stats.trouble for worker in relay.workers))
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


@pytest.fixture
def broken(settings, tmp_path):
    """The home of the relay on an ext4 of its own: break it, which makes it read-only, and repair it."""
    settings.home.mkdir(parents=True)
    images = [tmp_path / "first.img", tmp_path / "second.img"]
    with images[0].open("wb") as image:
        image.truncate(48 << 20)

    def mount(image):
        done = subprocess.run(
            ["mount", "-o", "loop,errors=remount-ro", str(image), str(settings.home)], check=False, capture_output=True
        )
        return done.returncode == 0

    def breaks():
        subprocess.run(["sync", "-f", str(settings.home)], check=True)
        used = subprocess.run(["losetup", "-j", str(images[0])], check=True, capture_output=True, text=True).stdout
        device = used.partition(":")[0].rpartition("/")[2]
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("as a disk that fails")

    def mended():
        shutil.copyfile(*images)  # the first one is still held by who has files of it open
        subprocess.run(["e2fsck", "-fy", str(images[1])], check=False, capture_output=True)
        assert mount(images[1])

    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("only root may mount a small file system here")
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", str(images[0])], check=True)
    if not mount(images[0]):
        pytest.skip("no loop device here")
    yield breaks, mended
    while subprocess.run(["umount", "-l", str(settings.home)], check=False, capture_output=True).returncode == 0:
        pass


@pytest.mark.slow
def test_a_file_system_that_turns_read_only_and_is_repaired_stops_no_relay(settings, logs, broken, tmp_path):
    breaks, mended = broken
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    said = tmp_path / "said"
    with said.open("wb") as heard:
        relay = subprocess.Popen([sys.executable, "-m", "observability.cli", "relay"], env=environ, stderr=heard)
        try:
            logs.write(line("early") * 100)
            await_(lambda: rows(settings) == 100)
            breaks()
            logs.write(line("late") * 100)
            await_(lambda: b"make it writable" in said.read_bytes())
            mended()
            await_(lambda: rows(settings) == 200)
            logs.write(line("after") * 100)
            await_(lambda: rows(settings) == 300)
            assert relay.poll() is None
        finally:
            relay.terminate()
            relay.wait(60)
    assert set(stored(settings.store_path)) == expected(logs.root)


def rows(settings):
    """The number of lines in the store; 0 where there is none yet."""
    with contextlib.suppress(sqlite3.Error):
        return len(stored(settings.store_path))
    return 0


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
