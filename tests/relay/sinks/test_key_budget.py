"""Distinct keys, and keys that can be no field, on a real Elasticsearch: each arrives, each is found."""

from __future__ import annotations

import time
import uuid
from contextlib import closing

import orjson
import pytest
from relay_lines import TASK, line

from observability.credentials import Credentials
from observability.relay.relay import Relay
from observability.relay.steps.key_budget import KeyBudget
from observability.settings import load_settings
from observability.store import Query, open_store
from observability.store.cluster import Cluster
from observability.store.elasticsearch_setup import install

ODD = ["_id", "_source", "_routing", "_index", "", " ", "\t", ".", "..", "a..b", ".a", "a.", "a b", "k" * 60_000,
       "\0", "ä", "odd_0123456789abcdef", "airflow.extra", "*"]  # fmt: skip


@pytest.fixture
def carry(elasticsearch_url, tmp_path, logs):
    environment = f"k{uuid.uuid4().hex[:10]}"
    settings = load_settings(
        environ={
            "CONTRAIL_CORE__HOME": str(tmp_path / "home"),
            "CONTRAIL_CORE__ENVIRONMENT": environment,
            "CONTRAIL_RELAY__LOG_FOLDER": str(logs.root),
            "CONTRAIL_RELAY__SINKS": "elasticsearch",
            "CONTRAIL_STORE__BACKEND": "elasticsearch",
            "CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url,
        }
    )
    with closing(Cluster(Credentials(url=elasticsearch_url))) as cluster:
        install(cluster)

        def run(content):
            logs.write(content)
            relay = Relay(settings, statsd=False)
            assert relay.run(once=True, patience_s=60)
            cluster.send("POST", f"/*-{environment}/_refresh")
            with closing(open_store(settings)) as store:
                found = list(store.documents(Query("airflow.task", where={"log.file.path": TASK})))
            return relay.workers[0].stats, found

        def hits(field, value):
            body = {"query": {"term": {field: value}}}
            return cluster.ask("POST", f"/logs-airflow.task-{environment}/_search", body)["hits"]["total"]["value"]

        run.hits = hits
        run.mapped = lambda: sum(
            len(index["mappings"]["properties"])
            for index in cluster.ask("GET", f"/logs-airflow.task-{environment}/_mapping").values()
        )
        yield run


def test_three_thousand_distinct_keys_neither_stall_the_sink_nor_get_lost(carry):
    carry(line("first", rows=1))
    before, began = carry.mapped(), time.monotonic()
    stats, found = carry(b"".join(line(f"n{number}", 1, **{f"key{number}": number}) for number in range(3_000)))
    took = time.monotonic() - began
    assert stats.dead_letters == 0
    assert {name: one[name] for one in found for name in one if name.startswith("key")} == {
        f"key{number}": number for number in range(3_000)
    }
    assert carry.mapped() - before <= 200
    assert took < 60, took
    assert (carry.hits("key0", 0), carry.hits("airflow.extra.key2999", "2999")) == (1, 1)


@pytest.mark.parametrize("where", ["top", "nested", "listed"])
def test_keys_that_can_be_no_field_cost_nothing(carry, where):
    keys = {key: f"value {number}" for number, key in enumerate(ODD)}
    if where != "top":
        keys = {"data": keys if where == "nested" else [keys]}
    stats, found = carry(line("before") + line("odd", 1, **keys) + line("after", 2))
    assert stats.dead_letters == 0
    assert [one["event"] for one in found] == ["before", "odd", "after"]
    given = {**keys}
    if where == "top":
        given["extra.airflow.extra"] = given.pop("airflow.extra")
    assert found[1].items() >= given.items()


def test_one_line_of_three_thousand_keys_and_one_with_a_thousand_levels_arrive(carry):
    deep = (
        b'{"timestamp":"2026-01-31T12:00:05.000000Z","level":"info","event":"deep","body":'
        + b"[" * 900
        + b"]" * 900
        + b"}\n"
    )
    wide = {f"wide{number}": {"x": number} for number in range(3_000)}
    stats, found = carry(line("wide", **wide) + deep + line("after", 9))
    assert stats.dead_letters == 0
    assert found[0].items() >= wide.items()
    assert len(found) == 3


def test_a_line_of_usual_keys_is_not_touched_and_a_new_key_is_taken_while_the_budget_lasts():
    budget = KeyBudget(2)
    plain = line("x", 0, logger="a", lineno=1, filename="b.py")[:-1]
    assert list(budget.packed(plain, [plain])) == []
    assert list(budget.packed(b"", [line("x", 0, a=1)[:-1], line("x", 0, b={"c": 1})[:-1]])) == []
    [(place, packed)] = budget.packed(b"", [plain, line("x", 0, a=2, d=1)[:-1]])
    assert (place, orjson.loads(packed)["airflow.extra"], orjson.loads(packed)["a"]) == (1, {"d": 1}, 2)
