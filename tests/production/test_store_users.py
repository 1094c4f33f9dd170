"""Each user of the compose file's Elasticsearch, on a real server with its security on: its job, and nothing else."""

from __future__ import annotations

import json
import ssl
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import httpx
import orjson
import pytest
from secure_elasticsearch import PASSWORD, USER, secure_node

from observability.catalog import ALERT_INDEX
from observability.credentials import Credentials
from observability.events import Identity, TaskFailed
from observability.local.elasticsearch_node import VERSION, NodeError
from observability.relay.sinks import Batch
from observability.relay.sinks.elasticsearch import ElasticsearchSink
from observability.store import Query
from observability.store.cluster import Cluster
from observability.store.elasticsearch import ElasticsearchStore
from observability.store.elasticsearch_setup import install

sys.path.insert(0, str(Path(__file__).parents[2] / "deploy/compose"))
import elk

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(600)]

STREAM, OTHERS = "logs-etl.event-prod", "payroll"
LINE = {"@timestamp": "2026-01-02T03:04:05.000Z", "event.action": "task.failed"}

ACTIONS = {
    "health": ("GET", "/_cluster/health", None),
    "read templates": ("GET", "/_index_template/contrail-*", None),
    "append": ("POST", f"/{STREAM}/_bulk", [{"create": {}}, LINE]),
    "refresh": ("POST", f"/{STREAM}/_refresh", None),
    "search": ("POST", f"/{STREAM}/_search", {}),
    "shards": ("GET", f"/{STREAM}/_search_shards", None),
    "read mapping": ("GET", f"/{STREAM}/_mapping", None),
    "delete a document": ("POST", f"/{STREAM}/_delete_by_query", {"query": {"match_none": {}}}),
    "change a document": ("POST", f"/{STREAM}/_update_by_query", {"query": {"match_none": {}}}),
    "change the mapping": ("PUT", f"/{STREAM}/_mapping", {"properties": {"new": {"type": "keyword"}}}),
    "change settings": ("PUT", f"/{STREAM}/_settings", {"index": {"number_of_replicas": 0}}),
    "roll over": ("POST", f"/{STREAM}/_rollover?dry_run=true", {}),
    "read alerts of Kibana": ("POST", f"/{ALERT_INDEX}/_search", {}),
    "write alerts of Kibana": ("POST", f"/{ALERT_INDEX}/_doc", LINE),
    "empty the alerts of Kibana": ("POST", f"/{ALERT_INDEX}/_delete_by_query", {"query": {"match_none": {}}}),
    "delete the alerts of Kibana": ("DELETE", f"/{ALERT_INDEX}", None),
    "read others": ("POST", f"/{OTHERS}/_search", {}),
    "write others": ("POST", f"/{OTHERS}/_doc", LINE),
    "make others": ("PUT", "/stranger", {}),
    "install a template": ("PUT", "/_index_template/zz", {"index_patterns": ["zz-*"]}),
    "install a pipeline": ("PUT", "/_ingest/pipeline/zz", {"processors": []}),
    "store a script": ("PUT", "/_scripts/zz", {"script": {"lang": "painless", "source": "1"}}),
    "read users": ("GET", "/_security/user", None),
    "make a role": ("PUT", "/_security/role/zz", {}),
    "make a key": ("POST", "/_security/api_key", {"name": "zz"}),
    "change the cluster": ("PUT", "/_cluster/settings", {"transient": {"indices.recovery.max_bytes_per_sec": "40mb"}}),
    "read snapshots": ("GET", "/_snapshot/_all", None),
}
READS = {"health", "read templates", "search", "shards", "read mapping"}
MAY = {
    "contrail_relay": {"health", "read templates", "append", "refresh", "search", "shards"},
    "contrail_reader": READS,
    "contrail_watcher": READS | {"read alerts of Kibana"},
    "contrail_setup": {
        "health", "read templates", "install a template", "refresh", "shards", "read mapping", "change the mapping",
        "change settings", "roll over",
    },
    "contrail_boards": READS | {"read alerts of Kibana", "write alerts of Kibana"},
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a node with the users of ``elk.py``, and what opens it for each."""
    folder = tmp_path_factory.mktemp("secure")
    try:
        users = [(name, f"the-password-of-{name}", roles) for name, roles in elk.USERS.items()]
        node = secure_node(VERSION, folder, users, elk.ROLES).start()
    except NodeError as error:
        pytest.skip(str(error))
    authority = str(folder / "authority.pem")
    url = f"https://localhost:{node.port}"
    trust = ssl.create_default_context(cafile=authority)
    try:
        with httpx.Client(base_url=url, auth=(USER, PASSWORD), verify=trust, timeout=60) as client:
            elk._wait(client)
            client.put(f"/{OTHERS}/_doc/1", json=LINE).raise_for_status()
            yield lambda user: Credentials(url, user, f"the-password-of-{user}", {"ca_certs": authority})
    finally:
        node.stop()


@pytest.fixture(scope="module")
def installed(server):
    """Templates by the user for set-up, a document by that of the relay, an alert by that of the boards."""
    cluster = Cluster(server("contrail_setup"))
    report = install(cluster, environment="prod")
    cluster.close()
    assert report.version == VERSION
    event = TaskFailed(identity=Identity(dag_id="d", task_id="t", run_id="r"), reason="it broke", cause="app")
    sink = ElasticsearchSink(lambda: Cluster(server("contrail_relay")), "prod")
    batch = Batch("etl.event", "j", "j", [event.id.encode()], [orjson.dumps(event.document())])
    assert sink.send(batch).stored == 1
    assert sink.send(replace(batch, resent=True)).duplicates == 1
    sink.close()
    assert status(server("contrail_boards"), "write alerts of Kibana") in {200, 201}
    return event


def status(credentials, action):
    """The answer of the server; for an append, what it says of the document."""
    method, path, body = ACTIONS[action]
    data = b"".join(orjson.dumps(one) + b"\n" for one in body) if isinstance(body, list) else None
    cluster = Cluster(credentials)
    try:
        answer = cluster.send(
            method,
            path,
            data or (None if body is None else orjson.dumps(body)),
            media="x-ndjson" if data else "json",
        )
    finally:
        cluster.close()
    if not data or answer.status >= 400:
        return answer.status
    return json.loads(answer.body)["items"][0]["create"]["status"]


@pytest.mark.parametrize("user", ["contrail_reader", "contrail_watcher"])
def test_a_reader_finds_what_the_relay_sent(server, installed, user):
    store = ElasticsearchStore(lambda: Cluster(server(user)), "prod")
    lately = datetime.now(timezone.utc) - timedelta(hours=1)
    found = [one["event.id"] for one in store.arrivals(Query("etl.event", since=lately), {})]

    assert found == [installed.id]
    assert store.health() is None
    store.close()


@pytest.mark.parametrize("user", sorted(elk.USERS))
def test_a_user_may_do_its_job_and_nothing_else(server, installed, user):
    answers = {action: status(server(user), action) for action in ACTIONS}
    assert {action for action, found in answers.items() if found < 400} == MAY[user]
    assert {found for found in answers.values() if found >= 400} == {403}
