"""Decide when a relay reports a sink: it takes no records, refuses each document of a stream, or some for good.

What was reported is kept on disk, so that a relay that is started again reports the end of it too.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import orjson

from observability.emit import emit
from observability.events import SinkFailed, SinkRecovered
from observability.owner_only_files import replace_file
from observability.regular_files import NotRegular, read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from observability.relay.delivery_stats import DeliveryStats

    Report = SinkFailed | SinkRecovered

__all__ = ["SinkAlarms"]

_PATIENCE_S = 30.0
_QUIET_S = 600.0
"""Dead letters that have not grown for so long are no incident any more; they stay until they are replayed."""
_MOST_WAITING = 100


class SinkAlarms:
    """Emits ``sink.failed`` and ``sink.recovered`` for the sinks of one relay."""

    def __init__(self, path: Path, *, patience_s: float = _PATIENCE_S, quiet_s: float = _QUIET_S) -> None:
        self._path = path
        self._patience_s, self._quiet_s = patience_s, quiet_s
        self._host = socket.gethostname()
        self._firing: dict[str, float] = _read(path)
        self._refused: dict[str, int] = {}
        self._grew: dict[str, float] = {}
        self._waiting: list[Report] = []

    def look(self, sinks: Iterable[DeliveryStats], now: float) -> None:
        """Report what has begun and what is over."""
        reports = [*self._waiting, *self._found(sinks, now)]
        self._waiting = [] if self._emit(reports) else reports[-_MOST_WAITING:]

    def _found(self, sinks: Iterable[DeliveryStats], now: float) -> Iterator[Report]:
        for stats in sinks:
            stage = f"{stats.sink} of {self._host}"
            letters = f"{stage}: dead letters"
            # one fault is one report: a stream whose first refusals are reported is not reported again at the hundredth
            why = "" if letters in self._firing else stats.refusing
            if stats.trouble and now - stats.trouble_since >= self._patience_s:
                why = f"it takes no records: {stats.trouble}"
            over = not stats.trouble and not why
            for report in (
                self._report(stats.sink, stage, why, over, "it takes records again", now),
                self._look_at_dead_letters(stats, letters, now),
            ):
                if report is not None:
                    yield report

    def _look_at_dead_letters(self, stats: DeliveryStats, stage: str, now: float) -> Report | None:
        grown = stats.refused - self._refused.get(stats.sink, 0)
        if grown > 0:
            self._refused[stats.sink] = stats.refused
            self._grew[stats.sink] = now
        why = f"{grown} documents were refused for good; the last: {stats.last_refusal}" if grown > 0 else ""
        if stats.refusing:  # reported of the sink itself already
            why = ""
        quiet = now - self._grew.setdefault(stats.sink, now) >= self._quiet_s
        over = not why and not stats.refusing and (quiet or stats.dead_letters == 0)
        said = "they were sent again" if stats.dead_letters == 0 else "no more documents are refused"
        return self._report(stats.sink, stage, why, over, said, now, grown)

    def _report(  # noqa: PLR0913, PLR0917 - one statement with its parts
        self, sink: str, stage: str, why: str, over: bool, said: str, now: float, lost: int = 0
    ) -> Report | None:
        about: dict[str, Any] = {"stage": stage, "sink": sink, "discriminator": f"{stage}:{now}"}
        when = datetime.fromtimestamp(now, timezone.utc)
        if why and stage not in self._firing:
            self._firing[stage] = now
            return SinkFailed(reason=why, lost=lost or None, time=when, **about)
        if over and stage in self._firing:
            lasted = max(0, int((now - self._firing.pop(stage)) * 1e9))
            return SinkRecovered(reason=said, duration_ns=lasted, time=when, **about)
        return None

    def _emit(self, reports: list[Report]) -> bool:
        """Emit the reports if the disk takes a record: a full one is what often ails a sink. False: they wait."""
        if not reports:
            return True
        if not _takes_a_record(self._path.parent):
            return False
        for report in reports:
            emit(report)
        replace_file(self._path, orjson.dumps(self._firing))
        return True


def _takes_a_record(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail > 0 and not found.f_flag & os.ST_RDONLY


def _read(path: Path) -> dict[str, float]:
    try:
        found = orjson.loads(read_regular(path))
    except (FileNotFoundError, NotRegular, orjson.JSONDecodeError):
        return {}
    now = time.time()
    return {str(stage): min(float(since), now) for stage, since in found.items()} if isinstance(found, dict) else {}
