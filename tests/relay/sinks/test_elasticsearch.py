"""The Elasticsearch sink against a real node, with and without a harmful proxy between them."""

from __future__ import annotations

import random
import time
import uuid
from http.client import HTTPConnection
from urllib.parse import urlsplit

import orjson
import pytest
from fault_proxy import FAULTS, FaultProxy

from observability.credentials import Credentials
from observability.relay.sinks import elasticsearch
from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.relay.sinks.sink import Batch, SendResult, SinkUnavailable
from observability.store.cluster import Cluster, Reply
from observability.store.elasticsearch_setup import install

pytestmark = pytest.mark.elasticsearch

_LINE = (
    b'{"airflow.dag_id":"flights","log_id":"flights-load-r--1-1","offset":%d,'
    b'"@timestamp":"2026-03-01T12:00:00.000001Z","level":"info","event":"line %d","logger":"flights.load","rows":%d}'
)


@pytest.fixture(scope="module")
def cluster(elasticsearch_url):
    cluster = Cluster(Credentials(url=elasticsearch_url))
    install(cluster)
    yield cluster
    cluster.close()


@pytest.fixture
def environment(cluster):
    """A deployment of this test's own, gone afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    yield name
    for stream in cluster.ask("GET", f"/_resolve/index/*-{name}").get("data_streams", []):
        for index in stream["backing_indices"]:
            cluster.send("DELETE", f"/{index}")
        cluster.send("DELETE", f"/_data_stream/{stream['name']}")


def connected(url, environment, timeout_s=30.0):
    def connect():
        return Cluster(Credentials(url=url), timeout_s=timeout_s)

    return ElasticsearchSink(connect, environment, sleep=lambda _: None)


@pytest.fixture
def sink(cluster, environment):
    sink = connected(cluster.url, environment)
    yield sink
    sink.close()


def lines(start, stop):
    ids = [b"f1-%d" % number for number in range(start, stop)]
    return Batch("airflow.task", "a.log", "a", ids, [_LINE % (number, number, number) for number in range(start, stop)])


def resent(batch):
    return Batch(batch.dataset, batch.source, batch.group, batch.ids, batch.documents, resent=True)


def deliver(sink, batch, attempts=60):
    """Send as the relay does: again, marked as such, until there is an answer."""
    for _ in range(attempts):
        try:
            return sink.send(batch)
        except SinkUnavailable:
            batch = resent(batch)
    raise AssertionError(f"no answer in {attempts} attempts")


def stored(cluster, environment, dataset="airflow.task"):
    """The ids in the stream, one entry per document: a doubled one is there twice."""
    stream = f"logs-{dataset}-{environment}"
    cluster.send("POST", f"/{stream}/_refresh")
    ids, after = [], None
    while True:
        query = {
            "size": 5000,
            "_source": False,
            "sort": [{"offset": "asc"}, {"_doc": "asc"}],
            "query": {"match_all": {}},
        }
        hits = cluster.ask("POST", f"/{stream}/_search", query | ({"search_after": after} if after else {}))["hits"][
            "hits"
        ]
        if not hits:
            return ids
        ids += [hit["_id"].encode() for hit in hits]
        after = hits[-1]["sort"]


def test_stores_a_batch_in_its_data_stream(sink, cluster, environment):
    batch = lines(0, 100)

    answer = sink.send(batch)

    assert answer == SendResult(stored=100)
    assert stored(cluster, environment) == batch.ids


def test_a_batch_sent_twice_is_stored_once(sink, cluster, environment):
    sink.send(lines(0, 100))

    answer = sink.send(lines(0, 100))

    assert answer == SendResult(stored=0, duplicates=100)
    assert stored(cluster, environment) == lines(0, 100).ids


def test_a_resend_across_a_rollover_doubles_nothing(sink, cluster, environment):
    sink.send(lines(0, 100))
    cluster.ask("POST", f"/logs-airflow.task-{environment}/_rollover")

    answer = sink.send(resent(lines(0, 150)))

    assert answer == SendResult(stored=50, duplicates=100)
    assert stored(cluster, environment) == lines(0, 150).ids


def test_what_a_killed_relay_sent_and_the_server_still_stores_is_not_doubled(cluster, environment):
    """The client goes as soon as its request is out; a rollover comes before the server has carried it out."""
    batch = lines(0, 20_000)
    stream, whose = f"logs-airflow.task-{environment}", f"contrail-{environment}"
    first = connected(cluster.url, environment)
    first.send(lines(20_000, 20_001))
    first.close()
    at = urlsplit(cluster.url)
    connection = HTTPConnection(at.hostname, at.port)
    headers = {"content-type": "application/x-ndjson", "x-opaque-id": whose}
    connection.request("POST", f"/{stream}/_bulk", elasticsearch._body(batch, range(20_000), {}), headers)
    connection.close()
    until = time.monotonic() + 30
    while whose.encode() not in cluster.send("GET", "/_tasks?actions=indices:data/write/bulk*&detailed").body:
        assert time.monotonic() < until
    cluster.ask("POST", f"/{stream}/_rollover")

    sink = ElasticsearchSink(lambda: Cluster(Credentials(url=cluster.url), opaque_id=whose), environment)
    answer = deliver(sink, resent(batch))
    sink.close()

    assert answer.stored + answer.duplicates == 20_000
    assert stored(cluster, environment) == [*batch.ids, b"f1-20000"]


def test_a_document_that_cannot_be_mapped_costs_that_document_only(sink, cluster, environment):
    batch = lines(0, 5000)
    batch.documents[700] = b'{"@timestamp":"yesterday","event":"x","offset":700}'

    answer = sink.send(batch)

    assert (answer.stored, [rejected.index for rejected in answer.rejected]) == (4999, [700])
    assert "failed to parse field [@timestamp]" in answer.rejected[0].reason
    assert stored(cluster, environment) == [key for key in batch.ids if key != b"f1-700"]


def test_a_users_key_that_changes_its_type_costs_nothing(sink):
    words = [
        {"rows": 5},
        {"rows": "many"},
        {"rows": True},
        {"rows": [1, 2]},
        {"rows": {"in": 1}},
        {"rows": None},
        {"rows": 1.5},
    ]
    documents = [orjson.dumps({"@timestamp": "2026-03-01T00:00:00Z", "event": "e"} | word) for word in words]

    answer = sink.send(Batch("airflow.task", "a", "a", [b"t-%d" % at for at in range(7)], documents))

    assert answer == SendResult(stored=7)


def test_a_users_key_named_like_an_alias_moves_to_labels(sink, cluster, environment):
    document = b'{"@timestamp":"2026-03-01T00:00:00Z","event":"e","message":"mine","log.level":"mine too"}'

    answer = sink.send(Batch("airflow.task", "a", "a", [b"a-0", *lines(0, 3).ids], [document, *lines(0, 3).documents]))

    assert answer == SendResult(stored=4)
    cluster.send("POST", f"/logs-airflow.task-{environment}/_refresh")
    source = cluster.ask("POST", f"/logs-airflow.task-{environment}/_search", {"query": {"ids": {"values": ["a-0"]}}})
    found = source["hits"]["hits"][0]["_source"]
    assert (found["labels.message"], found["labels.log.level"]) == ("mine", "mine too")


def test_the_flood_stage_block_is_waited_out(sink, cluster, environment):
    sink.send(lines(0, 10))
    stream = f"logs-airflow.task-{environment}"
    cluster.ask("PUT", f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": True})

    with pytest.raises(SinkUnavailable, match="cluster_block_exception"):
        sink.send(lines(10, 20))
    cluster.ask("PUT", f"/{stream}/_settings", {"index.blocks.read_only_allow_delete": None})
    answer = sink.send(resent(lines(10, 20)))

    assert answer == SendResult(stored=10)
    assert stored(cluster, environment) == lines(0, 20).ids


def test_a_refused_connection_says_what_is_unavailable(environment):
    sink = connected("http://127.0.0.1:1", environment)

    with pytest.raises(SinkUnavailable, match=r"http://127\.0\.0\.1:1 gave no whole answer"):
        sink.send(lines(0, 1))


class Stumbling:
    """A cluster that fails on one document every time, and takes the others."""

    url = "http://stumbling"
    opaque_id = ""

    def send(self, _method, path, body=None, **_):
        if "_bulk" not in path:
            return Reply(200, {}, b"{}")
        failure = {"status": 500, "error": {"type": "null_pointer_exception", "reason": "oops"}}
        items = [
            {"create": failure if b'"rows":3}' in document else {"status": 201}}
            for document in (body or b"").split(b"\n")[1::2]
        ]
        return Reply(200, {}, orjson.dumps({"errors": True, "items": items}))


def test_a_document_that_the_server_always_fails_on_does_not_stop_the_others():
    sink = ElasticsearchSink(Stumbling, "e", sleep=lambda _: None)
    batch = lines(0, 5)

    answer = deliver(sink, batch)

    assert answer.stored == 4
    assert [(one.index, one.reason) for one in answer.rejected] == [
        (3, "failed 30 times: null_pointer_exception: oops")
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_loses_and_doubles_nothing(fault, cluster, environment):
    batch = lines(0, 300)
    batch.documents[7] = b'{"poison":1}'

    with FaultProxy(cluster.url, [fault, fault], stall_s=0.6) as proxy:
        sink = connected(proxy.url, environment, timeout_s=0.5 if fault == "stall" else 5.0)
        answer = deliver(sink, batch)
        sink.close()

    assert proxy.seen[fault] >= 1
    assert [rejected.index for rejected in answer.rejected] == [7]
    assert answer.stored + answer.duplicates == 299
    assert stored(cluster, environment) == [key for key in batch.ids if key != b"f1-7"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_seeded_storm_of_faults_and_rollovers_loses_and_doubles_nothing(seed, cluster, environment):
    chance = random.Random(seed)
    faults = (chance.choice(FAULTS) if chance.random() < 0.4 else None for _ in iter(int, 1))
    poisoned = {chance.randrange(6000) for _ in range(20)}
    dead, counted = set(), 0
    with FaultProxy(cluster.url, faults, stall_s=0.6, choose=lambda _: chance.random() < 0.3) as proxy:
        sink = connected(proxy.url, environment, timeout_s=0.5)
        for start in range(0, 6000, 500):
            batch = lines(start, start + 500)
            for number in poisoned & set(range(start, start + 500)):
                batch.documents[number - start] = b'{"poison":1}'
            if chance.random() < 0.3:
                cluster.send("POST", f"/logs-airflow.task-{environment}/_rollover")
            answer = deliver(sink, batch)
            dead |= {start + rejected.index for rejected in answer.rejected}
            counted += answer.stored + answer.duplicates + len(answer.rejected)
        sink.close()

    assert dead == poisoned
    assert counted == 6000
    assert stored(cluster, environment) == [b"f1-%d" % number for number in range(6000) if number not in poisoned]


def test_a_node_that_is_killed_and_comes_back_has_each_line_once(elasticsearch_node, environment):
    cluster = Cluster(Credentials(url=elasticsearch_node.url))
    install(cluster)
    sink = connected(elasticsearch_node.url, environment)
    for start in range(0, 2000, 500):
        batch = lines(start, start + 500)
        sink.send(batch)
        if start == 1000:
            elasticsearch_node.kill()
            with pytest.raises(SinkUnavailable):
                sink.send(lines(1500, 2000))
            elasticsearch_node.start()
            deliver(sink, resent(batch))

    assert stored(cluster, environment) == lines(0, 2000).ids
    sink.close()
    cluster.close()


def test_a_request_larger_than_the_node_takes_is_halved_until_it_fits(elasticsearch_node, environment):
    cluster = Cluster(Credentials(url=elasticsearch_node.url))
    install(cluster)
    batch = lines(0, 6000)
    batch.documents[100] = batch.documents[100][:-1] + b',"payload":"' + b"x" * 1_200_000 + b'"}'
    sink = connected(elasticsearch_node.url, environment)

    answer = deliver(sink, batch)

    assert (answer.stored + answer.duplicates, [rejected.index for rejected in answer.rejected]) == (5999, [100])
    assert stored(cluster, environment) == [key for key in batch.ids if key != b"f1-100"]
    sink.close()
    cluster.close()


@pytest.mark.parametrize(("numbers", "mean"), [("3 3.7", 3.35), ("3.7 3", 3.35), ("0 -0.5", -0.25), ("1e3 1", 500.5)])
def test_an_average_over_whole_and_fractional_numbers_is_right(numbers, mean, sink, cluster, environment):
    documents = [
        b'{"@timestamp":"2026-03-01T12:00:00.000001Z","event":"x","took":%b}' % text.encode()
        for text in numbers.split()
    ]
    for number, document in enumerate(documents):
        sink.send(Batch("airflow.task", "f", "g", [b"n-%d" % number], [document]))
    stream = f"logs-airflow.task-{environment}"
    cluster.send("POST", f"/{stream}/_refresh")
    answer = cluster.ask("POST", f"/{stream}/_search", {"size": 0, "aggs": {"mean": {"avg": {"field": "took"}}}})
    assert answer["aggregations"]["mean"]["value"] == mean


@pytest.mark.parametrize("number", [2**63, 2**64, 2**200, -(2**70)])
def test_a_number_larger_than_any_type_costs_no_line(number, sink, cluster, environment):
    document = b'{"@timestamp":"2026-03-01T12:00:00.000001Z","event":"x","big":%d}' % number
    assert sink.send(Batch("airflow.task", "f", "g", [b"n-1"], [document])) == SendResult(1)
