"""Files that a worker leaves alone: for a while when it fails at one, until it changes when it fails too often."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["LeftAlone"]

_REST_S = 30.0
_STRIKES_MOST = 5
"""A file whose next bytes we fail at so often is left alone until it changes."""


class LeftAlone:
    """Know which files one worker does not read now."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._stamps: dict[str, int] = {}
        self._strikes: Counter[tuple[str, int]] = Counter()

    def rest(self, file: TailedFile) -> None:
        """Leave a file alone for half a minute."""
        self._until[file.identity] = time.monotonic() + _REST_S

    def strike(self, file: TailedFile, offset: int) -> tuple[int, bool]:
        """Count a failure at ``offset``: how many there were, and whether this one was the last try."""
        where = file.identity, offset
        self._strikes[where] += 1
        times = self._strikes[where]
        self._stamps[file.identity] = file.seen[1] if times >= _STRIKES_MOST else 0
        self.rest(file)
        return times, times == _STRIKES_MOST

    def __contains__(self, file: TailedFile) -> bool:
        if not self._until:
            return False
        stamp = self._stamps.get(file.identity, 0)
        rests = self._until.get(file.identity, 0.0) >= time.monotonic()
        return rests or (stamp != 0 and stamp == file.seen[1])
