"""Reading the data streams back: one point in time per question, pages by ``search_after``."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from observability import catalog
from observability.credentials import CredentialsError
from observability.store import opensearch
from observability.store.cluster import AnswerTooLarge, Cluster, ClusterError, ClusterUnreachable, open_cluster
from observability.store.elasticsearch_arrivals import arrivals, mark, moved_on
from observability.store.elasticsearch_tables import aggregated, refused_to
from observability.store.elasticsearch_templates import ALIASES
from observability.store.extra_keys import unpack
from observability.store.following import Known, arriving
from observability.store.store import StoreError
from observability.store.tables import queries
from observability.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from observability.events import Document
    from observability.settings import Settings
    from observability.store.questions import Ask, Position, Query, Table

__all__ = ["ElasticsearchStore", "open_store"]

_PAGE = 5000
_KEEP = "2m"
_SETTLES_S = 10.0
"""So long after the last new document, those are looked for that have a lower number and became visible later."""
_MOST_VALUES = 10_000
_LINES = ("airflow.task", "airflow.component")
_ONE_TRY = frozenset({"airflow.dag_id", "airflow.task_id", "airflow.run_id", "airflow.try_number"})
_OTHER_TAGS = {
    "_tags": {
        "type": "keyword",
        "script": "def tags = params._source['metric.tags']; emit(tags == null ? '' : tags.toString())",
    }
}
"""The tags that are no field of ours, as one word; a flattened field cannot be part of a composite key."""
_WHERE_IT_IS = "ignore_unavailable=true&allow_no_indices=true"
_PAUSES_S = (0.1, 0.3, 0.6)
"""A stream that is just made, or whose shard moves, answers 503 for some moments."""
_WHOLE = "allow_partial_search_results=false"
"""A shard that is away is an error, not a log in which lines are missing."""


class ElasticsearchStore:
    """The cluster behind ``connect``, which is called at the first question."""

    def __init__(self, connect: Callable[[], Cluster], environment: str, prefix: str = "") -> None:
        self._connect = connect
        self._prefix = prefix
        self._environment = environment
        self._cluster: Cluster | None = None
        self._is_opensearch = False

    def documents(self, query: Query) -> Iterator[Document]:
        """The matching documents, streamed, oldest first. Raises ``StoreError``."""
        with _understood():
            for hit in self._hits(query, _filters(query)):
                yield unpack(hit["_source"])

    def follow(self, query: Query, *, poll_s: float = 0.5) -> Iterator[Document]:
        """The matching documents, and those that arrive later, until the caller stops.

        What is new is told by the order of arrival, whatever the clocks of the writers say; each ``_id`` comes once.
        """
        stream, filters = self._stream(query.dataset), _filters(query)
        position: Position = {}
        known = Known()
        with _understood():
            there, floors = mark(self._ask, stream, filters, position)
            for hit in self._hits(query, filters):
                if hit["_seq_no"] > floors.get(hit["_index"], -1):
                    known.is_new(hit["_id"])
                yield unpack(hit["_source"])
        for identity in there if query.limit is not None else ():
            known.is_new(identity)  # left out by the limit
        looked = time.monotonic()

        def read() -> Iterator[Document]:
            nonlocal looked
            again = time.monotonic() - looked < _SETTLES_S
            with _understood():
                for hit in arrivals(self._ask, stream, filters, position, again=again):
                    if known.is_new(hit["_id"]):
                        looked = time.monotonic()
                        yield unpack(hit["_source"])

        yield from arriving(read, poll_s)

    def arrivals(self, query: Query, position: Position) -> Iterator[Document]:
        """The matching documents in the order in which they arrived, after ``position``, which moves with them."""
        with _understood():
            for hit in arrivals(self._ask, self._stream(query.dataset), _filters(query), position):
                yield unpack(hit["_source"])

    def count(self, query: Query, by: str | None = None) -> dict[str, int]:
        """Count the matches by the value of the field ``by``; under ``""`` where none is given or there is no value."""
        body: dict[str, Any] = {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": _filters(query)}}}
        if by is not None:
            body["aggs"] = {
                "by": {"terms": {"field": by, "size": _MOST_VALUES, "order": {"_key": "asc"}}},
                "none": {"missing": {"field": by}},
            }
        answer = self._ask("POST", f"/{self._stream(query.dataset)}/_search?{_WHOLE}&{_WHERE_IT_IS}", body)
        with _understood():
            if by is None:
                return {"": answer["hits"]["total"]["value"]}
            if "aggregations" not in answer:
                return {}
            if answer["aggregations"]["by"]["sum_other_doc_count"]:
                raise StoreError(
                    f"Elasticsearch cannot answer: {by} has more than {_MOST_VALUES} values;"
                    " choose a shorter time, or one DAG"
                )
            none = answer["aggregations"]["none"]["doc_count"]
            buckets = answer["aggregations"]["by"]["buckets"]
            return ({"": none} if none else {}) | {
                str(bucket.get("key_as_string", bucket["key"])): bucket["doc_count"] for bucket in buckets
            }

    def table(self, ask: Ask) -> Table:
        """One number for each combination of fields and stretch of time."""
        streams = ",".join(self._stream(dataset) for dataset in ask.datasets)
        filters = [*_filters(next(queries(ask))), *refused_to(ask)]
        path = f"/{streams}/_search?{_WHOLE}&{_WHERE_IT_IS}"
        with _understood():
            return aggregated(ask, filters, lambda body: self._ask("POST", path, body))

    def series(self) -> int:
        """Count the metric series (name and tags) that the store holds."""
        number, after = 0, None
        with _understood():
            while True:
                answer = self._page_of_series(after)
                page = answer.get("aggregations", {}).get("series", {})
                number += len(page.get("buckets", ()))
                if page.get("after_key") is None:
                    return number
                after = moved_on(after, page["after_key"])

    def _page_of_series(self, after: Any) -> Any:
        """The answer with the series behind ``after``; a server without runtime fields is an OpenSearch."""
        fields = ["metric.name", *dict.fromkeys(catalog.TAGS.values())]
        sources = {field: {"terms": {"field": field, "missing_bucket": True}} for field in (*fields, "_tags")}

        def ask(sources: dict[str, Any], **more: Any) -> Any:
            composite = {"size": _MOST_VALUES, "sources": [{name: source} for name, source in sources.items()]}
            composite |= {"after": after} if after else {}
            body = {"size": 0, "aggs": {"series": {"composite": composite}}, **more}
            return self._ask("POST", f"/{self._stream('airflow.statsd')}/_search?{_WHOLE}&{_WHERE_IT_IS}", body)

        if not self._is_opensearch:
            try:
                return ask(sources, runtime_mappings=_OTHER_TAGS)
            except StoreError as error:
                if opensearch.NO_RUNTIME_FIELDS not in str(error):
                    raise
        answer = ask(sources | {"_tags": opensearch.TAGS})
        self._is_opensearch = True
        return answer

    def health(self) -> str | None:
        """None when the store answers, else what is wrong with it and the remedy."""
        try:
            with _understood():
                red = self._is_red()
                templates = len(self._ask("GET", f"/_index_template/{self._prefix}contrail-*")["index_templates"])
        except StoreError as error:
            return str(error)
        if red:
            return "the Elasticsearch cluster is red: a shard has no copy; see GET /_cluster/allocation/explain"
        if templates < len(catalog.DATASETS):
            return "the templates are not installed; run `contrail elasticsearch setup`"
        return None

    def close(self) -> None:
        """Let go of the connections."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _is_red(self) -> bool:
        """True if a shard has no copy; a serverless cluster has no such question, and sees to that itself."""
        try:
            return bool(self._ask("GET", "/_cluster/health")["status"] == "red")
        except StoreError as error:
            if isinstance(error.__cause__, ClusterError) and "serverless" in str(error):
                return False
            raise

    def _stream(self, dataset: str) -> str:
        return catalog.DATASETS[dataset].stream(self._environment, self._prefix)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer. A page that is too large for one is asked for again, smaller; ``body`` then has its size."""
        while True:
            try:
                return self._ask_for_all(method, path, body)
            except StoreError as error:
                if not isinstance(error.__cause__, AnswerTooLarge) or body is None or body.get("size", 0) <= 1:
                    raise
                body["size"] //= 2

    def _ask_for_all(self, method: str, path: str, body: Any) -> Any:
        for pause in (*_PAUSES_S, None):
            try:
                if self._cluster is None:
                    self._cluster = self._connect()
                return self._cluster.ask(method, path, body)
            except (ClusterError, ClusterUnreachable, CredentialsError) as error:
                passing = isinstance(error, ClusterError) and error.status == 503  # noqa: PLR2004 - HTTP
                if pause is None or not passing:
                    raise StoreError(f"Elasticsearch cannot answer: {error}") from error
                time.sleep(pause)
        raise AssertionError  # the loop ends inside

    def _hits(self, query: Query, filters: list[Any]) -> Iterator[Any]:
        descending = query.newest and query.limit is not None
        pages = self._pages(query, filters, descending=descending)
        if descending:
            pages = iter([list(reversed([hit for page in pages for hit in page]))])
        for page in pages:
            yield from page

    def _pages(self, query: Query, filters: list[Any], *, descending: bool) -> Iterator[list[Any]]:
        stream = self._stream(query.dataset)
        if not self._ask("POST", f"/{stream}/_search?{_WHERE_IT_IS}&size=0", None)["_shards"]["total"]:
            return
        moment = self._moment(stream)
        left, after, most = query.limit, None, _PAGE
        body: dict[str, Any] = {
            "query": {"bool": {"filter": filters}},
            "sort": [{field: "desc" if descending else "asc"} for field in _order(query)],
            "seq_no_primary_term": True,
            "track_total_hits": False,
        }
        try:
            while left is None or left > 0:
                asked = most if left is None else min(most, left)
                body |= {"size": asked, "pit": {"id": moment, "keep_alive": _KEEP}} | (
                    {"search_after": after} if after else {}
                )
                answer = self._ask("POST", f"/_search?{_WHOLE}", body)
                if body["size"] < asked:
                    most = body["size"]
                hits, moment = answer["hits"]["hits"], answer.get("pit_id", moment)
                yield hits
                if len(hits) < body["size"]:
                    return
                left = None if left is None else left - len(hits)
                after = moved_on(after, hits[-1]["sort"])
        finally:
            with suppress(StoreError):  # it ends by itself after _KEEP
                self._forget(moment)

    def _moment(self, stream: str) -> str:
        """A point in time of a stream; a server that has none under Elasticsearch's name is an OpenSearch."""
        if not self._is_opensearch:
            try:
                return str(self._ask("POST", f"/{stream}/_pit?keep_alive={_KEEP}&{_WHERE_IT_IS}")["id"])
            except StoreError as error:
                if opensearch.NO_SUCH_PATH not in str(error):
                    raise
        moment = str(self._ask("POST", f"/{stream}{opensearch.PIT}?keep_alive={_KEEP}")["pit_id"])
        self._is_opensearch = True
        return moment

    def _forget(self, moment: str) -> None:
        """End a point in time."""
        if self._is_opensearch:
            self._ask("DELETE", opensearch.PIT, {"pit_id": [moment]})
        else:
            self._ask("DELETE", "/_pit", {"id": moment})


def open_store(settings: Settings) -> ElasticsearchStore:
    """The store of ``[elasticsearch]``."""
    environment, prefix = settings.core.environment, settings.elasticsearch.index_prefix
    return ElasticsearchStore(lambda: open_cluster(settings), environment, prefix)


@contextmanager
def _understood() -> Iterator[None]:
    """An answer without what every Elasticsearch answers with comes from something else at that address."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        message = f"Elasticsearch cannot answer: what came back is not an answer of Elasticsearch's ({error!r});"
        raise StoreError(f"{message} correct the address in the Connection, or the proxy in between") from error


def _order(query: Query) -> list[str]:
    """By place within one try's log, which clocks cannot disturb; by time elsewhere."""
    if query.dataset not in _LINES:
        return ["@timestamp", "event.sequence"]
    one = set(query.where) >= _ONE_TRY or not {"log_id", "log.file.path"}.isdisjoint(query.where)
    return ["offset"] if one else ["@timestamp", "log.file.path", "offset"]


def _filters(query: Query) -> list[Any]:
    filters = [_having(query.dataset, field, value) for field, value in query.where.items()]
    period = {"gte": query.since, "lt": query.until}
    if limits := {sign: iso(moment, "microseconds") for sign, moment in period.items() if moment is not None}:
        filters.append({"range": {"@timestamp": limits}})
    return filters


def _having(dataset: str, field: str, wanted: str | int | tuple[str | int, ...]) -> dict[str, Any]:
    values = list(wanted) if isinstance(wanted, tuple) else [wanted]
    name = ALIASES.get(field, field) if dataset in _LINES else field
    if (spec := catalog.FIELDS.get(name)) is not None and spec.type == "text":
        return {"bool": {"should": [{"match_phrase": {name: value}} for value in values], "minimum_should_match": 1}}
    return {"terms": {name: values}}
