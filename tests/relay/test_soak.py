"""A relay under steady load and faults for minutes: what it holds must not grow."""

from __future__ import annotations

import random
import sqlite3
import statistics
import subprocess
import sys
import time

import psutil
import pytest
from relay_lines import expected, stored

from observability.relay.relay import read_status

_WRITER = """
import json, os, shutil, sys, time
root, rate = sys.argv[1], int(sys.argv[2])
begin, n = time.time(), 0
while not os.path.exists(root + ".stop"):
    run = n // 20_000
    folder = f"{root}/dag_id=soak/run_id=r{run}/task_id=t{n // 2000 % 10}"
    os.makedirs(folder, exist_ok=True)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + ".000000Z"
    with open(f"{folder}/attempt=1.log", "ab") as log:
        for step in range(200):
            line = {"timestamp": stamp, "level": "info", "event": f"line {n + step} " + "x" * 150}
            log.write(json.dumps(line, separators=(",", ":")).encode() + b"\\n")
    n += 200
    time.sleep(max(0.0, begin + n / rate - time.time()))
"""


@pytest.mark.parametrize(
    ("minutes", "rate"), [(0.2, 2000), pytest.param(7, 2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_its_memory_and_descriptors_do_not_grow_under_load_and_faults(settings, logs, minutes, rate):
    dice = random.Random(1)
    relay = subprocess.Popen([sys.executable, "-m", "observability.cli", "relay"], stderr=subprocess.DEVNULL)
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(logs.root), str(rate)])
    process, memory, descriptors = psutil.Process(relay.pid), [], []
    try:
        while not (read_status(settings.home) or {}).get("sinks", {}).get("embedded", {}).get("streams"):
            time.sleep(0.1)
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            if dice.random() < 0.1:
                _lock_the_store(settings.store_path, dice.uniform(0.5, 3.0))
            memory.append(process.memory_info().rss / 1e6)
            descriptors.append(process.num_fds())
            time.sleep(1.0)
    finally:
        (logs.root.parent / "logs.stop").touch()
        writer.wait(30)
        relay.terminate()
        relay.wait(60)
    assert subprocess.run([sys.executable, "-m", "observability.cli", "relay", "--once"], check=True).returncode == 0
    found = stored(settings.store_path)
    assert len(found) == len(set(found))
    assert set(found) == expected(logs.root)
    assert max(memory) < 80
    fifth = len(memory) // 5
    assert max(descriptors[-fifth:]) <= max(descriptors[fifth : 2 * fifth]) + 2
    if minutes > 5:
        assert statistics.median(memory[-fifth:]) - statistics.median(memory[fifth : 2 * fifth]) <= 1.0


def _lock_the_store(path, seconds):
    holder = sqlite3.connect(path, isolation_level=None, timeout=30)
    holder.execute("begin immediate")
    time.sleep(seconds)
    holder.execute("commit")
    holder.close()
