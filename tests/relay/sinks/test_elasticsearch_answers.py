"""The Elasticsearch sink does what each answer asks for; the answers are Elasticsearch's own, told by a script."""

from __future__ import annotations

import orjson
import pytest

from observability.credentials import CredentialsError
from observability.relay.sinks import elasticsearch
from observability.relay.sinks.elasticsearch import ElasticsearchSink, open_sink
from observability.relay.sinks.sink import Batch, Rejected, SendResult, SinkUnavailable
from observability.settings import load_settings
from observability.store.cluster import ClusterUnreachable, Reply

TEMPLATE = (200, {"index_templates": [{"name": "contrail"}]})
BLOCKED = {"type": "cluster_block_exception", "reason": "read only"}
PARSING = {"type": "document_parsing_exception", "reason": "[1:2] no", "caused_by": {"reason": "not a number"}}


class Script:
    """A cluster that gives its answers in order, and keeps what it was asked."""

    url = "http://es"
    opaque_id = ""

    def __init__(self, *answers):
        self.answers, self.asked, self.closed, self.queries = list(answers), [], 0, []

    def send(self, method, path, body=None, *, media="json"):
        path, _, query = path.partition("?")
        self.asked.append((method, path, body, media))
        self.queries.append(query)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        status, document, *headers = answer
        body = document if isinstance(document, bytes) else orjson.dumps(document)
        return Reply(status, headers[0] if headers else {}, body)

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


def sink_of(script, **options):
    return ElasticsearchSink(lambda: script, "prod", **{"sleep": lambda _: None, **options})


def sent(script):
    """The documents of each bulk request, in order."""
    bodies = [body for _, path, body, _ in script.asked if path.endswith("_bulk")]
    return [[orjson.loads(line) for line in body.splitlines()[1::2]] for body in bodies]


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


LISTED = (200, {"nodes": {"n1": {"tasks": {"n1:7": {"headers": {"X-Opaque-Id": "contrail-0a1b"}}}}}})
OF_OTHERS = (200, {"nodes": {"n1": {"tasks": {"n1:8": {"headers": {"X-Opaque-Id": "contrail-ffff"}}}}}})


@pytest.mark.parametrize(
    "tasks",
    [[(200, {})], [OF_OTHERS], [LISTED, LISTED, (200, {})], [(403, {"error": "no"})], [(410, {"error": "gone"})]],
    ids=["none", "of others", "two of ours", "forbidden", "serverless"],
)
def test_what_may_have_been_stored_is_looked_up_when_no_earlier_request_is_carried_out(tasks):
    script = Script(TEMPLATE, *tasks, (200, {}), (200, {"hits": {"hits": [{"_id": "id1"}]}}), bulk(201))
    script.opaque_id = "contrail-0a1b"
    assert sink_of(script).send(batch(2, resent=True)) == SendResult(1, 1)
    asked = [path.rpartition("/")[2] for _, path, _, _ in script.asked[1:]]
    assert asked == [*["_tasks"] * len(tasks), "_refresh", "_search", "_bulk"]


def test_an_earlier_request_is_waited_for_over_a_connection_that_was_closed_as_well():
    script = Script(TEMPLATE, bulk(201), LISTED, (200, {}), (200, {}), (200, {"hits": {"hits": [{"_id": "id0"}]}}))
    script.opaque_id = "contrail-0a1b"
    sink = sink_of(script)
    sink.send(batch(1))
    sink.close()
    assert sink.send(batch(1, resent=True)) == SendResult(0, 1)
    assert [path.rpartition("/")[2] for _, path, _, _ in script.asked[2:]] == [
        "_tasks",
        "_tasks",
        "_refresh",
        "_search",
    ]


def test_a_server_that_does_not_end_an_earlier_request_gets_nothing_twice():
    script = Script(TEMPLATE, *[LISTED] * 6)
    script.opaque_id = "contrail-0a1b"
    slept = []
    with pytest.raises(SinkUnavailable, match=r"^http://es still carries out an earlier request of this relay$"):
        sink_of(script, sleep=slept.append).send(batch(1, resent=True))
    assert slept == [0.1, 0.2, 0.5, 1.0, 2.0]
    assert {path.rpartition("/")[2] for _, path, _, _ in script.asked[1:]} == {"_tasks"}


def test_a_relay_in_a_pod_made_anew_knows_the_requests_of_the_one_before_it(tmp_path, monkeypatch):
    def whose(home, host):
        monkeypatch.setattr("socket.gethostname", lambda: host)
        environ = {"CONTRAIL_CORE__HOME": str(tmp_path / home), "CONTRAIL_ELASTICSEARCH__URL": "http://127.0.0.1:1"}
        sink = open_sink(load_settings(environ=environ))
        try:
            return sink._connected().opaque_id
        finally:
            sink.close()

    before = whose("volume", "relay-7d4f9-x2x8q")
    assert whose("volume", "relay-7d4f9-m5k1z") == before
    assert whose("of another", "relay-7d4f9-x2x8q") != before
    assert before.startswith("contrail-")


def test_without_its_template_nothing_is_written_and_the_remedy_is_named():
    script = Script((404, {}))
    with pytest.raises(SinkUnavailable, match=r"^http://es has no template .*contrail elasticsearch setup"):
        sink_of(script).send(batch(1))
    assert script.ids() == []


def test_each_document_counts_by_its_own_answer():
    script = Script(TEMPLATE, bulk(201, 409, (400, PARSING), 200))
    reason = "document_parsing_exception: [1:2] no: not a number"
    assert sink_of(script).send(batch(4)) == SendResult(2, 1, [Rejected(2, reason)])


def test_only_what_was_refused_for_now_is_sent_again():
    script = Script(TEMPLATE, bulk(201, (429, {"type": "busy", "reason": "full"}), 201), bulk(201))
    slept = []
    assert sink_of(script, sleep=slept.append).send(batch(3)) == SendResult(3)
    assert script.ids() == [["id0", "id1", "id2"], ["id1"]]
    assert slept == [0.2]


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
    assert orjson.loads(script.asked[2][2]) == {
        "size": 3, "_source": False, "track_total_hits": False, "sort": ["_doc"],
        "query": {"ids": {"values": ["id0", "id1", "id2"]}},
    }  # fmt: skip
    assert "allow_partial_search_results=false" in script.queries[2]  # a shard that nobody has would be passed over
    assert script.ids() == [["id0", "id2"]]


@pytest.mark.parametrize("found", [{"timed_out": True}, {"_shards": {"failed": 1}}])
def test_a_lookup_that_did_not_see_everything_proves_nothing(found):
    script = Script(TEMPLATE, (200, {}), (200, found))
    with pytest.raises(SinkUnavailable, match="could not say"):
        sink_of(script).send(batch(1, resent=True))
    assert script.ids() == []


@pytest.mark.parametrize(
    "refreshed", [(200, {"_shards": {"failed": 1}}), (400, {"error": "no"}), (200, ["not", "ours"])]
)
def test_what_could_not_be_made_searchable_is_not_looked_up(refreshed):
    script = Script(TEMPLATE, refreshed)
    with pytest.raises(SinkUnavailable):
        sink_of(script).send(batch(1, resent=True))
    assert [path.rpartition("/")[2] for _, path, *_ in script.asked[1:]] == ["_refresh"]


@pytest.mark.parametrize(
    ("status", "says", "closed"), [(401, "credentials", 1), (403, "create_doc", 1), (503, "answered 503", 0)]
)
def test_a_refusal_of_the_whole_request_says_what_to_do(status, says, closed):
    script = Script(TEMPLATE, (status, {"error": "no"}, {"retry-after": "7"}))
    with pytest.raises(SinkUnavailable, match=says) as refused:
        sink_of(script).send(batch(1))
    assert (refused.value.retry_after_s, script.closed) == (7.0, closed)


@pytest.mark.parametrize("errors", [True, False])
def test_an_answer_that_is_short_of_an_item_settles_nothing(errors):
    script = Script(TEMPLATE, (200, {"errors": errors, "items": [{"create": {"status": 201}}]}))
    with pytest.raises(SinkUnavailable, match="1 of 2"):
        sink_of(script).send(batch(2))


def test_a_cluster_that_cannot_be_reached_is_unavailable_in_its_own_words():
    with pytest.raises(SinkUnavailable, match="no route"):
        sink_of(Script(ClusterUnreachable("no route"))).send(batch(1))


def test_of_a_halved_request_only_what_is_still_open_is_sent_again():
    busy = (429, {"type": "es_rejected_execution_exception", "reason": "busy"})
    script = Script(TEMPLATE, (413, {"error": "too large"}), bulk(busy), bulk(201), bulk(201))
    assert sink_of(script).send(batch(2)) == SendResult(2)
    assert script.ids() == [["id0", "id1"], ["id0"], ["id1"], ["id0"]]


def test_a_document_at_which_the_server_fails_thirty_times_is_rejected_then_and_not_before():
    fails = (500, {"type": "null_pointer_exception", "reason": "ours"})
    script = Script(TEMPLATE, bulk(201, fails), *[bulk(fails)] * 30)
    sink, found, refusals = sink_of(script), None, []
    while found is None:
        try:
            found = sink.send(batch(2))
        except SinkUnavailable as refused:
            refusals.append(str(refused))
    assert found == SendResult(1, 0, [Rejected(1, "failed 30 times: null_pointer_exception: ours")])
    assert len(script.ids()) == 31
    assert all(one.endswith("500 null_pointer_exception: ours") for one in refusals)


def test_small_files_go_in_one_request_and_their_answers_count_through_all_of_them():
    small = [batch(2), Batch("etl.event", "b.journal", "b", [b"other"], [b"{}"])]
    script = Script(TEMPLATE, bulk(201, 409, (400, PARSING)))
    found = sink_of(script).send_all(small)
    assert script.ids() == [["id0", "id1", "other"]]
    assert (found.stored, found.duplicates, [one.index for one in found.rejected]) == (1, 1, [2])
    assert found.rejected[0].reason == "document_parsing_exception: [1:2] no: not a number"


def test_of_small_files_one_that_may_have_been_stored_has_all_looked_up():
    small = [batch(1), Batch("etl.event", "b.journal", "b", [b"other"], [b"{}"], resent=True)]
    script = Script(TEMPLATE, (200, {}), (200, {"hits": {"hits": [{"_id": "other"}]}}), bulk(201))
    assert sink_of(script).send_all(small) == SendResult(1, 1)
    assert script.ids() == [["id0"]]


def test_what_one_batch_settled_says_nothing_of_the_next():
    script = Script(TEMPLATE, bulk(201, 409), bulk(201, 201))
    sink = sink_of(script)
    assert [sink.send(batch(2)), sink.send(batch(2))] == [SendResult(1, 1), SendResult(2)]


def test_a_refused_login_is_read_anew_by_the_next_batch():
    first, second = Script(TEMPLATE, (401, {"error": "no"})), Script(bulk(201))
    scripts = iter((first, second))
    sink = ElasticsearchSink(lambda: next(scripts), "prod", sleep=lambda _: None)
    with pytest.raises(SinkUnavailable):
        sink.send(batch(1))
    assert sink.send(batch(1)) == SendResult(1)
    sink.close()
    sink.close()
    assert (first.closed, second.closed) == (1, 1)


def test_a_key_with_the_name_of_an_alias_is_moved_once_and_then_it_is_the_documents_fault():
    alias = (400, {"type": "illegal_argument_exception", "reason": "Cannot write to a field alias [message]."})
    document = Batch("etl.event", "a", "a", [b"id0"], [b'{"message":"m","n":1}'])
    moved = Script(TEMPLATE, bulk(alias), bulk(201))
    assert sink_of(moved).send(document) == SendResult(1)
    assert [orjson.loads(body.splitlines()[1]) for _, path, body, _ in moved.asked if path.endswith("_bulk")] == [
        {"message": "m", "n": 1},
        {"labels.message": "m", "n": 1},
    ]
    stays = Script(TEMPLATE, bulk(alias), bulk(alias))
    assert [one.index for one in sink_of(stays).send(document).rejected] == [0]


@pytest.mark.parametrize("failed", [ClusterUnreachable("no route"), CredentialsError("no such connection")])
def test_whoever_cannot_be_asked_for_earlier_requests_is_unavailable_in_its_own_words(failed):
    script = Script(TEMPLATE, failed)
    script.opaque_id = "contrail-0a1b"
    with pytest.raises(SinkUnavailable, match=f"^{failed}$"):
        sink_of(script).send(batch(1, resent=True))
    assert script.ids() == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"hits": {"hits": ["id0"]}}, "another shape than its own"),
        ({"hits": {"hits": [{"no": "id"}]}}, "another shape than its own"),
        (["id0"], "another shape than its own"),
        (b"<html>", "unreadable answer"),
    ],
)
def test_a_lookup_whose_answer_is_not_elasticsearchs_own_says_nothing_of_the_documents(answer, says):
    script = Script(TEMPLATE, (200, {}), (200, answer))
    with pytest.raises(SinkUnavailable, match=says):
        sink_of(script).send(batch(1, resent=True))
    assert script.ids() == []


def test_a_refusal_that_is_not_elasticsearchs_own_is_about_no_document():
    script = Script(TEMPLATE, (400, b"<html>bad gateway</html>"))
    with pytest.raises(SinkUnavailable, match=r"^http://es answered 400: <html>bad gateway</html>$"):
        sink_of(script).send(batch(2))
    assert script.ids() == [["id0", "id1"]]


def test_a_document_that_cannot_be_taken_apart_is_refused_with_its_alias_at_once():
    alias = (400, {"type": "illegal_argument_exception", "reason": "Cannot write to a field alias [message]."})
    script = Script(TEMPLATE, bulk(alias))
    torn = Batch("etl.event", "a", "a", [b"id0"], [b'{"message":'])
    reason = "illegal_argument_exception: Cannot write to a field alias [message]."
    assert sink_of(script).send(torn) == SendResult(0, 0, [Rejected(0, reason)])


def test_one_small_file_is_sent_as_it_is():
    script = Script(TEMPLATE, bulk(201, 201))
    assert sink_of(script).send_all([batch(2)]) == SendResult(2)
    assert script.ids() == [["id0", "id1"]]


def lines(dataset, number, document, text=b""):
    return Batch(dataset, f"{number}.log", "a", [b"id%d" % number], [document], lines=text)


@pytest.mark.parametrize(("dataset", "where"), [("airflow.task", "airflow.extra"), ("etl.event", "mine")])
def test_keys_beyond_the_budget_leave_log_lines_only_and_of_small_files_in_all_of_them(dataset, where):
    script = Script(TEMPLATE, bulk(201, 201))
    small = [lines(dataset, 0, b'{"event":"m"}', b'{"event":"m"}'), lines(dataset, 1, b'{"event":"m","mine":1}')]
    assert sink_of(script, mapped_keys=0).send_all(small) == SendResult(2)
    assert [set(one) for one in sent(script)[0]] == [{"event"}, {"event", where}]


@pytest.mark.parametrize(("number", "failing", "given_up"), [(1, 1, 0), (3, 2, 0), (200, 2, 2), (200, 3, 0)])
def test_only_few_documents_among_many_that_were_taken_are_given_up(number, failing, given_up):
    fails = (500, {"type": "null_pointer_exception", "reason": "ours"})
    taken = [201] * (number - failing)
    script = Script(TEMPLATE, bulk(*taken, *[fails] * failing), *[bulk(*[fails] * failing)] * 69)
    sink, found, tries = sink_of(script), None, 0
    while found is None and tries < 35:
        tries += 1
        try:
            found = sink.send(batch(number))
        except SinkUnavailable:
            continue
    assert (found is not None, len(found.rejected) if found else 0) == (given_up > 0, given_up)


@pytest.mark.parametrize(("most", "again"), [(1, ["id0", "id1", "id2"]), (2, ["id2"])])
def test_what_was_settled_of_batches_that_never_came_again_is_forgotten_above_a_bound(monkeypatch, most, again):
    monkeypatch.setattr(elasticsearch, "_SETTLED_MOST", most)
    busy = (429, {"type": "busy"})
    script = Script(TEMPLATE, bulk(201, 201, busy), bulk(busy), bulk(*[201] * len(again)))
    sink = sink_of(script)
    with pytest.raises(SinkUnavailable):
        sink.send(batch(3))
    assert sink.send(batch(3)) == SendResult(3)
    assert script.ids() == [["id0", "id1", "id2"], ["id2"], again]
