"""A disk that is full for real: a small file system of its own, which only root can make."""

from __future__ import annotations

import os
import subprocess
import threading
import time

import pytest
from relay_lines import expected, line, stored

from observability.relay.relay import Relay, read_status


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
    runner = threading.Thread(target=relay.run)
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
