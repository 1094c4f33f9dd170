"""A signal is a question with a number for an answer: which documents, which field, how to aggregate.

Signals name events, fields and metrics of the catalogue; what a name implies (conditions, unit,
how a counter is added up) is looked up there, so that a renamed metric is found by :func:`problems`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from observability import catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from observability.catalog import MetricSpec

__all__ = [
    "Aggregate",
    "Conditions",
    "Question",
    "Ratio",
    "Signal",
    "Source",
    "UnknownName",
    "audit",
    "conditions",
    "events",
    "logs",
    "measure",
    "metric",
    "metric_spec",
    "parts",
    "problems",
    "unit",
]

Source = Literal["events", "logs", "audit", "metrics", "kibana-alerts"]
Aggregate = Literal["", "count", "sum", "average", "median", "max", "min", "p95", "p5", "last", "unique"]
Conditions: TypeAlias = "tuple[tuple[str, tuple[str, ...]], ...]"
"""A condition on documents: a field and the values it may have, all of them."""

_BY_TYPE: dict[str, tuple[Aggregate, str]] = {
    "counter": ("sum", "metric.value"),
    "gauge": ("max", "metric.value"),
    "timer": ("max", "metric.p95"),
    "set": ("max", "metric.value"),
}
"""The sum of a metric over series and time: a percentile of percentiles is none, so the worst interval stands."""


class UnknownName(LookupError):  # noqa: N818 - what it says about the name
    """A name that the catalogue does not have; the message says where it stands and what may be meant."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Documents of ``source`` with one of ``actions`` (events) or of ``metric``, and ``where``: an aggregate of them.

    ``shift`` asks the same of an earlier time (``1w``). ``series`` is the metric that answers the same
    question in CloudWatch, where a metric is cheaper than a query over logs.
    """

    title: str
    source: Source
    actions: tuple[str, ...] = ()
    metric: str = ""
    where: Conditions = ()
    aggregate: Aggregate = ""
    field: str = ""
    shift: str = ""
    series: Signal | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """One signal divided by another, shown as a share."""

    title: str
    top: Signal
    bottom: Signal


Question: TypeAlias = "Signal | Ratio"


def events(
    title: str,
    *actions: str,
    aggregate: Aggregate = "count",
    field: str = "",
    shift: str = "",
    series: Signal | None = None,
) -> Signal:
    """A signal over events; without ``aggregate`` and ``field`` their number."""
    return Signal(title, "events", actions, aggregate=aggregate, field=field, shift=shift, series=series)


def audit(title: str, *, aggregate: Aggregate = "count", field: str = "", series: Signal | None = None) -> Signal:
    """A signal over Airflow's event log; without ``aggregate`` and ``field`` the number of its entries."""
    return Signal(title, "audit", ("audit.recorded",), aggregate=aggregate, field=field, series=series)


def logs(title: str, *, where: Conditions = ()) -> Signal:
    """The number of log lines that have ``where``."""
    return Signal(title, "logs", where=where, aggregate="count")


def metric(title: str, name: str, *, where: Conditions = (), aggregate: Aggregate = "") -> Signal:
    """A signal over a metric of ours or of Airflow, aggregated as its type asks where nothing else is said."""
    return Signal(title, "metrics", metric=name, where=where, aggregate=aggregate)


def parts(question: Question) -> tuple[Signal, ...]:
    """The signals that a question is made of."""
    return (question.top, question.bottom) if isinstance(question, Ratio) else (question,)


def metric_spec(name: str) -> MetricSpec:
    """The catalogue's entry of a metric, ours or Airflow's. Raises :class:`UnknownName`."""
    found = catalog.METRICS.get(name) or catalog.AIRFLOW_METRICS.get(name)
    if found is None:
        raise _unknown("metric", name, [*catalog.METRICS, *catalog.AIRFLOW_METRICS])
    return found


def conditions(signal: Signal) -> Conditions:
    """All that a document must have: the event's action or the metric's name, then ``where``."""
    own: Conditions = ()
    if signal.actions:
        own = (("event.action", signal.actions),)
    elif signal.metric:
        own = (("metric.name", (signal.metric,)),)
    return (*own, *signal.where)


def measure(signal: Signal) -> tuple[Aggregate, str]:
    """The aggregate that makes a number of the documents, and the field it takes ('' for a count)."""
    if signal.source != "metrics":
        return signal.aggregate or "count", signal.field
    aggregate, field = _BY_TYPE[metric_spec(signal.metric).type]
    return signal.aggregate or aggregate, signal.field or field


def unit(question: Question) -> str:
    """Unit of the answer: percent, ns, ms, s, bytes, date, or a word for what is counted."""
    if isinstance(question, Ratio):
        return "percent"
    if question.aggregate in {"count", "unique"}:
        return ""
    if question.source == "metrics" and not question.field:
        return metric_spec(question.metric).unit
    spec = catalog.FIELDS[question.field]
    return spec.unit or ("date" if spec.type == "date" else "text" if spec.type in {"keyword", "text"} else "")


def problems(signal: Signal) -> Iterator[str]:
    """The faults of a signal's names, one sentence each."""
    for action in signal.actions:
        if action not in catalog.EVENTS:
            yield str(_unknown("event", action, catalog.EVENTS))
    if signal.metric and signal.metric not in catalog.METRICS and signal.metric not in catalog.AIRFLOW_METRICS:
        yield str(_unknown("metric", signal.metric, [*catalog.METRICS, *catalog.AIRFLOW_METRICS]))
        return
    for field in (*(name for name, _ in conditions(signal)), *([signal.field] if signal.field else [])):
        if field not in catalog.FIELDS:
            yield str(_unknown("field", field, catalog.FIELDS))
    if signal.source == "metrics" and not signal.metric:
        yield f"signal {signal.title!r} is over metrics and names none"


def _unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    close = difflib.get_close_matches(name, list(known), 1)
    return UnknownName(f"{kind} {name!r} is not in the catalogue" + (f"; did you mean {close[0]!r}?" if close else ""))
