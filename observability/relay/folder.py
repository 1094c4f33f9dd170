"""A tree of folders, looked at often and cheaply.

What changed lately is looked at in each round; the rest in sweeps, spaced so that they take a twentieth of
the time. A folder is listed again only when its own time has changed.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Entry", "Folder"]

_HOT_S = 3600.0
_SWEEP_SHARE = 20
_UNSETTLED_NS = 2_000_000_000
"""A folder changed less than this before it was listed is listed again: its time may be too coarse to tell."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file that was found."""

    path: str
    stat: os.stat_result


@dataclass(slots=True)
class _Directory:
    changed_ns: int = -1
    listed_ns: int = 0
    folders: tuple[str, ...] = ()
    files: dict[str, None] = field(default_factory=dict)


class Folder:
    """The regular files below ``root``; symbolic links are not followed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directories: dict[str, _Directory] = {}
        self._sweep_due = 0.0

    def look(self) -> tuple[list[Entry], bool]:
        """Files that may be new or changed, and whether this round saw every file there is."""
        started = time.monotonic()
        sweep = started >= self._sweep_due
        found = list(self._walk(str(self.root), sweep=sweep, depth=0))
        if sweep:
            took = time.monotonic() - started
            self._sweep_due = time.monotonic() + _SWEEP_SHARE * took
        return found, sweep

    def sweep_soon(self) -> None:
        """Make the next round a sweep."""
        self._sweep_due = 0.0

    def _walk(self, path: str, *, sweep: bool, depth: int) -> Iterator[Entry]:
        known = self._directories.get(path)
        now = time.time_ns()
        hot = known is None or sweep or depth <= 1 or now - known.changed_ns < _HOT_S * 1e9
        if hot:
            known = self._listed(path, known, now)
        if known is None:
            return
        if hot:
            for name in known.files:
                try:
                    yield Entry(name, os.stat(name, follow_symlinks=False))  # noqa: PTH116 - no object per file
                except OSError:
                    continue
        for name in known.folders:
            yield from self._walk(name, sweep=sweep, depth=depth + 1)

    def _listed(self, path: str, known: _Directory | None, now: int) -> _Directory | None:
        try:
            changed = os.stat(path, follow_symlinks=False).st_mtime_ns  # noqa: PTH116 - as above
            if known and known.changed_ns == changed and known.listed_ns - changed > _UNSETTLED_NS:
                return known
            with os.scandir(path) as entries:
                listed = list(entries)
        except OSError:
            self._directories.pop(path, None)
            return None
        files = {entry.path: None for entry in listed if entry.is_file(follow_symlinks=False)}
        folders = tuple(entry.path for entry in listed if entry.is_dir(follow_symlinks=False))
        fresh = _Directory(changed, now, folders, files)
        self._directories[path] = fresh
        return fresh
