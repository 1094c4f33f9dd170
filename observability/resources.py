"""The resources of an attempt, used and allowed: peak memory, processor time, memory limit."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Usage", "memory_events_file", "memory_limit", "oom_kills", "usage"]

_CGROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = 1 << 60
"""cgroup v1 says 'no limit' with a number near 2**63."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and nanoseconds of this process and of the children it has waited for."""

    peak_rss: int
    cpu_time_ns: int
    memory_limit: int | None


def usage() -> Usage:
    """The resources that this process has used until now; a forked task counts from its fork."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    return Usage(
        peak_rss=max(own.ru_maxrss, children.ru_maxrss) * 1024,
        cpu_time_ns=int(seconds * 1e9),
        memory_limit=memory_limit(),
    )


def memory_limit() -> int | None:
    """The smallest of the limits that the cgroup and the address-space rlimit set, None where there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    limits = [limit for limit in (_cgroup_limit(), soft if soft != resource.RLIM_INFINITY else None) if limit]
    return min(limits, default=None)


@lru_cache(maxsize=1)
def _cgroup_limit() -> int | None:
    """The limit of this process's cgroup or of one above it; read once, a fork stays in its parent's cgroup."""
    found = [limit for path in _limit_files() if (limit := _read(path)) is not None]
    return min(found, default=None)


def _limit_files() -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except OSError:
        return []
    return _limit_files_of(lines)


def _limit_files_of(lines: list[str]) -> list[Path]:
    files = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers in ("", "memory"):
            root, name = (_CGROUPS, "memory.max") if not controllers else (_CGROUPS / "memory", "memory.limit_in_bytes")
            here = root / place.lstrip("/")
            files += [folder / name for folder in (here, *here.parents) if folder.is_relative_to(root)]
    return files


def memory_events_file() -> Path | None:
    """The kernel's file of counts about the memory of this process's cgroup; None where there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((path for path in _events_files_of(lines) if path.is_file()), None)


def _events_files_of(lines: list[str]) -> list[Path]:
    files = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if not controllers:
            files.append(_CGROUPS / place.lstrip("/") / "memory.events")
        elif controllers == "memory":
            files.append(_CGROUPS / "memory" / place.lstrip("/") / "memory.oom_control")
    return files


def oom_kills(path: Path) -> int | None:
    """Count the processes of a cgroup that were killed for memory so far; None where the file does not say."""
    try:
        lines = path.read_text("ascii").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)
    except (OSError, ValueError, IndexError):
        return None


def _read(path: Path) -> int | None:
    try:
        limit = int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
    return limit if limit < _NO_LIMIT else None
