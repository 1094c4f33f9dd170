"""Tables counted by Elasticsearch: one composite aggregation, page by page."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.store.tables import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.store.tables import Ask, Key, Table

__all__ = ["aggregated", "refused_to"]

_NUMBERS = {"sum": "sum", "average": "avg", "max": "max", "min": "min", "unique": "cardinality"}
_PAGE = 5_000


def refused_to(ask: Ask) -> list[dict[str, Any]]:
    """Filters for what the reader may see and what the ask leaves out."""
    found: list[dict[str, Any]] = [{"exists": {"field": name}} for name in ask.by]
    found += [{"exists": {"field": ask.field}}] if ask.field else []
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
        return {(): _value(ask, answer.get("aggregations", {}), total)} if total else {}
    table: Table = {}
    after = None
    while True:
        composite = {"size": _PAGE, "sources": sources} | ({"after": after} if after else {})
        answer = search(body | {"aggs": {"rows": {"composite": composite, "aggs": _measured(ask)}}})
        page = answer.get("aggregations", {}).get("rows", {})
        for bucket in page.get("buckets", ()):
            table[_key(ask, bucket["key"])] = _value(ask, bucket, bucket["doc_count"])
        after = page.get("after_key")
        if after is None:
            return table


def _sources(ask: Ask) -> list[dict[str, Any]]:
    stretches = {"field": "@timestamp", "fixed_interval": f"{ask.bucket_s}s"}
    found: list[dict[str, Any]] = [{"at": {"date_histogram": stretches}}] if ask.bucket_s else []
    return [*found, *({f"by{number}": {"terms": {"field": name}}} for number, name in enumerate(ask.by))]


def _measured(ask: Ask) -> dict[str, Any]:
    if ask.aggregate == "count":
        return {}
    if ask.aggregate == "last":
        newest = {"size": 1, "sort": [{"@timestamp": "desc"}], "_source": [ask.field]}
        return {"value": {"top_hits": newest}}
    if ask.aggregate in PERCENTILES:
        wanted = {"field": ask.field, "percents": [100 * PERCENTILES[ask.aggregate]], "keyed": False}
        return {"value": {"percentiles": wanted}}
    return {"value": {_NUMBERS[ask.aggregate]: {"field": ask.field}}}


def _key(ask: Ask, key: dict[str, Any]) -> Key:
    at = (key["at"] // 1000,) if ask.bucket_s else ()
    return (*at, *(str(key[f"by{number}"]) for number in range(len(ask.by))))


def _value(ask: Ask, found: dict[str, Any], number: int) -> Any:
    if ask.aggregate == "count":
        return number
    leaf = found["value"]
    if "hits" in leaf:
        return leaf["hits"]["hits"][0]["_source"].get(ask.field)
    value = leaf["values"][0]["value"] if "values" in leaf else leaf["value"]
    if catalog.FIELDS[ask.field].type == "date" and ask.aggregate in {"max", "min"}:
        return _moment(value)
    return value


def _moment(milliseconds: float) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc).isoformat().replace("+00:00", "Z")
