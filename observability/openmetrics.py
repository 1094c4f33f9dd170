"""Series as Prometheus scrapes them: cumulative, bounded, in OpenMetrics or Prometheus' older text, over HTTP.

Names and kinds are those that statsd_exporter makes with our mapping: ``_total`` for a counter, seconds and a histogram
for a timer. Airflow's own metrics begin with ``airflow_``.
"""

from __future__ import annotations

import math
import re
import threading
import time
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, NamedTuple, cast

from observability.bounded_server import BoundedServer
from observability.catalog import AIRFLOW_METRICS, METRICS, MetricSpec
from observability.contain import contained, count_loss
from observability.dashboards.statsd_exporter import BUCKETS, prometheus_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from observability.catalog import MetricType

__all__ = ["Exemplar", "Exposition", "MetricsServer", "Tags"]

Tags = tuple[tuple[str, str], ...]
"""Sorted tags of a series."""
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
_GAUGE_TTL_S = 3600.0
"""As in the mapping for statsd_exporter: a gauge that nobody sets any more is not shown for ever."""
_MOST_SERIES = 50_000
_FOLDED: Tags = (("folded", "true"),)
_ILLEGAL = re.compile(r"[^a-zA-Z0-9_]")
_KINDS = {"counter": "counter", "gauge": "gauge", "set": "gauge", "timer": "histogram"}
_FIRST_WORD = re.compile(r"[._]")
_AIRFLOWS = frozenset(_FIRST_WORD.split(name, maxsplit=1)[0] for name in AIRFLOW_METRICS)
_ESCAPES = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
_UNESCAPED = re.compile(r'[\\"\n]')


class Exemplar(NamedTuple):
    """An observation of a series that a trace explains: its trace, its value, and when it was (s since 1970)."""

    trace: str
    value: float
    when: float


@dataclass(slots=True)
class _Series:
    total: float = 0.0
    seen: float = 0.0
    created: float = field(default_factory=time.time)
    buckets: list[float] = field(default_factory=list)
    count: float = 0.0


@dataclass(slots=True)
class _Family:
    kind: str
    help: str
    series: dict[Tags, _Series] = field(default_factory=dict)


class Exposition:
    """The series of this process since it began; ``budget`` is the most that one metric may have. Thread-safe."""

    def __init__(self, budget: int = 2000) -> None:
        self._budget = budget
        self._families: dict[str, _Family] = {}
        self._size = 0
        self._lock = threading.Lock()

    def add(  # noqa: PLR0913, PLR0917 - a series
        self, name: str, kind: str, tags: Tags, value: float, samples: Sequence[float] = (), count: float = 0
    ) -> None:
        """Add what one interval says of a series.

        ``value`` is the sum of a counter or timer and the last value of a gauge; ``samples`` of ``count`` are what a
        timer's histogram is made of.
        """
        spec = METRICS.get(name) or AIRFLOW_METRICS.get(name)
        shown = family_name(name, kind)
        with self._lock:
            family = self._families.get(shown)
            if family is None:
                family = self._families[shown] = _Family(_KINDS[kind], spec.description if spec else "")
            if family.kind != _KINDS[kind]:
                count_loss("openmetrics", "series whose name has another type already")
                return
            series = self._series(family, tags)
            series.seen = time.time()
            if family.kind == "gauge":
                series.total = value
            elif family.kind == "counter":
                series.total += max(0.0, value)
            else:
                _add_samples(series, samples, count, value, 1.0 if spec and spec.unit == "s" else 1e-3)

    def text(self, exemplars: Mapping[tuple[str, Tags], Exemplar] | None = None, *, openmetrics: bool = True) -> bytes:
        """Every series; in OpenMetrics with its ``exemplars``, by the name of the family and the tags."""
        lines: list[str] = []
        now = time.time()
        with self._lock:
            for name, family in sorted(self._families.items()):
                shown = name if openmetrics or family.kind != "counter" else f"{name}_total"
                head = [f"# TYPE {shown} {family.kind}"]
                if family.help:
                    head.append(f"# HELP {shown} {_escaped(family.help)}")
                body = [
                    line
                    for tags, series in family.series.items()
                    if family.kind != "gauge" or now - series.seen < _GAUGE_TTL_S
                    for line in _lines(
                        name, family.kind, tags, series, (exemplars or {}).get((name, tags)), openmetrics
                    )
                ]
                lines += [*head, *body] if body else []
        if openmetrics:
            lines.append("# EOF")
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")

    def _series(self, family: _Family, tags: Tags) -> _Series:
        found = family.series.get(tags)
        if found is None and (len(family.series) >= self._budget or self._size >= _MOST_SERIES):
            tags = _FOLDED
            found = family.series.get(tags)
        if found is None:
            found = family.series[tags] = _Series()
            self._size += 1
        return found


def family_name(name: str, kind: str) -> str:
    """Name of the metric's family: without ``_total``, which only the samples of a counter have."""
    spec = METRICS.get(name) or AIRFLOW_METRICS.get(name) or MetricSpec(cast("MetricType", kind), "", "", ())
    is_airflows = name in AIRFLOW_METRICS or _FIRST_WORD.split(name, maxsplit=1)[0] in _AIRFLOWS
    shown = _ILLEGAL.sub("_", prometheus_name(f"airflow.{name}" if is_airflows else name, spec))
    shown = shown.removesuffix("_total") if kind == "counter" else shown
    return f"_{shown}" if shown[:1].isdigit() else shown


def _add_samples(series: _Series, samples: Sequence[float], count: float, total: float, scale: float) -> None:
    """Add a timer's samples to the buckets; where they are a part of ``count``, each stands for several."""
    if not series.buckets:
        series.buckets = [0.0] * (len(BUCKETS) + 1)
    weight = count / len(samples) if samples else 0.0
    for sample in samples:
        series.buckets[bisect_left(BUCKETS, sample * scale)] += weight
    series.count += count if samples else 0.0
    series.total += total * scale


def _lines(  # noqa: PLR0913, PLR0917 - one series
    name: str, kind: str, tags: Tags, series: _Series, exemplar: Exemplar | None, openmetrics: bool
) -> Iterable[str]:
    suffix = _exemplar(exemplar) if exemplar is not None and openmetrics else ""
    if kind == "gauge":
        yield f"{name}{_labels(tags)} {_number(series.total)}"
    elif kind == "counter":
        yield f"{name}_total{_labels(tags)} {_number(series.total)}{suffix}"
        if openmetrics:
            yield f"{name}_created{_labels(tags)} {series.created:.3f}"
    else:
        place = bisect_left(BUCKETS, exemplar.value) if exemplar is not None else -1
        below = 0.0
        for number, bound in enumerate((*BUCKETS, math.inf)):
            below += series.buckets[number]
            edge = "+Inf" if bound == math.inf else f"{float(bound)}"
            shown = round(series.count) if bound == math.inf else min(round(below), round(series.count))
            yield f"{name}_bucket{_labels((*tags, ('le', edge)))} {shown}{suffix if number == place else ''}"
        yield f"{name}_count{_labels(tags)} {round(series.count)}"
        yield f"{name}_sum{_labels(tags)} {_number(series.total)}"
        if openmetrics:
            yield f"{name}_created{_labels(tags)} {series.created:.3f}"


def _exemplar(one: Exemplar) -> str:
    return f' # {{trace_id="{_escaped(one.trace)}"}} {_number(one.value)} {one.when:.3f}'


def _labels(tags: Tags) -> str:
    if not tags:
        return ""
    named: dict[str, str] = {}
    for tag, value in tags:
        name = _ILLEGAL.sub("_", tag) or "_"
        named.setdefault(f"_{name}" if name[0].isdigit() else name, value)
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in named.items()) + "}"


def _escaped(text: str) -> str:
    return _UNESCAPED.sub(lambda found: _ESCAPES[found[0]], text)


def _number(value: float) -> str:
    if math.isfinite(value):
        return f"{int(value)}" if value == int(value) and abs(value) < 2**53 else repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


class MetricsServer:
    """``GET /metrics`` on ``host:port`` until :meth:`stop`. Raises OSError where the address cannot be had."""

    def __init__(self, text: Callable[[bool], bytes], host: str, port: int) -> None:
        class Handler(_Handler):
            metrics = staticmethod(text)

        self._server = BoundedServer((host, port), Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.5,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """Answers one path."""

    metrics: Callable[[bool], bytes]

    def do_GET(self) -> None:
        """Answer a scrape."""
        if self.path.partition("?")[0] != "/metrics":
            self.send_error(404)
            return
        openmetrics = "application/openmetrics-text" in (self.headers.get("accept") or "")
        with contained("openmetrics"):
            body = type(self).metrics(openmetrics)
            self.send_response(200)
            self.send_header("content-type", OPENMETRICS if openmetrics else TEXT)
            self.send_header("content-length", str(len(body)))
            with suppress(OSError):  # who asks may go away
                self.end_headers()
                self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of a scrape."""
