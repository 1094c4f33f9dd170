"""Signals and monitors as PromQL.

``increase()`` does not see the first event of a series, because a counter that appears with 1 was never 0. Here single
events matter, so growth is "now less than then, or all of it where there was nothing then".
"""

from __future__ import annotations

from observability import catalog
from observability.dashboards.signals import Question, Ratio, Signal, measure, metric_spec
from observability.dashboards.statsd_exporter import prometheus_name

__all__ = ["expression", "grown", "labels_of", "matchers", "name_of", "tag_of"]

_OVER = {"sum": "sum", "max": "max", "min": "min", "average": "avg", "last": "max", "median": "avg"}


def name_of(metric: str) -> str:
    """Name of a metric in Prometheus, Airflow's own with ``airflow_`` before it."""
    name = f"airflow.{metric}" if metric in catalog.AIRFLOW_METRICS else metric
    return prometheus_name(name, metric_spec(metric))


def tag_of(field: str, metric: str) -> str:
    """The label of ``metric`` that is called ``field`` in documents, "" where it has none."""
    return next((tag for tag in metric_spec(metric).tags if catalog.TAGS[tag] == field), "")


def matchers(where: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """Conditions on labels; one with several values is any of them."""
    selectors = [
        f'{tag}="{values[0]}"' if len(values) == 1 else f'{tag}=~"{"|".join(values)}"'
        for tag, values in where
        if values
    ]
    return "{" + ",".join(selectors) + "}" if selectors else ""


def grown(series: str, window: str) -> str:
    """Growth of a counter within ``window``, with its first event."""
    return f"(({series} - {series} offset {window}) >= 0 or {series})"


def labels_of(by: tuple[str, ...]) -> str:
    """The clause by which an aggregation keeps ``by``."""
    return f" by ({', '.join(by)})" if by else ""


def expression(
    question: Question, by: tuple[str, ...], window: str, more: tuple[tuple[str, str], ...] = ()
) -> str | None:
    """The query that answers ``question``, split by the fields ``by``; None where only documents can.

    ``more`` are conditions of the board: field and variable.
    """
    if isinstance(question, Ratio):
        parts = [expression(part, by, window, more) for part in (question.top, question.bottom)]
        return None if None in parts else f"{parts[0]} / {parts[1]}"
    found = question if question.source == "metrics" else question.series
    if found is None or found.shift or question.shift:
        return None
    labels = tuple(tag for field in by if (tag := tag_of(field, found.metric)))
    where = [(tag_of(field, found.metric), values) for field, values in found.where]
    if len(labels) != len(by) or not all(tag for tag, _ in where):
        return None
    board = tuple((tag, (variable,)) for field, variable in more if (tag := tag_of(field, found.metric)))
    chosen = matchers(tuple(where)) if not board else _joined(tuple(where), board)
    return _aggregated(found, labels, chosen, window)


def _joined(where: tuple[tuple[str, tuple[str, ...]], ...], board: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    own = matchers(where).strip("{}")
    variables = ",".join(f'{tag}=~"{values[0]}"' for tag, values in board)
    return "{" + ",".join(part for part in (own, variables) if part) + "}"


def _aggregated(signal: Signal, labels: tuple[str, ...], chosen: str, window: str) -> str | None:
    name, kind = name_of(signal.metric), metric_spec(signal.metric).type
    aggregate, _ = measure(signal)
    if kind == "counter":
        return f"sum{labels_of(labels)} ({grown(name + chosen, window)})"
    if kind == "timer":
        if aggregate == "average":
            total, count = (grown(f"{name}_{part}{chosen}", window) for part in ("sum", "count"))
            return f"sum{labels_of(labels)} ({total}) / sum{labels_of(labels)} ({count})"
        buckets = grown(f"{name}_bucket{chosen}", window)
        return f"histogram_quantile(0.95, sum{labels_of(('le', *labels))} ({buckets}))"
    over = _OVER.get(aggregate)
    return None if over is None else f"{over}{labels_of(labels)} ({over}_over_time({name}{chosen}[{window}]))"
