"""Run out of memory for real, without taking the machine along."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

__all__ = ["exhaust", "limit"]

_CGROUP2 = Path("/sys/fs/cgroup")
_CGROUP1 = Path("/sys/fs/cgroup/memory")
_CHUNK = 1 << 22


def limit(limit_bytes: int) -> str:
    """Limit what this process may use from now on; answers by what.

    In a cgroup, where this user may make one, the kernel kills the process that goes beyond; by
    RLIMIT_AS, Python raises MemoryError.
    """
    for parent, files in (
        (_CGROUP2, {"memory.max": limit_bytes, "memory.swap.max": 0}),
        (_CGROUP1, {"memory.limit_in_bytes": limit_bytes}),
    ):
        if (parent / "cgroup.procs").exists() and _enter(parent, files):
            return "cgroup"
    in_use = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + limit_bytes, in_use + limit_bytes))
    return "rlimit"


def exhaust() -> None:
    """Take memory until there is none."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1024) * (_CHUNK // 1024)))


def _enter(parent: Path, files: dict[str, int]) -> bool:
    for left_behind in parent.glob("contrail-drill-*"):
        with suppress(OSError):
            left_behind.rmdir()
    group = parent / f"contrail-drill-{os.getpid()}"
    try:
        group.mkdir()
        for name, value in files.items():
            if (group / name).exists():
                (group / name).write_text(str(value), "ascii")
        if not (group / next(iter(files))).exists():
            return False
        (group / "cgroup.procs").write_text(str(os.getpid()), "ascii")
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True
