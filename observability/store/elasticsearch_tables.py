"""Tables counted by Elasticsearch: one composite aggregation, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.store.elasticsearch_arrivals import moved_on
from observability.store.tables import PERCENTILES, spread
from observability.store.tallies import check_rows
from observability.timestamps import utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.store.questions import Ask, Key, Table

__all__ = ["aggregated", "refused_to"]

_NUMBERS = {"sum": "sum", "average": "avg", "max": "max", "min": "min", "unique": "cardinality"}
_PAGE = 5_000


def refused_to(ask: Ask) -> list[dict[str, Any]]:
    """Filters for what the reader may see and what the ask leaves out."""
    found: list[dict[str, Any]] = [{"exists": {"field": name}} for name in ask.by]
    found += [{"bool": {"must_not": [{"exists": {"field": name}}]}} for name in ask.without]
    if ask.dags is not None:
        either: list[dict[str, Any]] = [{"terms": {"airflow.dag_id": list(ask.dags)}}]
        if ask.homeless:
            either.append({"bool": {"must_not": [{"exists": {"field": "airflow.dag_id"}}]}})
        found.append({"bool": {"should": either, "minimum_should_match": 1}})
    return found


def aggregated(ask: Ask, filters: list[Any], search: Callable[[dict[str, Any]], Any]) -> Table:
    """The table that ``search`` answers, whatever the number of its pages."""
    sources = _sources(ask)
    body: dict[str, Any] = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": filters}}}
    if not sources:
        answer = search(body | {"aggs": _measured(ask)})
        total = answer["hits"]["total"]["value"]
        return spread({(): _values(ask, answer.get("aggregations", {}), total)}, ask) if total else {}
    table: Table = {}
    after = None
    while True:
        composite = {"size": _PAGE, "sources": sources} | ({"after": after} if after else {})
        answer = search(body | {"aggs": {"rows": {"composite": composite, "aggs": _measured(ask)}}})
        page = answer.get("aggregations", {}).get("rows", {})
        for bucket in page.get("buckets", ()):
            table[_key(ask, bucket["key"])] = _values(ask, bucket, bucket["doc_count"])
        check_rows(len(table), "Elasticsearch cannot answer")
        if page.get("after_key") is None:
            return spread(table, ask)
        after = moved_on(after, page["after_key"])


def _sources(ask: Ask) -> list[dict[str, Any]]:
    stretches = {"field": "@timestamp", "fixed_interval": f"{ask.bucket_s}s"}
    found: list[dict[str, Any]] = [{"at": {"date_histogram": stretches}}] if ask.bucket_s else []
    return [*found, *({f"by{number}": {"terms": {"field": name}}} for number, name in enumerate(ask.by))]


def _measured(ask: Ask) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    for number, (aggregate, field) in enumerate(ask.measures):
        if aggregate != "count":
            asked[f"m{number}"] = _measure(aggregate, field)
            asked[f"n{number}"] = {"value_count": {"field": field}}
    return asked


def _measure(aggregate: str, field: str) -> dict[str, Any]:
    if aggregate == "last":
        there = {"filter": {"exists": {"field": field}}}
        newest = {"size": 1, "sort": [{"@timestamp": "desc"}], "_source": [field]}
        return {**there, "aggs": {"newest": {"top_hits": newest}}}
    if aggregate in PERCENTILES:
        return {"percentiles": {"field": field, "percents": [100 * PERCENTILES[aggregate]], "keyed": False}}
    return {_NUMBERS[aggregate]: {"field": field}}


def _key(ask: Ask, key: dict[str, Any]) -> Key:
    at = (key["at"] // 1000,) if ask.bucket_s else ()
    return (*at, *(str(key[f"by{number}"]) for number in range(len(ask.by))))


def _values(ask: Ask, found: dict[str, Any], documents: int) -> tuple[Any, ...]:
    return tuple(
        documents
        if aggregate == "count"
        else _value(aggregate, field, found[f"m{number}"])
        if found[f"n{number}"]["value"]
        else None
        for number, (aggregate, field) in enumerate(ask.measures)
    )


def _value(aggregate: str, field: str, leaf: dict[str, Any]) -> Any:
    if aggregate == "last":
        return leaf["newest"]["hits"]["hits"][0]["_source"].get(field)
    value = leaf["values"][0]["value"] if "values" in leaf else leaf["value"]
    return _moment(value) if catalog.FIELDS[field].type == "date" and aggregate in {"max", "min"} else value


def _moment(milliseconds: float) -> str:
    return utc(milliseconds / 1000).isoformat().replace("+00:00", "Z")
