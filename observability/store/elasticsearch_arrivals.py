"""Documents of a data stream in the order in which they arrived, whatever the clocks of their writers say.

Each shard numbers what it stores. A number can become visible a moment after a higher one, when two requests
are written at once: so what is new is read together with some that was read before.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from observability.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.store.questions import Position

__all__ = ["arrivals", "mark", "moved_on"]

_PAGE = 1000
_UNSETTLED = 64
"""So many numbers below the highest one may not have been visible yet: an index has no more threads that write."""
_WHERE_IT_IS = "ignore_unavailable=true&allow_no_indices=true"
_WHOLE = "allow_partial_search_results=false"


def arrivals(
    ask: Callable[[str, str, Any], Any], stream: str, filters: list[Any], position: Position, *, again: bool = False
) -> Iterator[Any]:
    """The hits that arrived in ``stream`` after ``position``: shard → index → highest number seen; it is moved on.

    Some that were seen come too when there are new ones; with ``again`` also when there are none.
    """
    for shard in _shards(ask, stream, known=bool(position.keys() - {str(None)})):
        seen: dict[str, int] = position.setdefault(str(shard), {})
        path = _path(stream, shard)
        if not again and not _hits(ask, path, filters, seen, size=1):
            continue
        reached = _settled(seen)
        while page := _hits(ask, path, filters, reached, size=_PAGE):
            before = dict(reached)
            for hit in page:
                index, number = hit["_index"], hit["_seq_no"]
                reached[index] = max(reached.get(index, -1), number)
                seen[index] = max(seen.get(index, -1), number)
                yield hit
            if len(page) < _PAGE:
                break
            moved_on(before, reached)


def mark(
    ask: Callable[[str, str, Any], Any], stream: str, filters: list[Any], position: Position
) -> tuple[list[str], dict[str, int]]:
    """Move an empty ``position`` to what is there now.

    Returns the ids of those documents that the next :func:`arrivals` may give again, and for each index the number
    above which documents may be given that are not among them.
    """
    aggregation = {"by": {"terms": {"field": "_index", "size": 1000}, "aggs": {"top": {"max": {"field": "_seq_no"}}}}}
    body = {"size": 0, "query": {"bool": {"filter": filters}}, "aggs": aggregation}
    floors: dict[str, int] = {}
    for shard in _shards(ask, stream, known=False):
        buckets = ask("POST", _path(stream, shard), body).get("aggregations", {}).get("by", {}).get("buckets", ())
        seen = position[str(shard)] = {bucket["key"]: int(bucket["top"]["value"]) for bucket in buckets}
        for index, number in _settled(seen).items():
            floors[index] = min(floors.get(index, number), number)
    return [hit["_id"] for hit in arrivals(ask, stream, filters, deepcopy(position), again=True)], floors


def moved_on(before: Any, after: Any) -> Any:
    """``after``, the place where the next page begins. Raises ``StoreError`` where that is where this one began."""
    if before == after:
        raise StoreError("Elasticsearch cannot answer: it gives the same page again; look at what stands in between")
    return after


def _path(stream: str, shard: int | None) -> str:
    preference = f"&preference=_shards:{shard}" if shard is not None else ""
    return f"/{stream}/_search?{_WHOLE}&{_WHERE_IT_IS}{preference}"


def _settled(seen: dict[str, int]) -> dict[str, int]:
    return {index: max(number - _UNSETTLED, -1) for index, number in seen.items()}


def _hits(
    ask: Callable[[str, str, Any], Any], path: str, filters: list[Any], seen: dict[str, int], *, size: int
) -> list[Any]:
    known = [
        {"bool": {"filter": [{"term": {"_index": index}}, {"range": {"_seq_no": {"lte": number}}}]}}
        for index, number in seen.items()
    ]
    body = {
        "size": size,
        "query": {"bool": {"filter": filters, "must_not": known}},
        "sort": [{"_seq_no": "asc"}],
        "seq_no_primary_term": True,
        "track_total_hits": False,
    }
    found: list[Any] = ask("POST", path, body)["hits"]["hits"]
    return found


def _shards(ask: Callable[[str, str, Any], Any], stream: str, *, known: bool) -> list[int | None]:
    """The numbers of the shards that can answer; None alone where the cluster does not tell (a serverless one).

    Where numbers are ``known`` already, a cluster that does not tell is one that is away: raises ``StoreError``.
    """
    try:
        copies = ask("GET", f"/{stream}/_search_shards?{_WHERE_IT_IS}", None)["shards"]
    except StoreError:
        if known:
            raise
        return [None]
    return sorted({group[0]["shard"] for group in copies if group})  # one that is just made has no copy yet
