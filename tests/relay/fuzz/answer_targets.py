"""Everything that reads what a service answered: one function for each, which raises where a law is broken.

The laws: whatever the answer, a sink says what became of each document or that it does not know, a store answers or
raises its own error, the watcher hears of every other DAG, and nobody asks for ever.

An input is one answer per line: a digit for its status, then its body. What comes after the last line is a 503.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

import httpx
import orjson
import urllib3
from airflow_answers import airflow_answer
from botocore.awsrequest import AWSResponse
from tenacity import Retrying, stop_after_attempt
from urllib3 import HTTPHeaderDict

from observability.contain import take_losses
from observability.credentials import Credentials
from observability.relay.otlp.destination import Destination
from observability.relay.otlp.receiver import Receiver
from observability.relay.sinks.cloudwatch import CloudWatchSink
from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.relay.sinks.otlp import OtlpSink
from observability.relay.sinks.sink import Batch, SinkUnavailable
from observability.settings import load_settings
from observability.store import elasticsearch
from observability.store.aws import logs_client
from observability.store.cloudwatch import CloudWatchStore
from observability.store.cluster import Cluster, Reply, open_cluster
from observability.store.elasticsearch import ElasticsearchStore
from observability.store.store import Query, StoreError
from observability.store.tables import Ask
from observability.watch.rules.config import Thresholds
from observability.watch.sources.airflow_api.scene import Scene
from observability.watch.sources.api import AirflowApi, ApiError
from observability.watch.sources.reconcile import Reconciler

__all__ = ["ANSWERS", "ANSWER_TARGETS", "STATUSES"]

NOW = 1_767_960_000.0
STATUSES = (200, 200, 200, 201, 400, 403, 404, 413, 429, 503)
_MOST_ASKED = 2_000
"""More questions than this about a few answers are asked for ever."""
_NAME = "dag_id=d/run_id=r/task_id=t/attempt=1.log"
_BATCH = Batch(
    "airflow.task",
    _NAME,
    _NAME[:-4],
    [b"f-%d" % number for number in range(3)],
    [b'{"offset":%d,"@timestamp":"2026-01-31T12:00:00.000000Z","event":"x"}' % number for number in range(3)],
)
_SINCE, _UNTIL = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 2, 1, tzinfo=timezone.utc)
_QUERY = Query("airflow.task", {"airflow.dag_id": "d"}, since=_SINCE)
_ASKS = (
    Ask(("airflow.task",), {}, _SINCE, _UNTIL, measures=(("count", ""),)),
    Ask(
        ("airflow.task",), {}, _SINCE, _UNTIL,
        measures=(("count", ""), ("p95", "rows"), ("last", "event"), ("max", "@timestamp")), by=("airflow.dag_id",),
    ),
)  # fmt: skip
_SETTINGS = load_settings(
    environ={
        "CONTRAIL_CORE__HOME": "/nonexistent",
        "CONTRAIL_CORE__ENVIRONMENT": "test",
        "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
        "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
        "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": "http://127.0.0.1:9",
        "CONTRAIL_ELASTICSEARCH__URL": "http://127.0.0.1:9",
    }
)


class _Answers:
    """The answers of an input, in turn; the last of them again and again where ``for_ever``."""

    def __init__(self, data: bytes, *, for_ever: bool = False) -> None:
        found = [(STATUSES[(line[0] - 48) % len(STATUSES)], line[1:]) for line in data.split(b"\n") if line]
        self._left = iter(found)
        self._last = found[-1] if found and for_ever else (503, b"")
        self._asked = 0

    def next(self) -> tuple[int, bytes]:
        self._asked += 1
        assert self._asked < _MOST_ASKED, "it asks for ever"
        return next(self._left, self._last)


def elasticsearch_sink(data: bytes) -> None:
    """Each document is stored, known, refused, or not answered for."""
    for resent, for_ever in itertools.product((False, True), repeat=2):
        answers = _Answers(data, for_ever=for_ever)
        sink = ElasticsearchSink(lambda answers=answers: _cluster(answers), "test", sleep=_rest)
        _send(sink, replace(_BATCH, resent=resent))


def elasticsearch_store(data: bytes) -> None:
    """A question is answered, or ends in the store's own error."""
    for for_ever in (False, True):
        for question in _questions():
            answers = _Answers(data, for_ever=for_ever)
            _ask(ElasticsearchStore(lambda answers=answers: _cluster(answers), "test"), question)


def cloudwatch_sink(data: bytes) -> None:
    """Each event is stored, known, refused, or not answered for."""
    for resent, for_ever in itertools.product((False, True), repeat=2):
        answers = _Answers(data, for_ever=for_ever)
        sink = CloudWatchSink(
            lambda answers=answers: _client(answers), _SETTINGS, settle_s=0.0, sleep=_rest, clock=lambda: NOW
        )
        sink._note = lambda _groups: None
        _send(sink, replace(_BATCH, resent=resent))
        sink.close()


def cloudwatch_store(data: bytes) -> None:
    """A question is answered, or ends in the store's own error."""
    for for_ever in (False, True):
        for question in _questions():
            answers = _Answers(data, for_ever=for_ever)
            _ask(CloudWatchStore(lambda answers=answers: _client(answers), _SETTINGS), question)


def otlp_sink(data: bytes) -> None:
    """Each document is stored, refused, or not answered for, and the sink goes on to the next batch."""
    for for_ever in (False, True):
        answers = _Answers(data, for_ever=for_ever)
        sink = OtlpSink(lambda _signal, answers=answers: _receiver(answers), ("logs",), {}, {}, _no_memory)
        for _ in range(2):
            _send(sink, _BATCH)
        sink.close()
    take_losses()


_ABOUT = ("/dags/bad/", "/logs/", "/details$", "^/pools", "^/eventLogs$", "^/assets", "dagRuns/r2")


def airflow_api(data: bytes) -> None:
    """An answer about one thing hides no failure of another DAG."""
    about = re.compile(_ABOUT[data[0] % len(_ABOUT)] if data else _ABOUT[0])
    answers = _Answers(data[1:], for_ever=True)

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v2")
        if about.search(path):
            status, body = answers.next()
            return httpx.Response(status, content=body)
        found = airflow_answer(path, request.url.params.get_list("state"), NOW)
        return httpx.Response(404 if found is None else 200, json=found)

    api = AirflowApi("http://airflow")
    api._http = httpx.Client(
        base_url="http://airflow", transport=httpx.MockTransport(answer), headers={"Authorization": "x"}
    )
    api._retrying = Retrying(stop=stop_after_attempt(1), reraise=True)
    facts = Reconciler(api, Path("/nonexistent"), Thresholds, "test").look(Scene(health_at=NOW - 5), NOW)
    told = {(fact.kind, fact.status, fact.dag_id or fact.subject) for fact in facts}
    assert told >= {("task", "firing", "good"), ("run", "firing", "good"), ("component", "firing", "scheduler")}
    take_losses()


def airflow_health(data: bytes) -> None:
    """An answer to the first question of all ends a look by the API's own error, if it ends it."""
    answers = _Answers(data)
    api = AirflowApi("http://airflow")

    def answer(_request: httpx.Request) -> httpx.Response:
        status, body = answers.next()
        return httpx.Response(status, content=body)

    transport = httpx.MockTransport(answer)
    api._http = httpx.Client(base_url="http://airflow", transport=transport, headers={"Authorization": "x"})
    api._retrying = Retrying(stop=stop_after_attempt(1), reraise=True)
    with suppress(ApiError):
        Reconciler(api, Path("/nonexistent"), Thresholds, "test").look(Scene(), NOW)
    take_losses()


def _send(sink, batch: Batch) -> None:
    try:
        answer = sink.send(batch)
    except SinkUnavailable as error:
        assert error.retry_after_s is None or 0 <= error.retry_after_s < math.inf  # noqa: PT017 - one of two right ends
    else:
        assert answer.stored + answer.duplicates + answer.dropped + len(answer.rejected) == len(batch.ids)
        assert min(answer.stored, answer.duplicates, answer.dropped) >= 0
        assert {one.index for one in answer.rejected} <= set(range(len(batch.ids)))
        assert all(isinstance(one.reason, str) for one in answer.rejected)


def _questions():
    yield lambda store: list(store.documents(_QUERY))
    yield lambda store: list(store.documents(Query("etl.event", limit=3, newest=True)))
    yield lambda store: list(store.arrivals(_QUERY, {}))
    yield lambda store: list(itertools.islice(store.arrivals(_QUERY, {"0": {"i": 3}}), 5_000))
    yield lambda store: store.count(_QUERY)
    yield lambda store: store.count(_QUERY, by="event.action")
    yield from (lambda store, ask=ask: store.table(ask) for ask in _ASKS)
    yield lambda store: store.series()
    yield lambda store: store.health()


def _ask(store, question) -> None:
    try:
        with patch.object(elasticsearch, "_PAUSES_S", ()):
            question(store)
    except StoreError as error:
        str(error).encode("utf-8", "surrogatepass")
    take_losses()


def _cluster(answers: _Answers) -> Cluster:
    if not hasattr(_cluster, "made"):
        _cluster.made = open_cluster(_SETTINGS)
        _cluster.made.close = lambda: None
    cluster = _cluster.made

    def send(_method, path, _body=None, *, media="json"):
        if "_index_template" in path and media == "json" and answers._asked == 0:
            return Reply(200, {}, b"{}")
        status, body = answers.next()
        headers = HTTPHeaderDict({"retry-after": body[:9].decode("latin-1")}) if status == 429 else HTTPHeaderDict()
        return Reply(status, headers, body)

    cluster.send = send
    return cluster


def _client(answers: _Answers):
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "testing")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "testing")
    if not hasattr(_client, "made"):
        _client.made = logs_client(_SETTINGS)
    client = _client.made
    client._endpoint.http_session = _Session(answers)
    client.close = lambda: None
    return client


_MEDIA = ("application/json", "application/x-protobuf", "text/html", "")


def _receiver(answers: _Answers) -> Receiver:
    receiver = Receiver(Destination("http://127.0.0.1:9", Credentials(url="http://127.0.0.1:9"), False, 1.0))

    def urlopen(_method, _url, **_given):
        status, body = answers.next()
        media, wish = _MEDIA[body[0] % len(_MEDIA)] if body else "", body[1:9].decode("latin-1")
        headers = HTTPHeaderDict({"content-type": media, "retry-after": wish})
        if body[:1] == b"\x7f":
            headers["content-encoding"] = "gzip"
        return urllib3.HTTPResponse(io.BytesIO(body[1:]), headers, status, preload_content=False)

    receiver._pool.urlopen = urlopen
    return receiver


def _no_memory():
    raise OSError("spans are not asked for")


class _Session:
    """The session of botocore in which every request meets the next answer."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers

    def send(self, request):
        status, body = self._answers.next()
        return AWSResponse(
            urlsplit(request.url).geturl(), status, HTTPHeaderDict({"x-amzn-requestid": "1"}), _Raw(body)
        )

    def close(self) -> None: ...


class _Raw:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_args, **_more):
        yield self._body


def _rest(_seconds: float) -> None: ...


def _json(*answers) -> bytes:
    return b"\n".join(b"0" + (one if isinstance(one, bytes) else orjson.dumps(one)) for one in answers)


ODD = (
    b"", b"0", b"0null", b"0[]", b"07", b'0"x"', b"0true", b"0{", b"0{}", b"0<html>", b"0\xff\xfe", b"4", b"5no",
    b"8\xb2",
    b"899999999999", b"0" + b"[" * 2000 + b"]" * 2000, b"0" + b'{"a":' * 1100 + b"1" + b"}" * 1100,
    b"0" + b"9" * 5000, b'0{"content":' + b"9" * 5000 + b"}", b'0{"x":NaN}', b'0{"x":"\\ud800"}',
)  # fmt: skip
_ITEMS = {
    "errors": True,
    "items": [
        {"create": {"status": 201}},
        {"create": {"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "x"}}},
        {"create": {"status": 400, "error": {"type": "x", "reason": "Cannot write to a field alias", "caused_by": {}}}},
    ],
}
_HITS = {
    "_shards": {"total": 1, "failed": 0}, "id": "p", "shards": [[{"shard": 0}]], "status": "green",
    "index_templates": [{}], "timed_out": False,
    "hits": {"total": {"value": 3}, "hits": [
        {"_id": "f-1", "_index": "i", "_seq_no": 4, "sort": [1], "_source": {"event": "x", "airflow.extra": []}}] * 3},
    "aggregations": {
        "by": {"sum_other_doc_count": 0, "buckets": [{"key": "a", "doc_count": 2}]}, "none": {"doc_count": 1},
        "rows": {"after_key": {"by0": "a"}, "buckets": [{"key": {"by0": "a"}, "doc_count": 2, "n1": {"value": 0},
                 "n2": {"value": 0}, "n3": {"value": 0}}]},
        "series": {"after_key": {"x": 1}, "buckets": [{}]}},
}  # fmt: skip
_EVENT = {
    "eventId": "1", "timestamp": 1769860800000, "ingestionTime": 1769860800001, "logStreamName": "s",
    "message": '{"offset":1,"@timestamp":"2026-01-31T12:00:00.000000Z","event":"x","airflow.dag_id":"d"}',
}  # fmt: skip
_MESSAGES = (
    "",
    "7",
    "{}",
    '{"event":"of somebody else"}',
    "[]",
    '{"@timestamp":5}',
    '{"@timestamp":"2026-01-31T12:00:00","n":1}',
    'x,"_aws":',
)
_EVENTS = {"events": [_EVENT, {**_EVENT, "message": "plain"}], "nextToken": "t", "nextForwardToken": "f"}
_REJECTED = {"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 2}}
_FAULT = b"4" + orjson.dumps({"__type": "InvalidParameterException", "message": "x"})
_MISSING = b"4" + orjson.dumps({"__type": "ResourceNotFoundException", "message": "x"})
_OTLP = (
    b"", b"{}", b"null", b"[]", b'{"partialSuccess":7}', b'{"partialSuccess":{"rejectedLogRecords":"x"}}',
    b'{"partialSuccess":{"rejectedLogRecords":"9223372036854775807","errorMessage":[]}}',
    b'{"partialSuccess":{"rejectedLogRecords":-5}}', b'{"partialSuccess":{"rejectedLogRecords":1e999}}',
    b'{"partialSuccess":{"rejectedLogRecords":' + b"9" * 5000 + b"}}", b"\n\x05\x08\x02\x12\x01x",
    b"\n\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\n\x05\x08\x02\x12\x01\xff",
    b"\x12\x03bad", b'{"message":[]}', b'{"code":{}}',
)  # fmt: skip

ANSWERS: dict[str, tuple[bytes, ...]] = {
    "elasticsearch_sink": (
        *ODD,
        _json(_ITEMS),
        _json(_HITS, _HITS, _ITEMS),
        _json({"errors": True, "items": [1, [], {"create": []}]}),
        _json({"errors": True, "items": [{"create": {"status": "x", "error": []}}] * 3}),
        _json({"errors": True, "items": [{"create": {"status": 400, "error": {"type": [], "caused_by": "x"}}}] * 3}),
        _json({"errors": True, "items": None}),
        b"4" + orjson.dumps({"error": {"type": ["json_parse_exception"]}}),
        b"7",
    ),
    "elasticsearch_store": (*ODD, _json(_HITS), _json(*[_HITS] * 3), _json({**_HITS, "hits": {"hits": [7, None]}})),
    "cloudwatch_sink": (
        *ODD, _json(_REJECTED), _json(_EVENTS, _REJECTED), _json({"rejectedLogEventsInfo": 7}),
        _json({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": "x"}}),
        _json({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": -5}}),
        _json({"events": [7, {}], "nextForwardToken": 5}), _FAULT, _MISSING, _MISSING + b"\n" + _MISSING,
    ),
    "cloudwatch_store": (
        *ODD, _json(_EVENTS), _json({"events": [_EVENT, {}, 7]}), _json({"events": None}), _MISSING,
        _json({"events": [{**_EVENT, "message": message} for message in _MESSAGES]}),
        _json({"events": [{**_EVENT, "timestamp": "x", "ingestionTime": None}]}),
    ),
    "otlp_sink": (
        *ODD, *(b"0" + media + body for media in (b"`", b"a", b"b", b"\x7f") for body in _OTLP),
        *(b"4" + media + body for media in (b"`", b"a") for body in _OTLP), b"7xx", b"8x99999999999", b"3",
    ),
    "airflow_api": tuple(b"%d" % number + one for number in range(3) for one in ODD),
    "airflow_health": (*ODD, _json({"scheduler": 5}), _json({"scheduler": {"latest_scheduler_heartbeat": "x"}})),
}  # fmt: skip
ANSWER_TARGETS = {
    one.__name__: one
    for one in (
        elasticsearch_sink,
        elasticsearch_store,
        cloudwatch_sink,
        cloudwatch_store,
        otlp_sink,
        airflow_api,
        airflow_health,
    )
}
