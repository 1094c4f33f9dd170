"""A tree of folders, looked at often and cheaply, however much of it is history.

A folder in which something changed lately is *hot*: it is looked at the more often the fresher the change.
Everything else is found by sweeps, which go on in slices of a small share of the time and keep nothing of it
in memory. A hot folder is listed again only when its own time has changed.

The first sweep begins with the folders that changed last, and waits while there is no room for the past. While it
waits, a *scout* walks everything once and shows what is being written now in old folders.
"""

from __future__ import annotations

import math
import os
import time
from array import array
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["DirectoryScanner", "Entry"]

_FILES_HOT_S = 3600.0
_FOLDERS_HOT_S = 86_400.0
"""A run of today gets a folder for each task that begins, hours after the one before."""
_SHALLOW = 1
"""Down to this depth a folder is always hot: there new runs begin, and logs are rotated."""
_SHALLOW_EVERY_S = 1.0
_HOT_EVERY_S = 2.0
_ROUND_S_PER_FOLDER = 0.00025
"""With very many hot folders a round takes longer, so that it costs no more than some hundredths of the time."""
_FRESHNESS = 100
"""The share of its age after which a folder that changed some time ago is looked at again: a hundredth."""
_SWEEP_SHARE = 0.03
_MOST_CREDIT_S = 0.05
_MOST_DEBT_S = 1.0
_MOST_ORDERED = 50_000
"""So many folders wait in the order of their last change (250 bytes each); beyond it the walk goes down first."""
_DOWN_FIRST = -(1 << 63)
_SCOUT_SLICE_S = 0.25
_WRITTEN_NOW_S = 60.0
_URGENT_SLICE_S = 0.5
"""A first or urgent sweep pauses after so long: what is written meanwhile in known files is looked at in between."""
_UNSETTLED_NS = 2_000_000_000
"""A folder changed less than this before it was listed is listed again: its time may be too coarse to tell."""


class Entry(NamedTuple):
    """A regular file that was found."""

    path: str
    stat: os.stat_result


@dataclass(slots=True)
class _Listing:
    """The content of a folder, and when it was changed and listed."""

    changed_ns: int
    listed_ns: int
    files: list[Entry] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def newest_ns(self) -> int:
        return max(self.changed_ns, max((entry.stat.st_mtime_ns for entry in self.files), default=0))


@dataclass(slots=True)
class _Hot:
    """A hot folder: its files by path, its folders as hashes of their paths."""

    depth: int
    changed_ns: int
    listed_ns: int
    files: tuple[str, ...]
    folders: array[int]
    due: float = 0.0


class DirectoryScanner:
    """The regular files below ``root``; symbolic links are not followed.

    ``sweeps`` counts those that have come to their end.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sweeps = 0
        self._hot: dict[str, _Hot] = {}
        self._sweep: Iterator[Entry] | None = None
        self._scout: Iterator[Entry | None] | None = self._written_now()
        self._hurry = True
        self._credit = 0.0
        self._looked = time.monotonic()

    def look(
        self, has_room: Callable[[], bool] = lambda: True, *, whole: bool = False, wait: bool = True
    ) -> Iterator[Entry]:
        """Files that may be new or changed: those of hot folders, and what this slice of the sweep comes by.

        The first sweep and one asked for by :meth:`sweep_soon` go on for half a second, with ``whole`` any goes on to
        its end, as long as ``has_room`` says that there is room for what it finds. While there is none it waits, or,
        without ``wait``, goes on in slices to find what is fresh; beside a first sweep that waits, the scout looks for
        it. A look that is to be whole leaves hot folders to the sweep.
        """
        now = time.monotonic()
        for path in [path for path, hot in self._hot.items() if now >= hot.due and not whole]:
            hot = self._hot[path]
            known = self._unchanged(path, hot)
            yield from self._listed_anew(path, hot) if known is None else known
        self._credit = min(self._credit + _SWEEP_SHARE * (now - self._looked), _MOST_CREDIT_S)
        self._looked = now
        most_s = _URGENT_SLICE_S if self._hurry or not self.sweeps else 0.0
        yield from self._slice(has_room, most_s=math.inf if whole else most_s, wait=wait)
        if self.sweeps:
            self._scout = None
        elif self._scout is not None and not has_room():
            yield from self._scouted(self._scout)

    def wake(self) -> None:
        """Make the next look one at every hot folder."""
        for hot in self._hot.values():
            hot.due = 0.0

    def sweep_soon(self) -> bool:
        """Begin a sweep anew, and go through it at once; False where that was done too often for what it is worth."""
        if self._credit <= -_MOST_DEBT_S:
            return False
        self._sweep, self._hurry = None, True
        return True

    def _slice(self, has_room: Callable[[], bool], *, most_s: float, wait: bool) -> Iterator[Entry]:
        """Go on with the sweep for ``most_s`` seconds where there is room, and for its share of the time."""
        until = time.monotonic() + most_s
        sweep = self._sweep = self._sweep or self._walk()
        while (most_s and time.monotonic() < until and has_room()) or (self._credit > 0 and (has_room() or not wait)):
            began = time.thread_time()
            entry = next(sweep, None)
            self._credit = max(self._credit - (time.thread_time() - began), -_MOST_DEBT_S)
            if entry is None:
                self._sweep, self._hurry = None, False
                self.sweeps += 1
                break
            yield entry

    def _scouted(self, scout: Iterator[Entry | None]) -> Iterator[Entry]:
        until = time.thread_time() + _SCOUT_SLICE_S
        for entry in scout:
            if entry is not None:
                yield entry
            if time.thread_time() >= until:
                return
        self._scout = None

    def _written_now(self) -> Iterator[Entry | None]:
        """Every file that changed within the last minute, and None after each folder."""
        for listing in self._listings(0):
            fresh_ns = time.time_ns() - int(_WRITTEN_NOW_S * 1e9)
            yield from (entry for entry in listing.files if entry.stat.st_mtime_ns > fresh_ns)
            yield None

    def _walk(self) -> Iterator[Entry]:
        for listing in self._listings(_MOST_ORDERED if self._hurry or not self.sweeps else 0):
            yield from listing.files

    def _listings(self, ordered: int) -> Iterator[_Listing]:
        """Each folder below the root: that which changed last first, while no more than ``ordered`` of them wait."""
        waiting = [(0, str(self.root), 0)]
        while waiting:
            _, path, depth = heappop(waiting)
            listing = _listing(path)
            if listing is None:
                continue
            if path not in self._hot:
                self._warm(path, depth, listing)
            yield listing
            for folder in listing.folders:
                changed = _changed_ns(folder) if len(waiting) < ordered else None
                heappush(waiting, (_DOWN_FIRST - depth if changed is None else -changed, folder, depth + 1))

    def _unchanged(self, path: str, hot: _Hot) -> list[Entry] | None:
        """The files of a folder in which none has come or gone, else None. This is what most of the time goes to."""
        changed = _changed_ns(path)
        if changed is None or changed != hot.changed_ns or hot.listed_ns - changed < _UNSETTLED_NS:
            return None
        entries = []
        newest = changed
        for name in hot.files:
            try:
                found = os.stat(name, follow_symlinks=False)  # noqa: PTH116 - as above
            except OSError:
                continue
            newest = max(newest, found.st_mtime_ns)
            entries.append(Entry(name, found))
        self._schedule(path, hot, newest)
        return entries

    def _listed_anew(self, path: str, hot: _Hot) -> Iterator[Entry]:
        listing = _listing(path)
        if listing is None:
            del self._hot[path]
            return
        known = set(hot.folders)
        self._warm(path, hot.depth, listing)
        yield from listing.files
        for folder in listing.folders:
            if hash(folder) not in known:
                yield from self._enter(folder, hot.depth + 1)

    def _enter(self, path: str, depth: int) -> Iterator[Entry]:
        """The files of a folder that was not there before, and of all below it."""
        listing = _listing(path)
        if listing is None:
            return
        self._warm(path, depth, listing)
        yield from listing.files
        for folder in listing.folders:
            yield from self._enter(folder, depth + 1)

    def _warm(self, path: str, depth: int, listing: _Listing) -> None:
        hot = _Hot(
            depth,
            listing.changed_ns,
            listing.listed_ns,
            tuple(entry.path for entry in listing.files),
            array("q", map(hash, listing.folders)),
        )
        self._hot[path] = hot
        self._schedule(path, hot, listing.newest_ns())

    def _schedule(self, path: str, hot: _Hot, newest_ns: int) -> None:
        age = time.time() - newest_ns / 1e9
        if hot.depth <= _SHALLOW:
            slowest = _SHALLOW_EVERY_S
        elif age > (_FOLDERS_HOT_S if hot.folders else _FILES_HOT_S):
            del self._hot[path]
            return
        else:
            slowest = max(_HOT_EVERY_S, len(self._hot) * _ROUND_S_PER_FOLDER)
        hot.due = time.monotonic() + min(slowest, max(age / _FRESHNESS, 0.0))


def _listing(path: str) -> _Listing | None:
    changed = _changed_ns(path)
    if changed is None:
        return None
    listing = _Listing(changed, time.time_ns())
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    listing.folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False) and (found := _stat(entry.path)) is not None:
                    listing.files.append(Entry(entry.path, found))
    except OSError:
        return None
    return listing


def _changed_ns(path: str) -> int | None:
    """The time of a folder's last change; the root may be a link to one."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - no object per file
    except OSError:
        return None


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path, follow_symlinks=False)  # noqa: PTH116 - as above
    except OSError:
        return None
