"""Series of the metric journal as OTLP metrics: what one interval says, as deltas.

A counter is a monotonic Sum (delta), a timer a Histogram without buckets (delta: count, sum, least, most) and gauges
for its percentiles, a gauge a Gauge, a set a Gauge of the distinct values of its interval.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from observability.catalog import AIRFLOW_METRICS, METRICS
from observability.relay.otlp import ids
from observability.relay.otlp.attributes import OF_RESOURCE
from observability.relay.otlp.wire import value

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["metrics_of"]

_DELTA: Final = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_UNITS = {"bytes": "By", "ms": "ms", "s": "s"}
"""UCUM, which OpenTelemetry asks for; a number of things is written as an annotation: ``{rows}``."""
_PERCENTILES = ("p50", "p95", "p99")


def metrics_of(fields: Mapping[str, Any], resource: Mapping[str, str]) -> list[Metric]:
    """The metrics of one series in one interval; empty for a document of another shape."""
    name, kind, number = fields.get("metric.name"), fields.get("metric.type"), fields.get("metric.value")
    if not isinstance(name, str) or isinstance(number, bool) or not isinstance(number, (int, float)):
        return []
    made = _metric(name)
    about = _attributes(fields, resource)
    end = ids.nanoseconds_of(fields.get("@timestamp"))
    start = max(0, end - int(fields.get("metric.interval") or 0) * 1_000_000)
    times = {"start_time_unix_nano": start, "time_unix_nano": end}
    if kind == "counter":
        made.sum.aggregation_temporality, made.sum.is_monotonic = _DELTA, True
        made.sum.data_points.add(as_double=number, attributes=about, **times)
        return [made]
    if kind != "timer":
        made.gauge.data_points.add(as_double=number, attributes=about, **times)
        return [made]
    made.histogram.aggregation_temporality = _DELTA
    values = {short: fields[f"metric.{short}"] for short in ("sum", "min", "max") if f"metric.{short}" in fields}
    made.histogram.data_points.add(count=int(fields.get("metric.count") or 0), attributes=about, **values, **times)
    return [
        made,
        *(_percentile(name, part, fields, about, times) for part in _PERCENTILES if f"metric.{part}" in fields),
    ]


def _percentile(
    name: str, part: str, fields: Mapping[str, Any], about: list[KeyValue], times: Mapping[str, int]
) -> Metric:
    made = _metric(name, f".{part}")
    made.gauge.data_points.add(as_double=fields[f"metric.{part}"], attributes=about, **times)
    return made


def _metric(name: str, ending: str = "") -> Metric:
    spec = METRICS.get(name) or AIRFLOW_METRICS.get(name)
    if spec is None:
        return Metric(name=name + ending)
    unit = _UNITS.get(spec.unit, f"{{{spec.unit}}}")
    return Metric(name=name + ending, unit=unit, description=spec.description)


def _attributes(fields: Mapping[str, Any], resource: Mapping[str, str]) -> list[KeyValue]:
    """The tags: fields of ours by their names, others as they were sent."""
    values = {
        name: one
        for name, one in fields.items()
        if not name.startswith(("metric.", "event.", "@")) and not (name in OF_RESOURCE and resource.get(name) == one)
    }
    if isinstance(tags := fields.get("metric.tags"), dict):
        values |= tags
    return [KeyValue(key=name, value=AnyValue.FromString(value(one))) for name, one in values.items()]
