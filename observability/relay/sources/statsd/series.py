"""Samples of one interval, folded into series: counters, gauges, timers and sets.

A metric may have so many series and no more; what comes above is folded into one series of it whose tags are
``folded``, and counted.
"""

from __future__ import annotations

import math
import random
import re
from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from observability.catalog import AIRFLOW_METRICS, METRICS, TAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Aggregate", "Key", "Series"]

Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Name, type (counter, gauge, timer, set) and sorted tags."""

_MOST_SAMPLES = 4096
_FIRST_SAMPLES = 64
_MOST_MEMBERS = 20_000
_MOST_BYTES = 33_554_432
"""Memory for the series of one interval, their samples and members."""
_SERIES_BYTES = 700
"""The bytes of a series beside its key."""
_MOST_GAUGES_BYTES = 8_388_608
"""Memory for gauges that are kept from one interval to the next."""
_UNBOUNDED_TAGS = frozenset({"run_id", "ti_id", "map_index", "try_number", "job_id", "id", "pid", "hostname_pid"})
"""Tags that would make a series for each run; they are left out."""
_OF_AIRFLOW = frozenset(
    {"dag_id", "task_id", "run_type", "team_name", "pool_name", "queue", "operator", "operator_name", "state",
     "bundle_name", "file_name", "hostname", "exception_class"}
)  # fmt: skip
"""Tags that Airflow's own metrics have, beside those of a DAG."""
_ALL = frozenset(TAGS)
_AIRFLOWS = frozenset(
    {"asset", "dag", "dagbag", "dagrun", "deadline", "executor", "operator", "pool", "previously", "resumable",
     "scheduler", "task", "ti", "triggerer", "triggers"}
)  # fmt: skip
"""The prefixes of Airflow's metrics that are about a DAG, or may be."""
_FIRST_WORD = re.compile(r"[._]")
FOLDED = (("folded", "true"),)
FOLDED_METRICS = "contrail.telemetry.folded_metrics"
"""The series of metrics for which there was no memory."""
_LONGEST_MEMBER = 64


class Room:
    """Bytes that are left of a limit."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, size: int) -> bool:
        """True if there was room for ``size`` bytes more; they are taken then."""
        if size > self.left:
            return False
        self.left -= size
        return True


@dataclass(slots=True)
class Series:
    """The samples of one series in this interval; what it keeps of them has to fit into ``room``."""

    kind: str
    room: Room
    count: float = 0.0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf
    last: float = 0.0
    keeps: int = _FIRST_SAMPLES
    samples: array[float] = field(default_factory=lambda: array("d"))
    members: set[bytes] = field(default_factory=set)

    def timing(self, value: float, weight: float) -> None:
        """Add a sample of a timer; above what it keeps, a random sample is kept for the percentiles."""
        self.count += weight
        self.total += value * weight
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        kept = len(self.samples)
        if kept < self.keeps:
            self.samples.append(value)
            if kept + 1 == self.keeps < _MOST_SAMPLES and self.room.take(8 * self.keeps):
                self.keeps *= 2
        elif (place := random.randrange(int(self.count) + 1)) < self.keeps:  # noqa: S311 - sampling, no secret
            self.samples[place] = value

    def member(self, value: bytes) -> None:
        """Add a value of a set; a long one is known by its hash."""
        self.count += 1
        if len(value) > _LONGEST_MEMBER:
            value = blake2b(value, digest_size=16).digest()
        if value not in self.members and len(self.members) < _MOST_MEMBERS and self.room.take(100 + len(value)):
            self.members.add(value)


class Aggregate:
    """The series of the current interval, bounded in number for each metric and in bytes for all; not thread-safe.

    ``folded`` counts the samples that went to the series in which a metric, or all metrics, are folded.
    """

    def __init__(self, budget: int = 2000) -> None:
        self.folded = 0
        self._budget = budget
        self._series: dict[Key, Series] = {}
        self._of_metric: dict[str, int] = {}
        self._gauges: dict[Key, float] = {}
        self._gauges_room = Room(_MOST_GAUGES_BYTES)
        self._room = Room(_MOST_BYTES)

    def series(self, key: Key, *, always: bool = False) -> Series:
        """The series of ``key``, or the one that it is folded into; with ``always`` there is memory for it."""
        found = self._series.get(key)
        if found is not None:
            return found
        name, kind, _ = key
        if self._of_metric.get(name, 0) >= self._budget:
            self.folded += 1
            key = (name, kind, FOLDED)
            if (found := self._series.get(key)) is not None:
                return found
        if not always and not self._room.take(_SERIES_BYTES + _bytes_of(key)):
            self.folded += key[2] is not FOLDED
            key = (FOLDED_METRICS, kind, FOLDED)
            if (found := self._series.get(key)) is not None:
                return found
        name = key[0]
        self._of_metric[name] = self._of_metric.get(name, 0) + 1
        found = self._series[key] = Series(kind, self._room, last=self._gauges.get(key, 0.0))
        return found

    def gauges(self) -> list[tuple[Key, float]]:
        """The gauges as they stand between two intervals."""
        return list(self._gauges.items())

    def remember(self, gauges: list[Any]) -> None:
        """Take over gauges from an earlier process, as :meth:`gauges` gave them and JSON carried them."""
        for (name, kind, tags), value in gauges:
            self._gauges[name, kind, tuple((tag, text) for tag, text in tags)] = value

    def take(self) -> list[tuple[Key, Series]]:
        """The series of the interval that ends; the next one begins. Gauges keep their value."""
        taken = [(key, series) for key, series in self._series.items() if series.count]
        for key, series in taken:
            if series.kind == "gauge" and (key in self._gauges or self._gauges_room.take(300 + _bytes_of(key))):
                self._gauges[key] = series.last
        self._series, self._of_metric, self.folded = {}, {}, 0
        self._room = Room(_MOST_BYTES)
        return taken


def _bytes_of(key: Key) -> int:
    name, _, tags = key
    return 2 * len(name) + sum(200 + 2 * (len(tag) + len(text)) for tag, text in tags)


def bounded(tags: Iterator[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Sorted tags without those whose values have no bound."""
    return tuple(sorted((key, value) for key, value in tags if key and key not in _UNBOUNDED_TAGS))


def metric_document(  # noqa: PLR0913, PLR0917 - what it is made of
    key: Key, series: Series, interval: str, interval_ms: int, when: str, common: dict[str, Any]
) -> dict[str, Any]:
    """One series of one interval as a document; its id is a function of host, the interval's name and series."""
    name, kind, tags = key
    fields = _fields_of(name)
    own = {TAGS[tag]: value for tag, value in tags if tag in fields}
    other = {tag: value for tag, value in tags if tag not in fields}
    if "env" in other and other["env"] == common.get("service.environment"):
        del other["env"]
    identity = repr((common.get("host.name"), interval, key)).encode("utf-8", "replace")
    document: dict[str, Any] = {
        "event.id": blake2b(identity, digest_size=16).hexdigest(),
        "@timestamp": when,
        "event.kind": "metric",
        "metric.name": name,
        "metric.type": kind,
        "metric.interval": interval_ms,
        **_values(series),
        **common,
        **own,
    }
    if other:
        document["metric.tags"] = other
    return document


def _fields_of(name: str) -> frozenset[str]:
    """The tags of a metric that become fields of ours.

    One of Airflow's has those that Airflow itself gives it: with ``dag_tags_in_metrics`` (3.4) the tag ``env:prod`` of
    a DAG is a tag of its metrics too, and says nothing of ``service.environment``; ``team:`` and ``pool:`` likewise.
    """
    if name in METRICS or (name not in AIRFLOW_METRICS and _FIRST_WORD.split(name, maxsplit=1)[0] not in _AIRFLOWS):
        return _ALL
    return _OF_AIRFLOW


def _values(series: Series) -> dict[str, Any]:
    if series.kind == "set":
        return {"metric.value": len(series.members), "metric.count": round(series.count)}
    if series.kind == "gauge":
        return {"metric.value": series.last, "metric.count": round(series.count)}
    if series.kind == "counter":
        return {"metric.value": series.total, "metric.count": round(series.count), "metric.sum": series.total}
    ordered = sorted(series.samples)
    return {
        "metric.value": series.total / series.count,
        "metric.count": round(series.count),
        "metric.sum": series.total,
        "metric.min": series.least,
        "metric.max": series.most,
        "metric.p50": _percentile(ordered, 0.50),
        "metric.p95": _percentile(ordered, 0.95),
        "metric.p99": _percentile(ordered, 0.99),
    }


def _percentile(ordered: list[float], part: float) -> float:
    place = (len(ordered) - 1) * part
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
