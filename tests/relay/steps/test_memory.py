"""A death by SIGKILL is put down to memory when the kernel's own counter rose just before it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from observability.relay.steps.memory import MemoryKills

NOW = 1_800_000_000.0


@pytest.fixture
def counter(tmp_path):
    path = tmp_path / "vmstat"
    path.write_text("nr_free_pages 1\noom_kill 3\n")
    return path


@pytest.fixture
def kills(counter):
    watched = MemoryKills(counter, clock=lambda: NOW)
    yield watched
    watched.close()


def test_a_rise_is_near_a_death_just_after_it(kills, counter):
    counter.write_text("oom_kill 4\n")
    assert kills.near(NOW + 3)


def test_a_rise_is_not_near_a_death_long_after_or_before_it(kills, counter):
    counter.write_text("oom_kill 4\n")
    assert not kills.near(NOW + 60)
    assert not kills.near(NOW - 60)


def test_what_was_counted_before_we_looked_says_nothing(kills):
    assert not kills.near(NOW)


def test_a_host_without_the_counter_has_no_such_kills(tmp_path):
    watched = MemoryKills(tmp_path / "none")
    assert not watched.near(NOW)
    watched.close()


def test_a_real_kill_by_a_cgroups_limit_is_noticed():
    dags = Path(__file__).parents[3] / "dags"
    code = "from drills.memory import exhaust, limit; print(limit(32 << 20), flush=True); exhaust()"
    watched = MemoryKills()
    died = subprocess.run(
        [sys.executable, "-c", code], cwd=dags, capture_output=True, check=False, text=True, timeout=60
    )
    if "cgroup" not in died.stdout:
        pytest.skip(f"no memory cgroup can be made here (limited by {died.stdout.strip()}): the kernel does not kill")
    assert died.returncode == -9
    assert watched.near(time.time())
    watched.close()
