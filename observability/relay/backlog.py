"""The bytes of each file that a sink has not acknowledged, and how long the oldest of them has waited.

The relay's main thread measures, from what the registry sees and the sink worker has acknowledged: a worker that is
held up by its sink could not say so itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from observability.relay.delivery_stats import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from observability.relay.sink_worker import SinkWorker
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["Backlog"]

_MARKS_MOST = 128


class Backlog:
    """The backlog of one sink worker. Used by one thread."""

    def __init__(self, worker: SinkWorker) -> None:
        self._worker = worker
        self._marks: dict[str, deque[tuple[int, float]]] = {}
        self._recalled: dict[str, int] = {}

    def measure(self, files: Iterable[TailedFile], now: float) -> None:
        """Count what waits by dataset, into the statistics of the worker."""
        waiting: dict[str, Waiting] = {}
        marks: dict[str, deque[tuple[int, float]]] = {}
        recalled: dict[str, int] = {}
        for file in files:
            position = self._position(file, recalled)
            if file.size <= position:
                continue
            marks[file.identity] = mine = self._marks.get(file.identity) or deque()
            _note(mine, position, file.size, min(now, file.changed))
            waits = waiting.setdefault(file.stream.dataset, Waiting())
            waits.bytes += file.size - position
            waits.since = mine[0][1] if waits.since is None else min(waits.since, mine[0][1])
        self._marks, self._recalled = marks, recalled
        self._worker.stats.waiting = waiting

    def _position(self, file: TailedFile, recalled: dict[str, int]) -> int:
        """Up to where the file is acknowledged; a worker that has not come to it yet is asked for its checkpoint."""
        position = self._worker.position(file)
        if position >= 0:
            return position
        if (known := self._recalled.get(file.identity)) is None:
            cursor = self._worker.recall(file.identity)
            if cursor is None:  # the checkpoint itself cannot be opened: nothing is known, and the statistics say why
                return file.size
            known = cursor.offset
        recalled[file.identity] = known
        return known


def _note(marks: deque[tuple[int, float]], position: int, size: int, arrived: float) -> None:
    """Keep (end, time) marks: the bytes before ``end`` that no earlier mark covers were there at ``time``."""
    if marks and marks[-1][0] > size:  # another file under the same identity
        marks.clear()
    while marks and marks[0][0] <= position:
        marks.popleft()
    if not marks or marks[-1][0] < size:
        marks.append((size, arrived))
    if len(marks) > _MARKS_MOST:
        kept = [marks[0], *list(marks)[1:-1:2], marks[-1]]
        marks.clear()
        marks.extend(kept)
