"""The limit of the disk that unsent records hold, and what goes first when it is reached.

Counted are logs that Airflow has deleted and only the spool still holds, and journals not yet sent. Above the
limit the debug lines of the oldest such log go first, then the oldest such log, then the oldest journal of
metrics; events are never given up. What goes is counted for each sink that had not got it and told as
``telemetry.lost``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from observability.catalog import RECEIVED
from observability.contain import count_loss
from observability.relay.steps.drop_debug_lines import without_debug

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from observability.relay.sink_worker import SinkWorker
    from observability.relay.sources.files.registry import FileRegistry
    from observability.relay.sources.files.spool import Spool
    from observability.relay.sources.files.tailed_file import TailedFile

__all__ = ["DiskQuota"]

_EVERY_S = 10.0
_DAY_S = 86_400.0


class DiskQuota:
    """Keeps what ``registry`` holds for ``workers`` below ``limit_bytes``, journals for ``retention_days``."""

    def __init__(  # noqa: PLR0913 - what it watches, and its limits
        self,
        registry: FileRegistry,
        spool: Spool,
        workers: Sequence[SinkWorker],
        *,
        limit_bytes: int,
        journals: Path,
        retention_days: int,
    ) -> None:
        self.held_bytes = 0
        self._registry = registry
        self._spool = spool
        self._workers = workers
        self._limit = limit_bytes
        self._journals = journals
        self._keep_s = retention_days * _DAY_S
        self._due = 0.0
        self._looked_through: set[str] = set()

    def enforce(self, *, now: bool = False) -> None:
        """Look every ten seconds whether the limit is kept, and keep it."""
        if time.monotonic() < self._due and not now:
            return
        self._due = time.monotonic() + _EVERY_S
        self._forget_journals()
        self.held_bytes = sum(map(self._held, self._registry.files))
        for shrink, candidates in (
            (self._thin, self._orphans),
            (self._give_up, self._orphans),
            (self._give_up, self._old_metrics),
        ):
            for file in candidates() if self.held_bytes > self._limit else ():
                if self.held_bytes > self._limit:
                    self.held_bytes -= shrink(file)

    def _orphans(self) -> list[TailedFile]:
        return sorted((file for file in self._registry.files if file.gone and file.stream.prefix), key=_age)

    def _old_metrics(self) -> list[TailedFile]:
        metrics = ("airflow.statsd", *RECEIVED)
        return sorted((file for file in self._registry.files if file.stream.dataset in metrics), key=_age)[:-1]

    def _held(self, file: TailedFile) -> int:
        if file.stream.prefix:
            return file.size if file.gone else 0
        return max(0, file.size - min((max(worker.position(file), 0) for worker in self._workers), default=0))

    def _thin(self, file: TailedFile) -> int:
        if file.ids or file.spooled is None or file.identity in self._looked_through:
            return 0
        positions = [max(worker.position(file), 0) for worker in self._workers]
        kept = self._spool.kept(file)
        dropped = without_debug(file.readable, kept, min(positions))
        if not dropped:
            self._looked_through.add(file.identity)
            kept.unlink()
            return 0
        for worker, position in zip(self._workers, positions, strict=True):
            worker.dropped(file, sum(offset >= position for offset in dropped), "debug lines at the disk limit")
        count_loss("relay.spool", "debug lines dropped at the disk limit", len(dropped))
        saved = file.size - self._registry.replace_by(file, kept)
        return max(saved, 0)

    def _give_up(self, file: TailedFile) -> int:
        lines = file.readable.read_bytes().count(b"\n")
        for worker in self._workers:
            worker.dropped(file, lines, "records at the disk limit")
        count_loss("relay.spool", "records dropped at the disk limit", lines)
        self._registry.discard(file)
        if not file.stream.prefix:
            file.path.unlink(missing_ok=True)
        return file.size

    def _forget_journals(self) -> None:
        for path in self._journals.glob("*.journal"):
            found = path.stat()
            if time.time() - found.st_mtime > self._keep_s and self._registry.is_done(found):
                path.unlink()


def _age(file: TailedFile) -> float:
    return file.changed
