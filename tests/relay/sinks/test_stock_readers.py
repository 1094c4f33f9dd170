"""Our documents can be read by the readers that ship with Airflow's providers."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from types import SimpleNamespace

import elasticsearch
import pytest

from observability.relay.sinks.sink import Batch, open_sink
from observability.settings import load_settings

NAME = "dag_id=flights/run_id=manual__2026-03-01T00:00:00+00:00/task_id=load/attempt=1.log"
RUN = "manual__2026-03-01T00:00:00+00:00"
TI = SimpleNamespace(
    id=uuid.uuid4(), dag_id="flights", task_id="load", run_id=RUN, try_number=1, map_index=-1, end_date=None
)
PREFIX = b'{"airflow.dag_id":"flights","log_id":"flights-load-%b--1-1","host.name":"worker-1",' % RUN.encode()


@pytest.fixture
def batch():
    moment = datetime.now(timezone.utc)
    now = moment.isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
    first = int(moment.timestamp() * 1_000_000) * 1_000  # the order of a line is its time in ns
    frame = b'{"filename":"l.py","lineno":3,"name":"f"}'
    error = b',"error_detail":[{"exc_type":"ValueError","exc_value":"no","frames":[%b]}]' % frame
    documents = [
        PREFIX
        + b'"offset":%d,"@timestamp":"%b","timestamp":"%b","level":"info","event":"line %d","logger":"l"%b}'
        % (first + n, now, now, n, error if n == 9 else b"")
        for n in range(10)
    ]
    return Batch("airflow.task", NAME, NAME[:-4], [b"f-%d" % n for n in range(10)], documents, prefix=PREFIX)


@pytest.mark.elasticsearch
def test_the_elasticsearch_providers_reader_shows_every_line_in_order(elasticsearch_url, batch, monkeypatch):
    from observability.store.cluster import open_cluster
    from observability.store.elasticsearch_setup import install

    environment = f"r{uuid.uuid4().hex[:10]}"
    settings = load_settings(
        environ={"CONTRAIL_ELASTICSEARCH__URL": elasticsearch_url, "CONTRAIL_CORE__ENVIRONMENT": environment}
    )
    cluster = open_cluster(settings)
    install(cluster)
    sink = open_sink("elasticsearch", settings)
    assert sink.send(batch).stored == 10
    cluster.send("POST", f"/logs-airflow.task-{environment}/_refresh")
    server = json.loads(cluster.send("GET", "/").body)["version"]["number"].partition(".")[0]
    sink.close()
    cluster.close()
    if int(server) != elasticsearch.__version__[0]:  # what docs/stores.md tells those with an older server to set
        monkeypatch.setenv("AIRFLOW__ELASTICSEARCH__ES_COMPAT_WITH", server)
    monkeypatch.setenv("AIRFLOW__ELASTICSEARCH__INDEX_PATTERNS", f"logs-airflow.task-{environment}")
    from airflow.providers.elasticsearch.log.es_task_handler import ElasticsearchRemoteLogIO

    reader = ElasticsearchRemoteLogIO(host=elasticsearch_url, base_log_folder="/nowhere", host_field="host.name")
    _, lines = reader.read(NAME, TI)
    reader.client.close()

    shown = [json.loads(line) for line in lines]
    assert [line["event"] for line in shown] == [f"line {n}" for n in range(10)]
    assert (shown[0]["level"], shown[0]["logger"]) == ("info", "l")
    assert shown[9]["error_detail"][0]["exc_type"] == "ValueError"


@pytest.mark.aws
def test_the_amazon_providers_reader_shows_every_line_in_order(aws_environ, batch, monkeypatch):
    settings = load_settings(environ=aws_environ)
    sink = open_sink("cloudwatch", settings)
    assert sink.send(batch).stored == 10
    sink.close()
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT", json.dumps({"conn_type": "aws", "extra": {"region_name": "eu-central-1"}})
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", settings.cloudwatch.endpoint_url)
    monkeypatch.setenv("AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", "aws_default")
    from airflow.providers.amazon.aws.log.cloudwatch_task_handler import CloudWatchRemoteLogIO

    group = f"/contrail/{settings.core.environment}/airflow.task"
    reader = CloudWatchRemoteLogIO(
        base_log_folder="/nowhere", log_group_arn=f"arn:aws:logs:eu-central-1:123456789012:log-group:{group}"
    )
    _, lines = reader.read(NAME, TI)

    shown = [json.loads(line) for line in lines]
    assert [line["event"] for line in shown] == [f"line {n}" for n in range(10)]
    assert shown[9]["error_detail"][0]["frames"][0]["lineno"] == 3
