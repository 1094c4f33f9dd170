"""From a saved object back to the Elasticsearch searches that Kibana would send for it, and the rows it would show.

It reads the saved object itself, never the boards it was made from: what is executed is what was shipped.
A layer with ``ignoreGlobalFilters`` is asked without the panel's own query, because Kibana drops both together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from observability.dashboards.kibana.kql import to_query

if TYPE_CHECKING:
    from collections.abc import Iterator

    from observability.dashboards.kibana.objects import SavedObject

__all__ = ["Asked", "rows", "searches"]

_WEEK = {"1w": timedelta(weeks=1), "1d": timedelta(days=1), "": timedelta()}
_STEPS_S = (10, 30, 60, 300, 600, 1800, 3600, 10800, 43200, 86400, 604800)
_MOST_BUCKETS = 100
_SIMPLE = {"sum": "sum", "average": "avg", "max": "max", "min": "min", "unique_count": "cardinality"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One search of one panel: where it goes, its body, and the columns that its answer fills."""

    board: str
    panel: str
    index: str
    body: dict[str, Any]
    columns: dict[str, dict[str, Any]]
    order: tuple[str, ...]


def searches(objects: list[SavedObject], since: datetime, until: datetime) -> Iterator[Asked]:
    """Every search of every panel of every dashboard, over the same stretch of time."""
    views = {item["id"]: item["attributes"] for item in objects if item["type"] == "index-pattern"}
    saved = {item["id"]: item for item in objects if item["type"] == "search"}
    for item in objects:
        if item["type"] != "dashboard":
            continue
        targets = {reference["name"]: reference["id"] for reference in item["references"]}
        for panel in json.loads(item["attributes"]["panelsJSON"]):
            board, title = item["attributes"]["title"], panel["title"]
            if panel["type"] == "lens":
                for one in _lens(panel["embeddableConfig"]["attributes"], views, since, until):
                    yield Asked(board, title, *one)
            elif panel["type"] == "search":
                name = f"{panel['panelIndex']}:{panel['panelRefName']}"
                yield Asked(board, title, *_saved(saved[targets[name]], views, since, until))


_Views = dict[str, dict[str, Any]]
_Search = tuple[str, dict[str, Any], dict[str, dict[str, Any]], tuple[str, ...]]


def _saved(item: SavedObject, views: _Views, since: datetime, until: datetime) -> _Search:
    source = json.loads(item["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    index = next(ref["id"] for ref in item["references"] if ref["name"] == source["indexRefName"])
    body = {
        "size": 0,
        "track_total_hits": True,
        "query": _selected([source["query"]["query"]], since, until),
        "aggs": {column: {"filter": {"exists": {"field": column}}} for column in item["attributes"]["columns"]},
    }
    columns = {column: {"operationType": "count", "filter": True} for column in item["attributes"]["columns"]}
    view = views[index]
    return view["title"], body | _computed(view), columns, tuple(columns)


def _lens(attributes: dict[str, Any], views: _Views, since: datetime, until: datetime) -> Iterator[_Search]:
    views_of = {reference["name"]: reference["id"] for reference in attributes["references"]}
    query = attributes["state"]["query"]["query"]
    for name, layer in attributes["state"]["datasourceStates"]["formBased"]["layers"].items():
        columns = layer["columns"]
        asked = {key for key, column in columns.items() if not column["isBucketed"]}
        for shift in sorted({columns[key].get("timeShift", "") for key in asked if _is_asked(columns[key])}):
            wanted = [key for key in layer["columnOrder"] if columns[key]["isBucketed"]]
            wanted += [
                key for key in layer["columnOrder"] if key in asked and columns[key].get("timeShift", "") == shift
            ]
            start, end = since - _WEEK[shift], until - _WEEK[shift]
            body = {
                "size": 0,
                "track_total_hits": True,
                "query": _selected([] if layer.get("ignoreGlobalFilters") else [query], start, end),
                "aggs": _aggregations(wanted, columns, end - start),
            }
            view = views[views_of[f"indexpattern-datasource-layer-{name}"]]
            yield view["title"], body | _computed(view), {key: columns[key] for key in wanted}, tuple(wanted)


def _computed(view: dict[str, Any]) -> dict[str, Any]:
    return {"runtime_mappings": json.loads(view["runtimeFieldMap"])}


def _is_asked(column: dict[str, Any]) -> bool:
    return column["operationType"] not in {"formula", "math", "static_value"}


def _selected(texts: list[str], since: datetime, until: datetime) -> dict[str, Any]:
    time = {"range": {"@timestamp": {"gte": since.isoformat(), "lt": until.isoformat()}}}
    return {"bool": {"filter": [time, *(to_query(text) for text in texts)]}}


def _aggregations(wanted: list[str], columns: dict[str, Any], span: timedelta) -> dict[str, Any]:
    buckets = [key for key in wanted if columns[key]["isBucketed"]]
    metrics = {
        key: _metric(columns[key]) for key in wanted if not columns[key]["isBucketed"] and _is_asked(columns[key])
    }
    inner = metrics
    for key in reversed(buckets):
        column = columns[key]
        ordered = column["params"].get("orderBy", {}).get("columnId")
        beside = {"ordering": _metric(columns[ordered])} if ordered and ordered in columns else {}
        inner = {key: {**_bucket(column, columns, span), "aggs": {**inner, **beside}}}
    return inner


def _bucket(column: dict[str, Any], columns: dict[str, Any], span: timedelta) -> dict[str, Any]:
    if column["operationType"] == "date_histogram":
        interval = column["params"]["interval"]
        fixed = _interval(span) if interval == "auto" else interval
        return {"date_histogram": {"field": column["sourceField"], "fixed_interval": fixed, "min_doc_count": 1}}
    parameters = column["params"]
    ordered = parameters["orderBy"].get("columnId")
    path = "_key" if ordered is None else _order_path(columns[ordered])
    return {
        "terms": {
            "field": column["sourceField"],
            "size": parameters["size"],
            "order": {path: parameters["orderDirection"]},
        }
    }


def _order_path(column: dict[str, Any]) -> str:
    leaf = {"percentile": f".{column['params'].get('percentile')}", "median": ".50"}.get(column["operationType"], "")
    if "filter" not in column:
        return f"ordering{leaf}"
    return "ordering" if column["operationType"] == "count" else f"ordering>value{leaf}"


def _interval(span: timedelta) -> str:
    seconds = span.total_seconds()
    step = next((step for step in _STEPS_S if seconds / step <= _MOST_BUCKETS), _STEPS_S[-1])
    return f"{step}s"


def _metric(column: dict[str, Any]) -> dict[str, Any]:
    operation = column["operationType"]
    if operation == "count":
        return (
            {"filter": to_query(column["filter"]["query"])}
            if "filter" in column
            else {"value_count": {"field": "@timestamp"}}
        )
    leaf = _leaf(operation, column)
    if "filter" not in column:
        return leaf
    return {"filter": to_query(column["filter"]["query"]), "aggs": {"value": leaf}}


def _leaf(operation: str, column: dict[str, Any]) -> dict[str, Any]:
    field = column["sourceField"]
    if operation in _SIMPLE:
        return {_SIMPLE[operation]: {"field": field}}
    if operation in {"percentile", "median"}:
        return {"percentiles": {"field": field, "percents": [column["params"].get("percentile", 50)]}}
    if operation == "last_value":
        newest = [{column["params"]["sortField"]: "desc"}]
        return {"top_hits": {"size": 1, "sort": newest, "_source": False, "docvalue_fields": [field]}}
    raise LookupError(f"operation {operation} of Lens has no translation here; add it to {__name__}")


def rows(asked: Asked, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that the panel would show: column → value, without those in which every number is nothing.

    A count or a sum of nought is nothing too: it is what a query over a name that nobody sends would give.
    """
    aggregations = answer.get("aggregations", {})
    buckets = [key for key in asked.order if asked.columns[key].get("isBucketed")]
    found = _walk(aggregations, buckets, {}, asked)
    added_up = {key for key, column in asked.columns.items() if column["operationType"] in {"count", "sum"}}
    metrics = [key for key in asked.order if not asked.columns[key].get("isBucketed")]
    return [row for row in found if any(row.get(key) or (row.get(key) == 0 and key not in added_up) for key in metrics)]


def _walk(level: dict[str, Any], buckets: list[str], path: dict[str, Any], asked: Asked) -> list[dict[str, Any]]:
    if buckets:
        key, *rest = buckets
        inside = level.get(key, {}).get("buckets", [])
        return [row for bucket in inside for row in _walk(bucket, rest, {**path, key: bucket["key"]}, asked)]
    row = dict(path)
    for key, column in asked.columns.items():
        if key in level:
            row[key] = _value(column, level[key])
    for key, column in asked.columns.items():
        if column["operationType"] == "formula":
            row[key] = _divide(row.get(f"{key}X0"), row.get(f"{key}X1"))
    return [row]


def _value(column: dict[str, Any], found: dict[str, Any]) -> Any:
    if column["operationType"] == "count":
        return found["doc_count"] if "filter" in column else found["value"]
    leaf = found["value"] if "filter" in column else found
    if "values" in leaf:
        return next(iter(leaf["values"].values()))
    if "hits" in leaf:
        hits = leaf["hits"]["hits"]
        return hits[0].get("fields", {}).get(column["sourceField"], [None])[0] if hits else None
    return leaf["value"]


def _divide(top: Any, bottom: Any) -> float | None:
    return top / bottom if top is not None and bottom else None
