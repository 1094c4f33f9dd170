"""A note about each attempt while it runs, so that a death by SIGKILL can be told from one for memory.

The kernel counts the processes of a cgroup that it killed for memory (``oom_kill`` in ``memory.events``; in
``memory.oom_control`` of cgroup v1). A task notes its cgroup and that count when it begins, and takes the note away
when it ends. Who finds it dead compares. The host's own counter (``/proc/vmstat``) says nothing about a task.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from observability.events import fact_id
from observability.owner_only_files import make_folder
from observability.regular_files import read_regular
from observability.resources import memory_events_file, memory_limit, oom_kills
from observability.settings import get_settings

if TYPE_CHECKING:
    from observability.events import Identity

__all__ = ["MemoryVerdict", "died", "note_end", "note_start"]

_KEEP_S = 172_800.0
_NAMESPACE = "/proc/self/ns/cgroup"


@dataclass(frozen=True, slots=True)
class MemoryVerdict:
    """The facts of a killed attempt; ``shared``: it or another of the ``tasks`` in its cgroup was killed."""

    answer: Literal["killed", "shared", "not killed", "unknown"]
    tasks: int = 1
    limit: int | None = None


def note_start(about: Identity) -> None:
    """Note what the attempt in this process begins with. Raises OSError where home cannot be written."""
    events = memory_events_file()
    count = oom_kills(events) if events is not None else None
    if count is None:
        return
    said: dict[str, Any] = {
        "events": str(events),
        "oom_kill": count,
        "limit": memory_limit(),
        "namespace": _namespace(),
    }
    said["pid"] = os.getpid()
    path = _path(about)
    try:
        path.write_bytes(orjson.dumps(said))
    except FileNotFoundError:
        make_folder(path.parent)
        path.write_bytes(orjson.dumps(said))


def note_end(about: Identity) -> None:
    """Take the note away: the attempt ended in another way."""
    with suppress(OSError):
        _path(about).unlink(missing_ok=True)


def died(about: Identity) -> MemoryVerdict:
    """True if the attempt, which was found dead, was killed for memory; its note is taken away."""
    path = _path(about)
    said = _read(path)
    if said is None or said.get("namespace") != _namespace():  # another container's paths mean other files here
        return MemoryVerdict("unknown")
    others = _others(path, str(said["events"]))
    path.unlink(missing_ok=True)
    count = oom_kills(Path(str(said["events"])))
    if count is None:
        return MemoryVerdict("unknown")
    if count <= int(said["oom_kill"]):
        return MemoryVerdict("not killed")
    return MemoryVerdict("shared" if others else "killed", 1 + others, said.get("limit"))


def _others(path: Path, events: str) -> int:
    """Count the other attempts that run in the same cgroup; notes of long ago are removed."""
    found, oldest = 0, time.time() - _KEEP_S
    for other in path.parent.iterdir():
        with suppress(FileNotFoundError):
            if other.stat().st_mtime < oldest:
                other.unlink()
            elif other != path and (said := _read(other)) is not None:
                found += said.get("events") == events and Path(f"/proc/{said.get('pid')}").exists()
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        said = orjson.loads(read_regular(path))
    except (OSError, orjson.JSONDecodeError):
        return None
    whole = isinstance(said, dict) and isinstance(said.get("events"), str) and isinstance(said.get("oom_kill"), int)
    return said if whole else None


def _path(about: Identity) -> Path:
    return get_settings().home / "attempts" / fact_id("attempt", about)


def _namespace() -> str:
    try:
        return str(Path(_NAMESPACE).readlink())
    except OSError:
        return ""
