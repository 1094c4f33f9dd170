"""Files that need no second look, eight bytes each: stamps of what every reader has read to its end."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from heapq import merge
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FinishedFiles", "common"]

_FEW = 4096


class FinishedFiles:
    """A set of 64-bit stamps, kept as a sorted array and the few that came since it was sorted.

    It forgets those of files that have gone or changed: what :meth:`holds` was not asked about while two sweeps
    came to their end, once it has grown to twice its size. ``stamps`` are what it begins with, in order.
    """

    def __init__(self, stamps: array[int] | None = None) -> None:
        self._sorted = stamps or array("q")
        self._fresh: set[int] = set()
        self._most = max(2 * len(self._sorted), 4 * _FEW)
        self._asked: array[int] | None = None
        self._until: list[int] = []

    def __len__(self) -> int:
        return len(self._sorted) + len(self._fresh)

    def holds(self, stamp: int) -> bool:
        """True if ``stamp`` is in it."""
        found = _has(self._sorted, stamp) or stamp in self._fresh
        if found and self._asked is not None:
            self._asked.append(stamp)
        return found

    def add(self, stamp: int) -> None:
        """Take in one more."""
        if self.holds(stamp):
            return
        self._fresh.add(stamp)
        if self._asked is not None:
            self._asked.append(stamp)
        if len(self._fresh) > max(_FEW, len(self._sorted) // 8):
            self._sorted = array("q", merge(self._sorted, sorted(self._fresh)))
            self._fresh.clear()

    def prune(self, sweeps: Sequence[int]) -> None:
        """Forget what is gone; ``sweeps`` counts those of each folder that have come to their end."""
        if self._asked is None and len(self) > self._most:
            self._asked, self._until = array("q"), [done + 2 for done in sweeps]
        elif self._asked is not None and all(done >= until for done, until in zip(sweeps, self._until, strict=True)):
            self._sorted, self._asked = array("q", sorted(set(self._asked))), None
            self._fresh.clear()
            self._most = max(2 * len(self), 4 * _FEW)


def common(parts: Iterable[array[int]]) -> array[int]:
    """The stamps, in order, that are in each of ``parts``, which are in order."""
    first, *others = parts
    return array("q", (stamp for stamp in first if all(_has(other, stamp) for other in others)))


def _has(stamps: array[int], stamp: int) -> bool:
    place = bisect_left(stamps, stamp)
    return place < len(stamps) and stamps[place] == stamp
