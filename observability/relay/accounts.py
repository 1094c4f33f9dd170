"""What became of the records of one sink: counts by stream, what waits, and what is wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Account", "Waiting"]

RESULTS = ("emitted", "stored", "duplicate", "rejected", "dropped")


@dataclass(slots=True)
class Waiting:
    """What is on disk and not yet answered for: bytes, and since when the oldest of them waits."""

    bytes: int = 0
    since: float | None = None

    def age_s(self, now: float) -> float:
        """Age of the oldest byte that waits."""
        return 0.0 if self.since is None else max(0.0, now - self.since)


@dataclass(slots=True)
class Account:
    """The books of one sink. ``totals`` are since the first start, ``recent`` since they were last taken."""

    sink: str
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    trouble: str = ""
    trouble_since: float = 0.0
    dead_letters: int = 0
    _recent: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, counts: list[tuple[str, str, int]]) -> None:
        """Add (stream, result, number) to the books."""
        with self._lock:
            for stream, result, number in counts:
                self.totals[stream, result] += number
                self._recent[stream, result] += number

    def take_recent(self) -> dict[tuple[str, str], int]:
        """What was added since the last call."""
        with self._lock:
            taken = dict(self._recent)
            self._recent.clear()
        return taken

    def ill(self, why: str) -> bool:
        """Note that the sink does not take records; True where that is news."""
        fresh = not self.trouble
        if fresh:
            self.trouble_since = time.time()
        self.trouble = why
        return fresh

    def well(self) -> bool:
        """Note that the sink takes records; True where that is news."""
        was = bool(self.trouble)
        self.trouble = ""
        return was

    def report(self, now: float) -> dict[str, Any]:
        """The books as JSON."""
        streams: dict[str, dict[str, Any]] = {}
        for (stream, result), number in sorted(self.totals.items()):
            streams.setdefault(stream, dict.fromkeys(RESULTS, 0))[result] = number
        for stream, waits in self.waiting.items():
            line = streams.setdefault(stream, dict.fromkeys(RESULTS, 0))
            line["lag_bytes"], line["lag_seconds"] = waits.bytes, round(waits.age_s(now), 1)
        return {
            "state": "unavailable" if self.trouble else "ok",
            "trouble": self.trouble,
            "dead_letters": self.dead_letters,
            "lag_bytes": sum(waits.bytes for waits in self.waiting.values()),
            "lag_seconds": round(max((waits.age_s(now) for waits in self.waiting.values()), default=0.0), 1),
            "streams": streams,
        }
