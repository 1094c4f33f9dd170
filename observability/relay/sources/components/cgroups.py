"""The limits of the cgroups that components run in, and how often they met them: memory, kills, throttled time."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from observability.relay.sources.components.readings import Growth, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Cgroups"]

_ROOT = Path("/sys/fs/cgroup")
_SHARED = "shared"
"""Stands for a component where several run in one cgroup."""
_MOST_DIGITS = 20
_NO_LIMIT = 1 << 60
"""cgroup v1 says 'no limit' with a number near 2**63."""


class Cgroups:
    """Reads the cgroups below ``root`` of the processes below ``proc``, of version 2 or 1."""

    def __init__(self, root: Path = _ROOT, proc: Path = Path("/proc")) -> None:
        self._root, self._proc = root, proc
        self._growth = Growth()

    def read(self, members: Mapping[str, Sequence[int]]) -> list[Sample]:
        """Read the cgroups of each component's processes; one of several components is ``shared``."""
        of_memory: defaultdict[Path, set[str]] = defaultdict(set)
        of_processor: defaultdict[Path, set[str]] = defaultdict(set)
        for component, pids in members.items():
            for pid in pids:
                for controller, folder in self._folders(pid):
                    if controller in {"", "memory"}:
                        of_memory[self._counting(folder)].add(component)
                    if controller in {"", "cpu"}:
                        of_processor[folder].add(component)
        found: list[Sample] = []
        for folder, components in sorted(of_memory.items()):
            found += self._of_memory(folder, _about(components))
        for folder, components in sorted(of_processor.items()):
            if (throttled_ms := _throttled_ms(folder)) is not None:
                grown = self._growth.of((folder, "throttled"), throttled_ms)
                found.append(Sample("contrail.component.throttled_ms", "counter", grown, _about(components)))
        return found

    def _counting(self, folder: Path) -> Path:
        """The nearest cgroup, itself or above, whose memory version 2 counts; itself where none or version 1 does."""
        for one in (folder, *folder.parents):
            if (one / "memory.current").is_file():
                return one
            if one == self._root:
                break
        return folder

    def _of_memory(self, folder: Path, about: dict[str, str]) -> list[Sample]:
        found = []
        used = _number(folder / "memory.current", folder / "memory.usage_in_bytes")
        limit = _number(folder / "memory.max", folder / "memory.limit_in_bytes") or _NO_LIMIT
        if limit < _NO_LIMIT:
            found.append(Sample("contrail.component.memory_limit_bytes", "gauge", limit, about))
        elif folder == self._root / "memory":
            return []  # all of the host
        if used is not None:
            found.append(Sample("contrail.component.cgroup_memory_bytes", "gauge", used, about))
        kills = _stated("oom_kill", folder / "memory.events", folder / "memory.oom_control")
        if kills is not None:
            grown = self._growth.of((folder, "kills"), kills)
            found.append(Sample("contrail.component.oom_kills", "counter", grown, about))
        return found

    def _folders(self, pid: int) -> list[tuple[str, Path]]:
        """The controller ("" in version 2) and the folder of each cgroup of a process, as they are here."""
        try:
            lines = (self._proc / str(pid) / "cgroup").read_text("ascii", "replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            controllers, _, place = line.partition(":")[2].partition(":")
            if not place.startswith("/") or "/.." in place:  # another container's, which cannot be reached from here
                continue
            base = self._root / controllers
            folder = base / place.lstrip("/")
            # a container sees its own cgroup at the root, whatever its place on the host is called
            here = folder if os.path.isdir(folder) else base  # noqa: PTH112 - it is False for a name too long, too
            found += [(name, here) for name in controllers.split(",")]
        return found


def _about(components: set[str]) -> dict[str, str]:
    return {"component": next(iter(components)) if len(components) == 1 else _SHARED}


def _throttled_ms(folder: Path) -> float | None:
    microseconds = _stated("throttled_usec", folder / "cpu.stat")
    if microseconds is not None:
        return microseconds / 1e3
    nanoseconds = _stated("throttled_time", folder / "cpu.stat")
    return None if nanoseconds is None else nanoseconds / 1e6


def _number(*files: Path) -> int | None:
    """The number in the first of the files that is there; None where none says one (``max``)."""
    for file in files:
        try:
            return _whole(file.read_text("ascii").strip())
        except (OSError, ValueError):
            continue
    return None


def _whole(digits: str) -> int:
    """A number as the kernel writes it, of 64 bits. Raises ValueError for anything else."""
    if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        raise ValueError("not a number of 64 bits")
    return int(digits)


def _stated(name: str, *files: Path) -> int | None:
    """The number behind a word in the first of the files that is there."""
    for file in files:
        try:
            lines = file.read_text("ascii").splitlines()
        except (OSError, ValueError):
            continue
        for line in lines:
            word, _, number = line.partition(" ")
            if word == name:
                with suppress(ValueError):
                    return _whole(number)
    return None
