"""Signals as CloudWatch metrics: name, dimensions and statistic."""

from __future__ import annotations

from dataclasses import dataclass

from observability import catalog
from observability.dashboards.signals import Question, Ratio, Signal, measure, metric_spec, unit

__all__ = ["Series", "search", "series_of"]

_STATISTICS = {
    "sum": "Sum",
    "max": "Maximum",
    "min": "Minimum",
    "average": "Average",
    "last": "Maximum",
    "count": "SampleCount",
}


@dataclass(frozen=True, slots=True)
class Series:
    """A metric under one of its dimension sets; ``tag`` is the dimension it is split by, '' for none."""

    title: str
    metric: str
    statistic: str
    where: tuple[tuple[str, str], ...]
    tag: str
    unit: str

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of its dimensions besides ``env``."""
        return (*(tag for tag, _ in self.where), *((self.tag,) if self.tag else ()))


def series_of(question: Question, by: tuple[str, ...]) -> tuple[Series, ...] | None:
    """The series that answer a question (a ratio: its two parts); None where only the logs can."""
    if isinstance(question, Ratio):
        found = [_series(part, by) for part in (question.top, question.bottom)]
    else:
        found = [_series(question, by)]
    return None if None in found else tuple(one for one in found if one is not None)


def search(series: Series, namespace: str, environment: str, period_s: int) -> str:
    """The expression that finds a split series, whatever values its dimension has by then."""
    schema = ",".join((namespace, "env", *series.dimensions))
    fixed = "".join(f' {tag}="{value}"' for tag, value in series.where)
    wanted = f'{{{schema}}} MetricName="{series.metric}" env="{environment}"{fixed}'
    return f"SEARCH('{wanted}', '{series.statistic}', {period_s})"


def _series(signal: Signal, by: tuple[str, ...]) -> Series | None:
    found = signal if signal.source == "metrics" else signal.series
    if found is None or found.shift or signal.shift:
        return None
    sets = catalog.DIMENSIONS.get(found.metric, ())
    where = tuple((_tag(field, found.metric), values[0]) for field, values in found.where if len(values) == 1)
    tag = next((tag for field in by if (tag := _tag(field, found.metric)) and ("env", tag) in sets), "")
    if (by and not tag) or len(where) != len(found.where):
        return None
    aggregate, field = measure(found)
    statistic = "p95" if field == "metric.p95" else _STATISTICS[aggregate]
    series = Series(found.title, found.metric, statistic, where, tag, unit(found))
    return series if ("env", *series.dimensions) in sets else None


def _tag(field: str, metric: str) -> str:
    """The tag of ``metric`` that becomes ``field``, '' where it has none."""
    return next((tag for tag in metric_spec(metric).tags if catalog.TAGS[tag] == field), "")
