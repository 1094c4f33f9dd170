"""The resources that an attempt used, and those it may use."""

from __future__ import annotations

import resource
import subprocess
import sys

from observability import resources


def test_peak_memory_is_in_bytes_and_grows_with_what_is_held():
    before = resources.usage().peak_rss
    held = bytearray(before + 50_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert resources.usage().peak_rss >= before + 40_000_000


def test_processor_time_counts_children_that_were_waited_for():
    before = resources.usage().cpu_time_ns
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    assert resources.usage().cpu_time_ns > before + 10_000_000


def test_the_address_space_limit_is_a_limit(monkeypatch):
    monkeypatch.setattr(resources, "_cgroup_limit", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1 << 30, 1 << 31))
    assert resources.memory_limit() == 1 << 30


def test_the_smallest_limit_of_the_cgroups_above_counts(monkeypatch, tmp_path):
    for place, limit in (("", "max"), ("pod", "2000000000"), ("pod/task", "3000000000")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "memory.max").write_text(f"{limit}\n")
    monkeypatch.setattr(resources, "_CGROUPS", tmp_path)
    limits = [resources._read(file) for file in resources._limit_files_of(["0::/pod/task"])]
    assert min(filter(None, limits)) == 2_000_000_000


def test_no_limit_is_none(monkeypatch):
    monkeypatch.setattr(resources, "_cgroup_limit", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY,) * 2)
    assert resources.memory_limit() is None
