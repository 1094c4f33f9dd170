"""Elasticsearch: bulk ``create`` into data streams, each document once, whatever happens on the way.

The id makes a resend harmless within one backing index only: after a rollover a data stream takes the
same id again. So what may have been stored before (``Batch.resent``) is looked up across the whole
stream first, when the server carries out no earlier request of this relay any more. What a reply has
settled is remembered until the batch is through, so that a partial failure costs the documents it names
and nothing else. A user's key that has the name of an alias of ours moves to ``labels.<key>`` (ECS:
custom keys) rather than costing its line.
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final

import orjson

from observability import catalog
from observability.credentials import CredentialsError
from observability.relay.folder_id import home_id
from observability.relay.sinks.sink import Batch, Rejected, SendResult, Sink, SinkUnavailable
from observability.relay.steps.key_budget import KeyBudget
from observability.store.cluster import RELAY_PRIVILEGES, Cluster, ClusterUnreachable, Reply, open_cluster
from observability.store.elasticsearch_templates import ALIASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from observability.settings import Settings

__all__ = ["ElasticsearchSink", "open_sink"]

_LINES: Final = frozenset({"airflow.task", "airflow.component"})
_STORED: Final = "stored"
_DUPLICATE: Final = "duplicate"
_CREATED = b'"status":201'
_ALIAS = "Cannot write to a field alias"
_ERROR = "items.*.error"
_BULK = f"_bulk?filter_path=errors,items.*.status,{_ERROR}.type,{_ERROR}.reason,{_ERROR}.caused_by.reason"
_WHERE_IT_IS = "ignore_unavailable=true&allow_no_indices=true"
_FOUND = f"_search?{_WHERE_IT_IS}&allow_partial_search_results=false&filter_path=hits.hits._id,_shards.failed,timed_out"
"""Without ``false`` a shard that no node has just now is passed over, and is neither failed nor successful."""
_REFRESH = f"_refresh?{_WHERE_IT_IS}&filter_path=_shards.failed"
_BULKS = "/_tasks?actions=indices:data/write/bulk*&filter_path=nodes.*.tasks.*.headers"
_EARLIER_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)
_PAUSES_S = (0.2,)
"""A reply that refused some documents for now is followed up this often at once; then the relay's own backoff."""
_LOOKUP = 5_000
_SETTLED_MOST = 50_000
_FAILURES_MOST = 30
_OUR_FAULT = frozenset({400, 413})
_STATE_OF_THE_CLUSTER = frozenset(
    {
        "cluster_block_exception",
        "index_closed_exception",
        "index_not_found_exception",
        "invalid_index_name_exception",
        "security_exception",
        "validation_exception",
    }
)
"""Errors with status 400 that say nothing about the document: sent again, not given up."""
_MISSHAPEN = (AttributeError, KeyError, TypeError, ValueError)
"""The errors in which an answer of another shape than Elasticsearch's ends."""
_ONE_OF_THEM = frozenset({"action_request_validation_exception", "json_parse_exception", "x_content_parse_exception"})
"""Errors of a whole request that one of its documents can cause."""


class ElasticsearchSink(Sink):
    """The cluster behind ``connect``, which is called when the first batch comes, and again after a failure of it."""

    name = "elasticsearch"
    gathers = True

    def __init__(
        self,
        connect: Callable[[], Cluster],
        environment: str,
        *,
        prefix: str = "",
        mapped_keys: int = 200,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._keys = KeyBudget(mapped_keys)
        self._connect = connect
        self._environment = environment
        self._prefix = prefix
        self._sleep = sleep
        self._cluster: Cluster | None = None
        self._settled: dict[bytes, str] = {}
        self._relabelled: dict[bytes, bytes] = {}
        self._moved: set[bytes] = set()
        self._failures: Counter[bytes] = Counter()
        self._ready: set[str] = set()

    def send(self, batch: Batch) -> SendResult:
        """Create the documents of the batch that are not in the stream yet. Raises :class:`SinkUnavailable`."""
        if batch.dataset not in self._ready:
            self._require_template(batch.dataset)
        if batch.dataset in _LINES:
            packed = self._keys.packed(batch.lines, batch.documents)
            self._relabelled.update((batch.ids[place], document) for place, document in packed)
        stream = catalog.DATASETS[batch.dataset].stream(self._environment, self._prefix)
        todo: Sequence[int] = range(len(batch.ids))
        if batch.resent or self._settled:
            todo = self._unsettled(stream, batch)
        for pause in (*_PAUSES_S, None):
            reason = self._create(stream, batch, todo)
            if reason is None:
                return self._answer(batch)
            if pause is None:
                raise SinkUnavailable(f"{self._url} refused part of a batch for {stream}: {reason}")
            self._sleep(pause)
            todo = [index for index in todo if batch.ids[index] not in self._settled]
        raise AssertionError  # the loop ends inside

    def send_all(self, batches: Sequence[Batch]) -> SendResult:
        """Create the documents of all batches by one request."""
        first, *others = batches
        if not others:
            return self.send(first)
        ids = [key for batch in batches for key in batch.ids]
        documents = [document for batch in batches for document in batch.documents]
        resent = any(batch.resent for batch in batches)
        lines = b"\n".join(batch.lines for batch in batches) if all(batch.lines for batch in batches) else b""
        return self.send(Batch(first.dataset, first.source, first.group, ids, documents, resent, lines=lines))

    def close(self) -> None:
        """Close the connections."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _require_template(self, dataset: str) -> None:
        """Without its template a stream would become a plain index, with guessed types, for good."""
        template = catalog.DATASETS[dataset].template(self._prefix)
        reply = self._post(f"/_index_template/{template}?filter_path=index_templates.name", None, "json", "GET")
        if reply.status == 404:  # noqa: PLR2004 - HTTP
            message = f"{self._url} has no template {template}; run `contrail elasticsearch setup`"
            raise SinkUnavailable(message)
        self._ready.add(dataset)

    @property
    def _url(self) -> str:
        return self._connected().url

    def _post(self, path: str, body: bytes | None, media: str = "x-ndjson", method: str = "POST") -> Reply:
        try:
            reply = self._connected().send(method, path, body, media=media)
        except (ClusterUnreachable, CredentialsError) as error:
            raise SinkUnavailable(str(error)) from error
        if reply.status in {200, *_OUR_FAULT} or (method == "GET" and reply.status in {403, 404}):
            return reply
        refusal = _unavailable(self._url, reply)
        if reply.status in {401, 403}:
            self.close()  # the Connection may have been corrected by the next time
        raise refusal

    def _connected(self) -> Cluster:
        if self._cluster is None:
            self._cluster = self._connect()
        return self._cluster

    def _create(self, stream: str, batch: Batch, todo: Sequence[int]) -> str | None:
        """Send these documents; what the reply settles is remembered. Returns why some are still open, if so."""
        if not todo:
            return None
        reply = self._post(f"/{stream}/{_BULK}", _body(batch, todo, self._relabelled))
        if reply.status != 200:  # noqa: PLR2004 - HTTP
            return self._refused_whole(stream, batch, todo, reply)
        if reply.body.count(_CREATED) == len(todo) and reply.body.startswith(b'{"errors":false'):
            if len(todo) < len(batch.ids) or self._settled:
                self._settled.update((batch.ids[index], _STORED) for index in todo)
            return None
        return self._read_items(batch, todo, _items(reply, len(todo)))

    def _refused_whole(self, stream: str, batch: Batch, todo: Sequence[int], reply: Reply) -> str | None:
        """Halve what was too much, or holds one poisoned document, until the document stands alone."""
        if not _about_a_document(reply):
            raise _unavailable(self._url, reply)
        middle = len(todo) // 2
        if not middle:
            self._settled.update((batch.ids[alone], f"HTTP {reply.status}: {_reason(reply)}") for alone in todo)
            return None
        first = self._create(stream, batch, todo[:middle])
        return self._create(stream, batch, todo[middle:]) or first

    def _read_items(self, batch: Batch, todo: Sequence[int], items: list[Any]) -> str | None:
        reason = None
        few = len(todo) <= max(1, len(batch.ids) // 100) and len(todo) < len(batch.ids)
        for index, item in zip(todo, items, strict=False):
            status, error = _outcome(item)
            if status in {200, 201}:
                self._settled[batch.ids[index]] = _STORED
            elif status == 409:  # noqa: PLR2004 - HTTP: there is one with this id
                self._settled[batch.ids[index]] = _DUPLICATE
            elif _ALIAS in _why(error) and self._move_aliases(batch, index):
                reason = _why(error)
            elif status in _OUR_FAULT and _kind(error) not in _STATE_OF_THE_CLUSTER:
                self._settled[batch.ids[index]] = _why(error)
            elif status == 500 and few and self._failed_for_good(batch.ids[index]):  # noqa: PLR2004 - HTTP
                self._settled[batch.ids[index]] = f"failed {_FAILURES_MOST} times: {_why(error)}"
            else:
                reason = f"{status} {_why(error)}"
        return reason

    def _move_aliases(self, batch: Batch, index: int) -> bool:
        """Move the keys that have the name of an alias, once; False where that cannot help."""
        key = batch.ids[index]
        relabelled = None if key in self._moved else _relabel(self._relabelled.get(key, batch.documents[index]))
        if relabelled is None:
            return False
        self._relabelled[key] = relabelled
        self._moved.add(key)
        return True

    def _failed_for_good(self, key: bytes) -> bool:
        """True for a document that the server fails on again and again, after it took its neighbours."""
        self._failures[key] += 1
        return self._failures[key] >= _FAILURES_MOST

    def _unsettled(self, stream: str, batch: Batch) -> list[int]:
        """The documents that are not known to be in the stream; those that a reply was lost for are looked up."""
        if len(self._settled) > _SETTLED_MOST:  # batches that never came again
            self._settled.clear()
            self._failures.clear()
        todo = [index for index, key in enumerate(batch.ids) if key not in self._settled]
        if batch.resent and todo:
            self._await_earlier()
            self._make_searchable(stream)
            for start in range(0, len(todo), _LOOKUP):
                for key in self._stored(stream, [batch.ids[index] for index in todo[start : start + _LOOKUP]]):
                    self._settled[key] = _DUPLICATE
            todo = [index for index in todo if batch.ids[index] not in self._settled]
        return todo

    def _await_earlier(self) -> None:
        """Wait until the server carries out no bulk request of ours any more.

        One that a killed relay sent may outlive it. Its documents are found only when they are in the index; sent again
        before that, after a rollover, they would be there twice. A server that does not list its tasks is not waited
        for: Elastic Cloud Serverless, or a key without the cluster privilege ``monitor``.
        """
        for pause in (*_EARLIER_PAUSES_S, None):
            try:
                cluster = self._connected()
                if not cluster.opaque_id:
                    return
                reply = cluster.send("GET", _BULKS)
            except (ClusterUnreachable, CredentialsError) as error:
                raise SinkUnavailable(str(error)) from error
            if reply.status != 200 or cluster.opaque_id.encode() not in reply.body:  # noqa: PLR2004 - HTTP
                return
            if pause is not None:
                self._sleep(pause)
        raise SinkUnavailable(f"{self._url} still carries out an earlier request of this relay")

    def _make_searchable(self, stream: str) -> None:
        """Refresh the stream; what a shard did not refresh would be taken for missing, and sent again."""
        reply = self._post(f"/{stream}/{_REFRESH}", b"", "json")
        try:
            is_whole = reply.status == 200 and not _json(reply).get("_shards", {}).get("failed")  # noqa: PLR2004 - HTTP
        except _MISSHAPEN as error:
            raise _misshapen(reply) from error
        if not is_whole:
            raise SinkUnavailable(f"{self._url} could not refresh all of {stream}: {_reason(reply)}")

    def _stored(self, stream: str, ids: list[bytes]) -> list[bytes]:
        query = {
            "size": len(ids),
            "_source": False,
            "track_total_hits": False,
            "sort": ["_doc"],
            "query": {"ids": {"values": [key.decode() for key in ids]}},
        }
        reply = self._post(f"/{stream}/{_FOUND}", orjson.dumps(query), "json")
        found = _json(reply)
        try:
            if reply.status == 200 and not found.get("timed_out") and not found.get("_shards", {}).get("failed"):  # noqa: PLR2004 - HTTP
                return [hit["_id"].encode() for hit in found.get("hits", {}).get("hits", ())]
        except _MISSHAPEN as error:
            raise _misshapen(reply) from error
        raise SinkUnavailable(f"{self._url} could not say which documents of {stream} it has: {_reason(reply)}")

    def _answer(self, batch: Batch) -> SendResult:
        self._relabelled.clear()
        self._moved.clear()
        if not self._settled:
            return SendResult(len(batch.ids))
        outcomes = [self._settled.pop(key, _STORED) for key in batch.ids]
        self._failures.clear()
        rejected = [Rejected(at, why) for at, why in enumerate(outcomes) if why not in {_STORED, _DUPLICATE}]
        return SendResult(outcomes.count(_STORED), outcomes.count(_DUPLICATE), rejected)


def open_sink(settings: Settings) -> ElasticsearchSink:
    """The sink of ``[elasticsearch]``."""
    opaque_id = f"contrail-{home_id(settings.home)}"  # that of a relay before this one, in a pod of another name too
    return ElasticsearchSink(
        lambda: open_cluster(settings, opaque_id=opaque_id),
        settings.core.environment,
        prefix=settings.elasticsearch.index_prefix,
        mapped_keys=settings.elasticsearch.mapped_keys,
    )


def _body(batch: Batch, todo: Sequence[int], relabelled: dict[bytes, bytes]) -> bytes:
    ids, documents = batch.ids, batch.documents
    if len(todo) != len(ids) or relabelled:
        ids = [ids[index] for index in todo]
        documents = [relabelled.get(batch.ids[index], documents[index]) for index in todo]
    before, between, behind = (repeat(one, len(ids)) for one in (b'{"create":{"_id":"', b'"}}\n', b"\n"))
    parts = zip(before, ids, between, documents, behind, strict=True)
    return b"".join(chain.from_iterable(parts))  # copied once: the pages of each copy cost more than its bytes


def _relabel(document: bytes) -> bytes | None:
    """The document with its keys that have the name of an alias moved; None where it cannot be taken apart."""
    try:
        fields = orjson.loads(document)
    except orjson.JSONDecodeError:
        return None
    return orjson.dumps({f"labels.{name}" if name in ALIASES else name: value for name, value in fields.items()})


def _items(reply: Reply, expected: int) -> list[Any]:
    items = _json(reply).get("items", [])
    if not isinstance(items, list):
        raise _misshapen(reply)
    if len(items) != expected:
        raise SinkUnavailable(f"Elasticsearch answered for {len(items)} of {expected} documents; asking again")
    return items


def _json(reply: Reply) -> dict[str, Any]:
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise SinkUnavailable(f"Elasticsearch gave an unreadable answer ({error}); asking again") from error
    if not isinstance(answer, dict):
        raise _misshapen(reply)
    return answer


def _misshapen(reply: Reply) -> SinkUnavailable:
    """An answer without what Elasticsearch answers with says nothing of a document; it is not the document's fault."""
    return SinkUnavailable(
        f"Elasticsearch gave an answer of another shape than its own ({_reason(reply)}); asking again"
    )


def _outcome(item: Any) -> tuple[int, Any]:
    """Status and error of one document. Raises :class:`SinkUnavailable` where the answer holds none."""
    outcome = next(iter(item.values()), None) if isinstance(item, dict) else None
    if not isinstance(outcome, dict) or not isinstance(status := outcome.get("status"), int):
        raise SinkUnavailable("Elasticsearch answered for a document without a status; asking again")
    return status, outcome.get("error") or {}


def _kind(error: Any) -> str:
    return str(error.get("type")) if isinstance(error, dict) else ""


def _why(error: Any) -> str:
    if not isinstance(error, dict):
        return f"error: {error}"
    caused_by = error.get("caused_by")
    cause = caused_by.get("reason") if isinstance(caused_by, dict) else None
    return f"{error.get('type', 'error')}: {error.get('reason', '')}" + (f": {cause}" if cause else "")


def _reason(reply: Reply) -> str:
    return reply.body[:500].decode("utf-8", "replace")


def _about_a_document(reply: Reply) -> bool:
    """True where a refusal of the whole request may be about one of its documents."""
    if reply.status == 413:  # noqa: PLR2004 - HTTP: too large
        return True
    try:
        return _kind(_json(reply).get("error")) in _ONE_OF_THEM
    except SinkUnavailable:
        return False  # not Elasticsearch's own words: something between us and it


def _unavailable(url: str, reply: Reply) -> SinkUnavailable:
    remedy = {
        401: "; check the Connection's credentials",
        403: f"; the user or API key needs {', '.join(RELAY_PRIVILEGES)} on the data streams",
        404: "; run `contrail elasticsearch setup`",
    }.get(reply.status, "")
    wish = reply.headers.get("retry-after", "")
    message = f"{url} answered {reply.status}{remedy}: {_reason(reply)}"
    return SinkUnavailable(message, float(wish) if wish.isascii() and wish.isdigit() else None)
