"""The store takes answers that a healthy cluster seldom gives."""

from __future__ import annotations

import pytest

from observability.store import Query, StoreError
from observability.store import elasticsearch as stores
from observability.store.cluster import ClusterError
from observability.store.elasticsearch import ElasticsearchStore


class Moving:
    """A cluster whose shard is away for the first ``away`` questions."""

    def __init__(self, away):
        self.away, self.asked = away, 0

    def ask(self, _method, _path, _body=None):
        self.asked += 1
        if self.asked <= self.away:
            raise ClusterError(503, "search_phase_execution_exception", "all shards failed")
        return {"hits": {"total": {"value": 3}}}

    def close(self): ...


def test_a_shard_that_is_just_coming_is_waited_for(monkeypatch):
    pauses = []
    monkeypatch.setattr(stores.time, "sleep", pauses.append)
    cluster = Moving(3)

    assert ElasticsearchStore(lambda: cluster, "e").count(Query("airflow.task")) == {"": 3}
    assert (cluster.asked, pauses) == (4, [0.1, 0.3, 0.6])


def test_a_shard_that_stays_away_is_an_error(monkeypatch):
    monkeypatch.setattr(stores.time, "sleep", lambda _: None)
    cluster = Moving(99)

    with pytest.raises(StoreError, match="all shards failed"):
        ElasticsearchStore(lambda: cluster, "e").count(Query("airflow.task"))
    assert cluster.asked == 4
