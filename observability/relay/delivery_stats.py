"""The delivery of one sink's records: counts by stream, what waits, and what is wrong."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DeliveryStats", "Waiting"]

_LOUD = 100
"""So many documents of one stream refused in a row are not the documents' own fault."""
RESULTS = ("emitted", "stored", "duplicate", "rejected", "dropped")
"""The results of what was read. ``history`` beside them counts what was too old for the sink at its first start."""


@dataclass(slots=True)
class Waiting:
    """The backlog on disk that is not yet acknowledged: bytes, and since when the oldest of them waits."""

    bytes: int = 0
    since: float | None = None

    def age_s(self, now: float) -> float:
        """Age of the oldest byte that waits."""
        return 0.0 if self.since is None else max(0.0, now - self.since)


@dataclass(slots=True)
class Refusals:
    """Documents of one stream that were refused one after the other, none of them taken: how many, since when, why."""

    number: int
    since: float
    reason: str


@dataclass(slots=True)
class DeliveryStats:
    """The counts of one sink. ``totals`` are since the first start, ``recent`` since they were last taken.

    ``trouble`` is why it takes no records now, ``remark`` what it does not do although it takes them.
    """

    sink: str
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    trouble: str = ""
    trouble_since: float = 0.0
    remark: str = ""
    dead_letters: int = 0
    refused: int = 0
    last_refusal: str = ""
    refusals: dict[str, Refusals] = field(default_factory=dict)
    _recent: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, counts: list[tuple[str, str, int]]) -> None:
        """Add (stream, result, number) to the counts."""
        with self._lock:
            for stream, result, number in counts:
                self.totals[stream, result] += number
                self._recent[stream, result] += number

    def take_recent(self) -> dict[tuple[str, str], int]:
        """The counts since the last call."""
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

    def judged(self, stream: str, taken: int, refused: int, reason: str) -> str:
        """Note how many documents of a stream were taken and refused; a sentence where that changes what is said."""
        self.refused += refused
        self.last_refusal = reason or self.last_refusal
        run = self.refusals.get(stream)
        if taken:
            was_loud = run is not None and run.number >= _LOUD
            self.refusals.pop(stream, None)
            return f"{stream} is taken again" if was_loud else ""
        if not refused:
            return ""
        if run is None:
            run = self.refusals[stream] = Refusals(0, time.time(), reason)
        before, run.number, run.reason = run.number, run.number + refused, reason
        return (
            f"each of the last {run.number} documents of {stream} was refused: {reason}"
            if before < _LOUD <= run.number
            else ""
        )

    def lag_s(self, now: float) -> float:
        """Age of the oldest record that waits; at least as long as the sink takes none."""
        waits = max((waits.age_s(now) for waits in self.waiting.values()), default=0.0)
        return max(waits, now - self.trouble_since) if self.trouble else waits

    @property
    def refusing(self) -> str:
        """The streams of which every document is refused, and why; '' where there is none."""
        loud = [(stream, run) for stream, run in sorted(self.refusals.items()) if run.number >= _LOUD]
        return "; ".join(
            f"each of the last {run.number} documents of {name} was refused: {run.reason}" for name, run in loud
        )

    def report(self, now: float) -> dict[str, Any]:
        """The counts as JSON."""
        refusing = self.refusing
        streams: dict[str, dict[str, Any]] = {}
        for (stream, result), number in sorted(self.totals.items()):
            streams.setdefault(stream, dict.fromkeys(RESULTS, 0))[result] = number
        for stream, waits in self.waiting.items():
            line = streams.setdefault(stream, dict.fromkeys(RESULTS, 0))
            line["lag_bytes"], line["lag_seconds"] = waits.bytes, round(waits.age_s(now), 1)
        return {
            "state": "unavailable" if self.trouble else "refusing" if refusing else "ok",
            "trouble": self.trouble or refusing,
            "trouble_since": self.trouble_since if self.trouble else None,
            "remark": self.remark,
            "dead_letters": self.dead_letters,
            "lag_bytes": sum(waits.bytes for waits in self.waiting.values()),
            "lag_seconds": round(self.lag_s(now), 1),
            "streams": streams,
        }
