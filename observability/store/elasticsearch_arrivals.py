"""Documents of a data stream in the order in which they arrived, whatever the clocks of their writers say.

Each shard numbers what it stores. A number can become visible a moment after a higher one, when two requests
are written at once: so what is new is read together with some that was read before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.store.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.events import Document
    from observability.store.store import Position

__all__ = ["arrivals"]

_PAGE = 1000
_UNSETTLED = 64
"""So many numbers below the highest one may not have been visible yet: an index has no more threads that write."""
_WHERE_IT_IS = "ignore_unavailable=true&allow_no_indices=true"
_WHOLE = "allow_partial_search_results=false"


def arrivals(
    ask: Callable[[str, str, Any], Any], stream: str, filters: list[Any], position: Position
) -> Iterator[Document]:
    """What arrived in ``stream`` after ``position``: shard → index → highest number seen; it is moved on."""
    for shard in _shards(ask, stream):
        seen: dict[str, int] = position.setdefault(str(shard), {})
        preference = f"&preference=_shards:{shard}" if shard is not None else ""
        path = f"/{stream}/_search?{_WHOLE}&{_WHERE_IT_IS}{preference}"
        if not _hits(ask, path, filters, seen, size=1):
            continue
        reached = {index: max(number - _UNSETTLED, -1) for index, number in seen.items()}
        while page := _hits(ask, path, filters, reached, size=_PAGE):
            for hit in page:
                index, number = hit["_index"], hit["_seq_no"]
                reached[index] = number
                seen[index] = max(seen.get(index, -1), number)
                yield hit["_source"]
            if len(page) < _PAGE:
                break


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


def _shards(ask: Callable[[str, str, Any], Any], stream: str) -> list[int | None]:
    """The numbers of the shards that can answer; None alone where the cluster does not tell (a serverless one)."""
    try:
        copies = ask("GET", f"/{stream}/_search_shards?{_WHERE_IT_IS}", None)["shards"]
    except StoreError:
        return [None]
    return sorted({group[0]["shard"] for group in copies if group})  # one that is just made has no copy yet
