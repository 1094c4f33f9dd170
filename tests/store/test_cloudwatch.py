"""The store in CloudWatch reads with the rights that the generated policy gives to readers, and needs them all."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timezone

import orjson
import pytest
from iam import DeniedError, guarded

from observability.relay.sinks.cloudwatch import CloudWatchSink
from observability.relay.sinks.sink import Batch
from observability.settings import load_settings
from observability.store.aws import CALLS, logs_client
from observability.store.cloudwatch import CloudWatchStore
from observability.store.store import Query

NAME = "dag_id=d/run_id=r/task_id=t/attempt=1.log"


@pytest.fixture
def settings(moto_url, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    made = load_settings(
        environ={
            "CONTRAIL_CORE__ENVIRONMENT": f"r{uuid.uuid4().hex[:10]}",
            "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
            "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1",
            "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": moto_url,
        }
    )
    sink = CloudWatchSink(lambda: guarded(logs_client(made), made, "ContrailRelayWrites"), made)
    stamp = datetime.fromtimestamp(time.time() - 60, timezone.utc).isoformat(timespec="microseconds")
    document = orjson.dumps(
        {"offset": 0, "@timestamp": stamp.replace("+00:00", "Z"), "event": "x", "airflow.dag_id": "d"}
    )
    sink.send(Batch("airflow.task", NAME, NAME, [b"f-0"], [document]))
    sink.close()
    return made


def read_everything(settings, without=""):
    """Ask the store all that it can be asked."""
    store = CloudWatchStore(
        lambda: guarded(logs_client(settings), settings, "ContrailReads", without=without), settings
    )
    try:
        query = Query("airflow.task", {"airflow.dag_id": "d"})
        return (
            len(list(store.documents(query))),
            next(iter(store.follow(query)))["event"],
            store.series(),
            store.health(),
        )
    finally:
        store.close()


def test_a_reader_needs_no_more_than_its_policy(settings):
    assert read_everything(settings) == (1, "x", 0, None)


@pytest.mark.parametrize("call", CALLS["ContrailReads"])
def test_a_call_of_a_reader_that_the_policy_does_not_allow_is_found(settings, call):
    with pytest.raises(DeniedError, match=call):
        read_everything(settings, without=call)
