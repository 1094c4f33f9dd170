"""Task logs into CloudWatch Logs: the relay next to watchtower as Airflow's provider drives it, into the same stub."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.line_costs import put_costs
from benchmarks.task_log import NAME, measured, write_task_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_LINES = 200_000
_OURS = """
from observability.relay.relay import Relay
from observability.relay.sinks import cloudwatch
from observability.settings import load_settings
settings = load_settings(environ={
    "CONTRAIL_CORE__HOME": home, "CONTRAIL_RELAY__LOG_FOLDER": folder,
    "CONTRAIL_RELAY__SINKS": "cloudwatch", "CONTRAIL_CLOUDWATCH__CONNECTION_ID": "",
    "CONTRAIL_CLOUDWATCH__REGION": "eu-central-1", "CONTRAIL_CLOUDWATCH__ENDPOINT_URL": url,
})
client = cloudwatch.logs_client(settings)  # before the clock starts, as watchtower's is
cloudwatch.logs_client = lambda _: client
began = begin()
assert Relay(settings, statsd=False).run(once=True)
end(began, lines)
"""
_WATCHTOWER = """
from types import SimpleNamespace
from airflow.providers.amazon.aws.log.cloudwatch_task_handler import CloudWatchRemoteLogIO
arn = "arn:aws:logs:eu-central-1:123456789012:log-group:bench"
writer = CloudWatchRemoteLogIO(base_log_folder=folder, log_group_arn=arn, delete_local_copy=False)
process, = writer.processors
with open(os.path.join(folder, os.environ["NAME"])) as log:
    logger = SimpleNamespace(_file=log)
    events = [json.loads(line) for line in log]
    began = begin()
    for event in events:
        process(logger, "info", event)
    writer.upload(os.environ["NAME"], None)
    end(began, lines)
"""


def run(options: Options) -> list[Figure]:
    """Send the same lines in turns, each contender in a process of its own; all of them have to arrive."""
    lines = _LINES // 10 if options.quick else _LINES
    taken: dict[str, list[dict[str, float]]] = {"ours": [], "watchtower": []}
    with _stub() as (url, count), tempfile.TemporaryDirectory() as folder:
        logs = Path(folder, "logs")
        write_task_log(logs / NAME, lines)
        for number in range(-1, options.rounds):
            for name, code in (("ours", _OURS), ("watchtower", _WATCHTOWER)):
                one = measured(code, logs, lines, url=url, more=_variables(url, logs))
                one["lost"] = lines - count()
                if number >= 0:
                    taken[name].append(one)
    return [*_figures(taken), *put_costs(2_000 if options.quick else 20_000)]


def _variables(url: str, logs: Path) -> dict[str, str]:
    return {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws", "extra": {"region_name": "eu-central-1"}}),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "aws_default",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": url,
    }


def _figures(taken: dict[str, list[dict[str, float]]]) -> list[Figure]:
    def figure(unit: str, *targets: Target) -> Figure:
        ours, theirs = (Sample(tuple(one[unit] for one in taken[name])) for name in ("ours", "watchtower"))
        return Figure("task log to CloudWatch", unit, ours, ("watchtower, driven by the provider", theirs), targets)

    return [
        figure("docs/s", Target(ratio_at_least=10.0)),
        figure("us"),
        figure("MB", Target(at_most=80.0)),
        figure("lost", Target(at_most=0.0)),
    ]


@contextmanager
def _stub() -> Iterator[tuple[str, Any]]:
    """A server in a process of its own; ``count()`` is the number of events that it took since the last one."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_serve, args=(there,), daemon=True)
    process.start()
    url = here.recv()

    def count() -> int:
        here.send(None)
        number: int = here.recv()
        return number

    try:
        yield url, count
    finally:
        process.terminate()
        process.join()


def _serve(parent: Connection) -> None:
    events = [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers["x-amz-target"].endswith("PutLogEvents"):
                events[0] += body.count(b'"message":')
            reply = b'{"logGroups":[]}' if self.headers["x-amz-target"].endswith("DescribeLogGroups") else b"{}"
            self.send_response(200)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("x-amzn-requestid", "benchmark")
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None: ...

    from threading import Thread

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    parent.send(f"http://127.0.0.1:{server.server_port}")
    while True:
        parent.recv()
        parent.send(events[0])
        events[0] = 0
