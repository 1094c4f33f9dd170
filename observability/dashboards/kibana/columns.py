"""Lens columns: one per question and one per split, as Kibana itself stores them (``formBased``)."""

from __future__ import annotations

from typing import Any

from observability import catalog
from observability.dashboards.names import heading
from observability.dashboards.signals import Question, Ratio, Signal, conditions, measure, parts, unit

__all__ = ["Columns", "columns_of", "kql", "order", "static_value", "terms", "time_buckets"]

Columns = dict[str, dict[str, Any]]

_OPERATIONS = {
    "count": "count",
    "sum": "sum",
    "average": "average",
    "median": "percentile",
    "max": "max",
    "min": "min",
    "p95": "percentile",
    "p5": "percentile",
    "last": "last_value",
    "unique": "unique_count",
}
_PERCENT = {"p95": 95, "median": 50, "p5": 5}
_PLAIN = {"count", "last", "average"}
"""Written as the data view writes the field: Kibana was not seen to format these itself."""
_DURATIONS = {"ns": "nanoseconds", "ms": "milliseconds", "s": "seconds"}


def kql(wanted: tuple[tuple[str, tuple[str, ...]], ...]) -> str:
    """Conditions as KQL: every field, any of its values."""
    return " and ".join(f"{field} : {_values(values)}" for field, values in wanted)


def _values(values: tuple[str, ...]) -> str:
    quoted = [f'"{value}"' for value in values]
    return quoted[0] if len(quoted) == 1 else f"({' or '.join(quoted)})"


def columns_of(name: str, question: Question, *, filtered: bool) -> Columns:
    """The columns that answer ``question``; the one to show is called ``name``.

    ``filtered``: the panel's query does not select the question's documents, so the column must.
    """
    if isinstance(question, Ratio):
        return _ratio(name, question, filtered=filtered)
    return {name: _column(question, filtered=filtered)}


def _column(signal: Signal, *, filtered: bool) -> dict[str, Any]:
    aggregate, field = measure(signal)
    kind = "date" if unit(signal) == "date" else "number"
    column: dict[str, Any] = {
        "label": signal.title,
        "customLabel": True,
        "dataType": kind,
        "operationType": _OPERATIONS[aggregate],
        "sourceField": field or "___records___",
        "isBucketed": False,
        "scale": "ordinal" if aggregate == "last" else "ratio",
        "params": _parameters(signal, aggregate),
    }
    if filtered or aggregate == "last":
        column["filter"] = {"query": kql(conditions(signal)), "language": "kuery"}
    if signal.shift:
        column["timeShift"] = signal.shift
    return column


def _parameters(signal: Signal, aggregate: str) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if aggregate in _PERCENT:
        parameters["percentile"] = _PERCENT[aggregate]
    if aggregate == "last":
        parameters |= {"sortField": "@timestamp", "showArrayValues": False}
    if aggregate in {"count", "sum"}:
        parameters["emptyAsNull"] = aggregate == "sum"
    if aggregate not in _PLAIN and (shown := number_format(unit(signal))):
        parameters["format"] = shown
    return parameters


def number_format(measured_in: str) -> dict[str, Any] | None:
    """The format by which Lens writes a number of this unit; None where it knows itself."""
    if measured_in in _DURATIONS:
        return {
            "id": "duration",
            "params": {
                "fromUnit": _DURATIONS[measured_in],
                "toUnit": "humanizePrecise",
                "decimals": 1,
                "compact": True,
            },
        }
    if measured_in == "bytes":
        return {"id": "bytes", "params": {"decimals": 1}}
    if measured_in == "percent":
        return {"id": "percent", "params": {"decimals": 1}}
    if measured_in in {"date", "text"}:
        return None
    return {"id": "number", "params": {"decimals": 0, "compact": False}}


def _ratio(name: str, question: Ratio, *, filtered: bool) -> Columns:
    """A formula and the columns that Kibana computes it from: two parts and the division of them."""
    ids = [f"{name}X{number}" for number in range(3)]
    text = " / ".join(_formula(signal, filtered=filtered) for signal in parts(question))
    part = {"label": f"Part of {question.title}", "customLabel": True}
    division = {
        "type": "function",
        "name": "divide",
        "args": ids[:2],
        "location": {"min": 0, "max": len(text)},
        "text": text,
    }
    shared = {"dataType": "number", "isBucketed": False, "scale": "ratio"}
    return {
        name: {
            **shared,
            "label": question.title,
            "customLabel": True,
            "operationType": "formula",
            "params": {"formula": text, "isFormulaBroken": False, "format": number_format("percent")},
            "references": [ids[2]],
        },
        ids[0]: {**_column(question.top, filtered=filtered), **part},
        ids[1]: {**_column(question.bottom, filtered=filtered), **part},
        ids[2]: {**shared, **part, "operationType": "math", "params": {"tinymathAst": division}, "references": ids[:2]},
    }


def _formula(signal: Signal, *, filtered: bool) -> str:
    aggregate, field = measure(signal)
    chosen = f"kql='{kql(conditions(signal))}'" if filtered else ""
    return f"{aggregate}({', '.join(filter(None, (field, chosen)))})"


def time_buckets(interval: str = "auto") -> dict[str, Any]:
    """The time axis."""
    return {
        "label": "@timestamp",
        "dataType": "date",
        "operationType": "date_histogram",
        "sourceField": "@timestamp",
        "isBucketed": True,
        "scale": "interval",
        "params": {"interval": interval, "includeEmptyRows": True, "dropPartials": False},
    }


def terms(field: str, *, order_by: str | None, size: int, rising: bool = False) -> dict[str, Any]:
    """The values of a field: the ``size`` first by the column ``order_by``, by their name where it is None.

    The rest is shown as "Other": a list that is cut says so.
    """
    numeric = field in catalog.FIELDS and catalog.FIELDS[field].type in {"long", "double"}
    ranked = {"type": "alphabetical"} if order_by is None else {"type": "column", "columnId": order_by}
    return {
        "label": heading(field),
        "customLabel": True,
        "dataType": "number" if numeric else "string",
        "operationType": "terms",
        "scale": "ordinal",
        "sourceField": field,
        "isBucketed": True,
        "params": {
            "size": size,
            "orderBy": ranked,
            "orderDirection": "asc" if rising else "desc",
            "otherBucket": True,
            "missingBucket": False,
            "parentFormat": {"id": "terms"},
            "include": [],
            "exclude": [],
            "includeIsRegex": False,
            "excludeIsRegex": False,
        },
    }


def static_value(value: float, label: str) -> dict[str, Any]:
    """A constant, for a line that is drawn across a chart."""
    return {
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "operationType": "static_value",
        "isStaticValue": True,
        "isBucketed": False,
        "scale": "ratio",
        "params": {"value": str(int(value) if value == int(value) else value)},
        "references": [],
    }


def order(columns: Columns) -> list[str]:
    """Buckets before metrics: Kibana refuses to draw them otherwise."""
    return sorted(columns, key=lambda name: not columns[name]["isBucketed"])
