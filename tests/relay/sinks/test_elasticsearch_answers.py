"""The Elasticsearch sink does what each answer asks for; the answers are Elasticsearch's own, told by a script."""

from __future__ import annotations

import orjson
import pytest

from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.relay.sinks.sink import Batch, Rejected, SendResult, SinkUnavailable
from observability.store.cluster import ClusterUnreachable, Reply

TEMPLATE = (200, {"index_templates": [{"name": "contrail"}]})
BLOCKED = {"type": "cluster_block_exception", "reason": "read only"}
PARSING = {"type": "document_parsing_exception", "reason": "[1:2] no", "caused_by": {"reason": "not a number"}}


class Script:
    """A cluster that gives its answers in order, and keeps what it was asked."""

    url = "http://es"

    def __init__(self, *answers):
        self.answers, self.asked, self.closed = list(answers), [], 0

    def send(self, method, path, body=None, *, media="json"):
        self.asked.append((method, path.partition("?")[0], body, media))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, document, *headers = answer
        return Reply(status, headers[0] if headers else {}, orjson.dumps(document))

    def ids(self):
        """The ids of each bulk request, in order."""
        return [
            [orjson.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
            for _, path, body, _ in self.asked
            if path.endswith("_bulk")
        ]

    def close(self):
        self.closed += 1


def bulk(*items):
    """A bulk answer of (status, error) or a status for each document."""
    pairs = [item if isinstance(item, tuple) else (item, None) for item in items]
    bodies = [{"create": {"status": status} | ({"error": error} if error else {})} for status, error in pairs]
    return 200, {"errors": any(status >= 300 for status, _ in pairs), "items": bodies}


def batch(number, **more):
    ids = [b"id%d" % one for one in range(number)]
    return Batch("etl.event", "a.journal", "a", ids, [b'{"n":%d}' % one for one in range(number)], **more)


def sink_of(script):
    return ElasticsearchSink(lambda: script, "prod", sleep=lambda _: None)


def test_a_batch_is_one_request_of_creates_into_its_stream():
    script = Script(TEMPLATE, bulk(201, 201))
    assert sink_of(script).send(batch(2)) == SendResult(2)
    method, path, body, media = script.asked[1]
    assert (method, path, media) == ("POST", "/logs-etl.event-prod/_bulk", "x-ndjson")
    assert body == b'{"create":{"_id":"id0"}}\n{"n":0}\n{"create":{"_id":"id1"}}\n{"n":1}\n'


def test_the_template_is_asked_for_once():
    script = Script(TEMPLATE, bulk(201), bulk(201))
    sink = sink_of(script)
    assert [sink.send(batch(1)), sink.send(batch(1))] == [SendResult(1), SendResult(1)]
    assert [method for method, *_ in script.asked] == ["GET", "POST", "POST"]


def test_without_its_template_nothing_is_written_and_the_remedy_is_named():
    script = Script((404, {}))
    with pytest.raises(SinkUnavailable, match="contrail elasticsearch setup"):
        sink_of(script).send(batch(1))
    assert script.ids() == []


def test_each_document_counts_by_its_own_answer():
    script = Script(TEMPLATE, bulk(201, 409, (400, PARSING), 200))
    reason = "document_parsing_exception: [1:2] no: not a number"
    assert sink_of(script).send(batch(4)) == SendResult(2, 1, [Rejected(2, reason)])


def test_only_what_was_refused_for_now_is_sent_again():
    script = Script(TEMPLATE, bulk(201, (429, {"type": "busy", "reason": "full"}), 201), bulk(201))
    assert sink_of(script).send(batch(3)) == SendResult(3)
    assert script.ids() == [["id0", "id1", "id2"], ["id1"]]


@pytest.mark.parametrize("item", [(429, {"type": "busy"}), (503, {"type": "away"}), (400, BLOCKED)])
def test_what_stays_refused_for_now_is_left_to_the_relay_and_the_rest_is_not_sent_twice(item):
    script = Script(TEMPLATE, bulk(201, item), bulk(item), bulk(201))
    sink = sink_of(script)
    with pytest.raises(SinkUnavailable, match=item[1]["type"]):
        sink.send(batch(2))
    assert sink.send(batch(2)) == SendResult(2)
    assert script.ids() == [["id0", "id1"], ["id1"], ["id1"]]


def test_a_request_that_is_too_large_is_halved_and_one_document_that_is_too_large_is_rejected():
    large = (413, {"error": "too large"})
    script = Script(TEMPLATE, large, bulk(201), large, bulk(201), large)
    found = sink_of(script).send(batch(3))
    assert script.ids() == [["id0", "id1", "id2"], ["id0"], ["id1", "id2"], ["id1"], ["id2"]]
    assert (found.stored, [one.index for one in found.rejected]) == (2, [2])
    assert found.rejected[0].reason.startswith("HTTP 413")


def test_what_may_have_been_stored_is_looked_up_first():
    script = Script(TEMPLATE, (200, {}), (200, {"hits": {"hits": [{"_id": "id1"}]}}), bulk(201, 201))
    assert sink_of(script).send(batch(3, resent=True)) == SendResult(2, 1)
    paths = [path for _, path, *_ in script.asked[1:]]
    assert paths == [f"/logs-etl.event-prod/{one}" for one in ("_refresh", "_search", "_bulk")]
    assert orjson.loads(script.asked[2][2])["query"] == {"ids": {"values": ["id0", "id1", "id2"]}}
    assert script.ids() == [["id0", "id2"]]


@pytest.mark.parametrize("found", [{"timed_out": True}, {"_shards": {"failed": 1}}])
def test_a_lookup_that_did_not_see_everything_proves_nothing(found):
    script = Script(TEMPLATE, (200, {}), (200, found))
    with pytest.raises(SinkUnavailable, match="could not say"):
        sink_of(script).send(batch(1, resent=True))
    assert script.ids() == []


@pytest.mark.parametrize(
    ("status", "says", "closed"), [(401, "credentials", 1), (403, "create_doc", 1), (503, "answered 503", 0)]
)
def test_a_refusal_of_the_whole_request_says_what_to_do(status, says, closed):
    script = Script(TEMPLATE, (status, {"error": "no"}, {"retry-after": "7"}))
    with pytest.raises(SinkUnavailable, match=says) as refused:
        sink_of(script).send(batch(1))
    assert (refused.value.retry_after_s, script.closed) == (7.0, closed)


def test_an_answer_that_is_short_of_an_item_settles_nothing():
    script = Script(TEMPLATE, (200, {"errors": True, "items": [{}]}))
    with pytest.raises(SinkUnavailable, match="1 of 2"):
        sink_of(script).send(batch(2))


def test_a_cluster_that_cannot_be_reached_is_unavailable_in_its_own_words():
    with pytest.raises(SinkUnavailable, match="no route"):
        sink_of(Script(ClusterUnreachable("no route"))).send(batch(1))
