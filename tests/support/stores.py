"""Stores of every kind for the tests, and how they are filled: through the relay's own sinks."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import orjson
import pytest

from observability.relay.sinks.sink import Batch, open_sink
from observability.settings import load_settings

NOW = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=5)


def at(seconds):
    return (NOW + timedelta(seconds=seconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def journal(dataset, facts):
    documents = [
        orjson.dumps({"event.id": f"{dataset}{n}", "@timestamp": at(n), "event.sequence": n, **fact})
        for n, fact in enumerate(facts)
    ]
    ids = [f"{dataset}{n}".encode() for n in range(len(facts))]
    return Batch(dataset, f"{dataset}.journal", dataset, ids, documents)


def embedded(tmp_path_factory):
    return {"CONTRAIL_CORE__HOME": str(tmp_path_factory.mktemp("store")), "CONTRAIL_STORE__BACKEND": "embedded"}


EVERY_STORE = (
    "embedded",
    pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
    pytest.param("cloudwatch", marks=pytest.mark.aws),
)
"""The parameters of a fixture that is one store after the other."""


def environ_of(request, tmp_path_factory):
    """The variables of an empty store of the kind that the fixture is asked for."""
    if request.param == "embedded":
        return embedded(tmp_path_factory)
    if request.param == "elasticsearch":
        return elasticsearch(request.getfixturevalue("elasticsearch_url"))
    return request.getfixturevalue("aws_environ") | {"CONTRAIL_STORE__BACKEND": "cloudwatch"}


def elasticsearch(url, *, index_prefix=""):
    from observability.store.cluster import open_cluster
    from observability.store.elasticsearch_setup import install

    environ = {
        "CONTRAIL_ELASTICSEARCH__URL": url,
        "CONTRAIL_CORE__ENVIRONMENT": f"s{uuid.uuid4().hex[:10]}",
        "CONTRAIL_ELASTICSEARCH__INDEX_PREFIX": index_prefix,
        "CONTRAIL_STORE__BACKEND": "elasticsearch",
    }
    install(open_cluster(load_settings(environ=environ)), prefix=index_prefix)
    return environ


def fill(settings, *batches):
    sink = open_sink(settings.store.backend, settings)
    for batch in batches:
        assert sink.send(batch).stored == len(batch.ids)
    sink.close()
    if settings.store.backend == "elasticsearch":
        from observability.store.cluster import open_cluster

        cluster = open_cluster(settings)
        cluster.send("POST", f"/*-{settings.core.environment}/_refresh")
        cluster.close()
