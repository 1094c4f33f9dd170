"""Read a server or this host again and again in a thread of its own, and keep what it said for the next interval.

A server that is slow or gone holds up nobody but its own thread. It is said once, counted each time, and its metric
``up`` is 0 until it answers again.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from observability.contain import count_loss, own_fault
from observability.errors import ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Growth", "Reader", "Reading", "Sample"]

_FRESH = 3
"""A gauge is shown for so many intervals after it was read."""


class Sample(NamedTuple):
    """A metric of the catalogue: its name, type, value and tags."""

    metric: str
    kind: str
    value: float
    tags: Mapping[str, str]


class Reader(Protocol):
    """One server, or this host. Used by one thread."""

    name: str

    def read(self) -> list[Sample]:
        """Read it now, within seconds; a counter says its growth since the reading before. Raises ServerUnavailable."""

    def presence(self, *, up: bool) -> list[Sample]:
        """The metric that says whether it answers, where it has one."""


class Growth:
    """Growth of numbers that only grow; one that is less than before was begun anew."""

    def __init__(self) -> None:
        self._before: dict[Any, float] = {}

    def of(self, key: Any, total: float) -> float:
        """The growth of a number since it was asked for last; 0 the first time."""
        before = self._before.get(key)
        self._before[key] = total
        if before is None:
            return 0.0
        return total - before if total >= before else total


class Reading(threading.Thread):
    """Reads by ``reader`` each ``interval_s`` until :meth:`stop`; ``say`` gets a sentence when it fails or is back."""

    def __init__(self, reader: Reader, interval_s: float, env: str, say: Callable[[str], None]) -> None:
        super().__init__(name=f"relay-{reader.name}", daemon=True)
        self._reader, self._interval_s, self._env, self._say = reader, interval_s, env, say
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._gauges: list[Sample] = []
        self._others: list[Sample] = []
        self._read_at = 0.0
        self._began = time.monotonic()
        self._failed_now = 0
        self.reads = reader.name
        self.failed = 0
        self.why = ""

    def run(self) -> None:
        """Read until stopped."""
        while not self._stopping.is_set():
            due = time.monotonic() + self._interval_s
            self._look()
            self._stopping.wait(max(0.0, due - time.monotonic()))

    def stop(self) -> None:
        """Read no more; a reading that hangs is left to itself."""
        self._stopping.set()

    def take(self) -> list[tuple[str, str, float, dict[str, str]]]:
        """The samples for an interval that ends now; never waits for the server."""
        with self._lock:
            is_fresh = self._silent_s() < _FRESH * self._interval_s
            found = [*self._others, *(self._gauges if is_fresh else ())]
            self._others = []
            if self._failed_now:
                lost = Sample("contrail.telemetry.losses", "counter", self._failed_now, self._stage())
                found.append(lost)
                self._failed_now = 0
        if self._read_at or self.why:
            found += self._reader.presence(up=not self.why and is_fresh)
        return [(one.metric, one.kind, one.value, {**one.tags, "env": self._env}) for one in found]

    def report(self) -> dict[str, Any]:
        """The state for the relay's status: ok or failing, why, and the number of failures."""
        silent_s = self._silent_s()
        why = self.why or (f"no answer for {silent_s:.0f} s" if silent_s > _FRESH * self._interval_s else "")
        return {"state": "failing" if why else "ok", "why": why, "failed": self.failed}

    def _silent_s(self) -> float:
        return time.monotonic() - (self._read_at or self._began)

    def _look(self) -> None:
        try:
            samples = self._reader.read()
        except ServerUnavailable as error:
            self._fail(str(error))
        except Exception as error:
            if not own_fault("relay.components", error):
                raise
            self._fail(f"Contrail failed at {self._reader.name}: {type(error).__name__}")
        else:
            with self._lock:
                self._gauges = [one for one in samples if one.kind == "gauge"]
                self._others += [one for one in samples if one.kind != "gauge"]
                self._read_at = time.monotonic()
            if self.why:
                self.why = ""
                self._say(f"relay: the metrics of the {self._reader.name} can be read again")

    def _fail(self, why: str) -> None:
        """Count a failure; the first of several in a row is an event too, and is said."""
        self.failed += 1
        if self.why:
            with self._lock:
                self._failed_now += 1
        else:
            count_loss("relay.components", self._stage()["reason"])
            self._say(f"relay: cannot read the metrics of the {self._reader.name}: {why}")
        self.why = why

    def _stage(self) -> dict[str, str]:
        return {"stage": "relay.components", "reason": f"metrics of the {self._reader.name} that could not be read"}
