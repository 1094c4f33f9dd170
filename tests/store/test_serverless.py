"""A serverless Elasticsearch: a real node that refuses what Elastic Cloud Serverless documents that it refuses."""

import uuid
from itertools import count

import orjson
import pytest
from stores import NOW, at

from observability.credentials import Credentials
from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.relay.sinks.sink import Batch, SendResult
from observability.store.cluster import Cluster, ClusterError, Reply
from observability.store.elasticsearch import ElasticsearchStore
from observability.store.elasticsearch_setup import install
from observability.store.store import Query

ALLOWED = {
    "index.codec", "index.default_pipeline", "index.final_pipeline", "index.hidden", "index.mode",
    "index.refresh_interval",
    "index.query.default_field", "index.mapping.coerce", "index.mapping.ignore_above", "index.mapping.ignore_malformed",
    "index.mapping.source.mode", "index.mapping.synthetic_source_keep", "index.mapping.total_fields.limit",
    "index.mapping.total_fields.ignore_dynamic_beyond_limit", "index.lifecycle.origination_date",
}  # fmt: skip
"""https://www.elastic.co/docs/reference/elasticsearch/index-settings/serverless (a part)."""
GONE = ("/_ilm", "/_license", "/_cluster/health", "/_search_shards", "/_lifecycle/stats", "/_nodes", "/_cat/nodes")


class Serverless(Cluster):
    """The node behind it, with the refusals of a serverless project."""

    def send(self, method, path, body=None, *, media="json"):
        if path.startswith(GONE) or any(f"/{part}" in path for part in ("_search_shards", "_ilm")):
            uri = f"Request for uri [{path}] with method [{method}]"
            reason = f"{uri} exists but is not available when running in serverless mode"
            return refusal(410, "api_not_available_exception", reason)
        if body and "_template/" in path:
            settings = orjson.loads(body).get("template", {}).get("settings", {})
            if refused := sorted(settings.keys() - ALLOWED):
                reason = f"Settings [{','.join(refused)}] are not available when running in serverless mode"
                return refusal(400, "illegal_argument_exception", reason)
            if settings.get("index.refresh_interval") == "1s":
                reason = "index setting [index.refresh_interval=1s] should be either -1 or equal to or greater than 5s"
                return refusal(400, "illegal_argument_exception", reason)
        reply = super().send(method, path, body, media=media)
        if path == "/":
            answer = orjson.loads(reply.body)
            answer["version"]["build_flavor"] = "serverless"
            return Reply(reply.status, reply.headers, orjson.dumps(answer))
        return reply


def refusal(status, kind, reason):
    return Reply(status, {}, orjson.dumps({"error": {"type": kind, "reason": reason}, "status": status}))


@pytest.fixture
def prefix():
    return f"p{uuid.uuid4().hex[:8]}-"


@pytest.fixture
def connect(elasticsearch_url):
    made = []

    def connect(kind=Cluster):
        made.append(kind(Credentials(url=elasticsearch_url)))
        return made[-1]

    yield connect
    for cluster in made:
        cluster.close()


@pytest.mark.elasticsearch
def test_what_serverless_refuses_is_left_out_and_said_and_documents_arrive_and_are_read(connect, prefix):
    report = install(connect(Serverless), environment="prod", prefix=prefix)
    assert set(report.left_out) == {"index.auto_expand_replicas", "index.refresh_interval"}
    assert all("serverless" in why or "5s" in why for why in report.left_out.values())
    assert install(connect(Serverless), environment="prod", prefix=prefix).installed == []

    sink = ElasticsearchSink(lambda: connect(Serverless), "prod", prefix=prefix)
    facts = [{"event.id": f"{n:032}", "@timestamp": at(n), "event.action": "task.failed"} for n in range(3)]
    batch = Batch("etl.event", "j", "journal", [b"%032d" % n for n in range(3)], list(map(orjson.dumps, facts)))
    assert sink.send(batch) == SendResult(stored=3)
    sink.close()
    connect().ask("POST", f"/{prefix}*/_refresh")
    store = ElasticsearchStore(lambda: connect(Serverless), "prod", prefix)
    assert [one["event.id"] for one in store.documents(Query("etl.event", since=NOW))] == [f"{n:032}" for n in range(3)]
    assert [one["event.id"] for one in store.arrivals(Query("etl.event"), {})] == [f"{n:032}" for n in range(3)]
    assert store.health() is None
    store.close()


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    ("kind", "lost_reply", "first", "step"),
    [
        (Cluster, False, 0, 3),
        (Serverless, True, 1, 3),
        pytest.param(Cluster, False, 0, 1, marks=pytest.mark.slow),
        pytest.param(Serverless, True, 0, 1, marks=pytest.mark.slow),
    ],
)
def test_whichever_call_of_the_set_up_fails_the_next_one_finishes_it(  # noqa: PLR0913, PLR0917 - which calls of what
    connect, prefix, kind, lost_reply, first, step
):
    class Failing(kind):
        failing, calls = 0, count()

        def send(self, method, path, body=None, *, media="json"):
            fails = next(self.calls) == self.failing
            if not fails or lost_reply:
                reply = super().send(method, path, body, media=media)
            return refusal(503, "unavailable", "it failed once") if fails else reply

    whole = install(connect(kind), prefix=prefix, dry_run=True)
    failed = 0
    for failing in count(first, step):
        own = f"{prefix}{failing}-"
        cluster = connect(Failing)
        cluster.failing, cluster.calls = failing, count()
        try:
            install(cluster, prefix=own)
        except ClusterError:
            failed += 1
        if next(cluster.calls) <= failing:
            break
        again = install(connect(kind), prefix=own)
        assert len(again.installed) + len(again.unchanged) == len(whole.installed), failing
        assert install(connect(kind), prefix=own).installed == [], failing
        for what in ("_index_template", "_component_template"):  # each new one is compared with all that are there
            connect().ask("DELETE", f"/{what}/{own}*")
    assert failed > 10 // step
