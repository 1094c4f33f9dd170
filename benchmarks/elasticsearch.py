"""Task logs into one Elasticsearch: the relay, Airflow's own writer, helpers.bulk, and raw bulk as the limit."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.task_log import AIRFLOW_TO_ELASTICSEARCH, NAME, measured, write_task_log
from observability.local.elasticsearch_node import ElasticsearchNode

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES = 200_000

_OURS = """
from pathlib import Path
from observability.relay.relay import Relay
from observability.settings import load_settings
settings = load_settings(environ={
    "CONTRAIL_CORE__HOME": home, "CONTRAIL_CORE__ENVIRONMENT": environment,
    "CONTRAIL_RELAY__LOG_FOLDER": folder, "CONTRAIL_RELAY__SINKS": "elasticsearch", "CONTRAIL_ELASTICSEARCH__URL": url,
})
began = begin()
assert Relay(settings, statsd=False).run(once=True)
end(began, lines)
"""
_HELPERS = """
from elasticsearch import Elasticsearch
from elasticsearch.helpers import bulk
client = Elasticsearch(url)
stream = f"logs-airflow.task-{environment}"
def actions():
    offset = 0
    with open(os.path.join(folder, os.environ["NAME"]), "rb") as log:
        for line in log:
            document = json.loads(line)
            document |= {"@timestamp": document["timestamp"], "offset": offset, "log_id": "flights-load-r--1-1"}
            yield {"_op_type": "create", "_index": stream, "_id": f"f-{offset}", "_source": document}
            offset += len(line)
began = begin()
assert bulk(client, actions(), chunk_size=2000, max_chunk_bytes=1_048_576)[0] == lines
end(began, lines)
"""
_RAW = """
import urllib3
from observability.relay.sources.files.airflow_logs import log_stream
from observability.relay.sources.files.tailed_file import TailedFile
from observability.relay.steps.splice import splice
from pathlib import Path
path = Path(folder, os.environ["NAME"])
file = TailedFile(log_stream(os.environ["NAME"], "host", environment), path, 0, 0, "0123456789abcdef")
made = splice(file, path.read_bytes(), 0)
bodies, batch, size = [], [], 0
for key, document in zip(made.ids, made.documents):
    batch.append(b'{"create":{"_id":"%b"}}\\n%b\\n' % (key, document))
    size += len(document)
    if size > 1_048_576:
        bodies.append(b"".join(batch)); batch, size = [], 0
bodies.append(b"".join(batch))
pool = urllib3.connection_from_url(url)
path = f"/logs-airflow.task-{environment}/_bulk?filter_path=errors"
began = begin()
for body in bodies:
    reply = pool.urlopen("POST", path, body=body, headers={"content-type": "application/x-ndjson"})
    assert reply.data == b'{"errors":false}', reply.data[:500]
end(began, lines)
"""
_CONTENDERS = {"ours": _OURS, "airflow": AIRFLOW_TO_ELASTICSEARCH, "helpers.bulk": _HELPERS, "raw bulk": _RAW}


def run(options: Options) -> list[Figure]:
    """Send the same file of task log lines in turns, each contender in a process of its own."""
    lines = _LINES // 20 if options.quick else _LINES
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in _CONTENDERS}
    with node() as url, tempfile.TemporaryDirectory() as folder:
        logs = Path(folder, "logs")
        write_task_log(logs / NAME, lines)
        prepare(url)
        for number in range(-1, options.rounds):
            for name, code in _CONTENDERS.items():
                one = measured(code, logs, lines, url=url, environment=f"b{os.getpid()}r{number + 1}{name[0]}")
                if number >= 0:
                    taken[name].append(one)
    return _figures(taken)


def _figures(taken: dict[str, list[dict[str, float]]]) -> list[Figure]:
    def sample(name: str, unit: str) -> Sample:
        return Sample(tuple(one[unit] for one in taken[name]))

    def figure(unit: str, peer: str, *targets: Target) -> Figure:
        return Figure("task log to Elasticsearch", unit, sample("ours", unit), (peer, sample(peer, unit)), targets)

    return [
        figure("docs/s", "airflow", Target(ratio_at_least=2.5)),
        figure("docs/s", "helpers.bulk"),
        figure("docs/s", "raw bulk", Target(ratio_at_least=0.90)),
        figure("us", "airflow", Target(at_most=3.0)),
        figure("us", "helpers.bulk"),
        figure("us", "raw bulk"),
        figure("MB", "airflow", Target(at_most=80.0)),
        figure("MB", "helpers.bulk"),
    ]


@contextmanager
def node() -> Iterator[str]:
    """The address of an Elasticsearch: that of ``ES_URL``, else of a node of its own."""
    if url := os.environ.get("ES_URL"):
        yield url
    else:
        with ElasticsearchNode() as own:
            yield own.url


def prepare(url: str) -> None:
    """Install templates and retention, as ``contrail elasticsearch setup`` does."""
    from observability.credentials import Credentials
    from observability.store.cluster import Cluster
    from observability.store.elasticsearch_setup import install

    cluster = Cluster(Credentials(url=url))
    install(cluster)
    cluster.close()
