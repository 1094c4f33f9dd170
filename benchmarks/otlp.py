"""Task logs and spans by OTLP: the relay beside OpenTelemetry's own SDK, to a receiver that reads and drops.

The relay reads a task's log file, as in an outage's backlog. The SDK is given the same lines as records, and keeps
nothing on disk. The Collector's filelog receiver and VictoriaLogs' vlagent, where they are built, read the same file.
The receiver reads and drops, in a process of its own. Spans are made of a journal with an attempt's end for each. What
the parts of a line's way cost alone stands beside the rest.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks import filelog, vlagent
from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.line_costs import line_costs
from benchmarks.task_log import NAME, measured, write_task_log
from observability.journal import frame

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES = 200_000
_SPANS = 1_000_000
_PEERS = {
    "SDK": "OpenTelemetry SDK", "filelog": "OpenTelemetry filelog",
    "vlagent": "VictoriaLogs vlagent, by its own protocol and zstd",
}  # fmt: skip
_OURS_TO_SET = ("CONTRAIL_", "AIRFLOW", "OTEL")
_RECEIVER = """
import asyncio
async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            lines = head.lower().split(b"\\r\\n")
            size = int(next(line for line in lines if line.startswith(b"content-length")).split(b":")[1])
            await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
_OURS = """
from observability.relay.relay import Relay
from observability.settings import load_settings
settings = load_settings(environ={
    "CONTRAIL_CORE__HOME": home, "CONTRAIL_RELAY__LOG_FOLDER": folder,
    "CONTRAIL_RELAY__SINKS": "otlp", "CONTRAIL_OTLP__URL": url, "CONTRAIL_OTLP__COMPRESSION": environment,
    "CONTRAIL_OTLP__SIGNALS": os.environ.get("SIGNALS", "logs"),
})
began = begin()
assert Relay(settings, statsd=False).run(once=True)
end(began, lines)
"""
_SDK = """
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
exporter = OTLPLogExporter(endpoint=f"{url}/v1/logs", compression=Compression(environment))
provider = LoggerProvider()
processor = BatchLogRecordProcessor(exporter, max_queue_size=lines + 1, max_export_batch_size=4096)
provider.add_log_record_processor(processor)
logger = provider.get_logger("airflow.task")
began = begin()
with open(os.path.join(folder, os.environ["NAME"]), "rb") as log:
    for line in log:
        fields = json.loads(line)
        logger.emit(LogRecord(
            timestamp=1, body=fields.pop("event"),
            severity_number=SeverityNumber.INFO, severity_text=fields.pop("level"),
            attributes={"airflow.dag_id": "flights", "airflow.task_id": "load", "airflow.run_id": "r", **fields},
        ))
assert provider.force_flush(240_000)
end(began, lines)
"""


def run(options: Options) -> list[Figure]:
    """Send the same lines in turns, gzip and not; then the spans, once."""
    lines = _LINES // 20 if options.quick else _LINES
    taken: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder, _receiver() as url:
        logs = Path(folder, "logs")
        write_task_log(logs / NAME, lines)
        for number in range(-1, options.rounds):
            for compression in ("none", "gzip"):
                for name, code in (("ours", _OURS), ("SDK", _SDK)):
                    one = measured(code, logs, lines, url=url, environment=compression)
                    if number >= 0:
                        taken.setdefault((name, compression), []).append(one)
            for name, one in _shippers(url, logs, lines) if number >= 0 else ():
                taken.setdefault((name, "none"), []).append(one)
        spans = _spans(url, Path(folder), _SPANS // 50 if options.quick else _SPANS)
    return [*_figures(taken), *spans, *line_costs(2_000 if options.quick else 20_000)]


def _shippers(url: str, logs: Path, lines: int) -> Iterator[tuple[str, dict[str, float]]]:
    """The shippers that ``make receivers`` built, and what each took."""
    if (collector := filelog.built("otelcol")) is not None:
        yield "filelog", filelog.measured(collector, url, logs, lines, "none")
    if (program := filelog.built("vlagent")) is not None:
        yield "vlagent", vlagent.measured(program, url, logs, lines)


def _figures(taken: dict[tuple[str, str], list[dict[str, float]]]) -> list[Figure]:
    def figure(compression: str, unit: str, *targets: Target, peer: str = "SDK") -> Figure:
        ours, theirs = (Sample(tuple(one[unit] for one in taken[name, compression])) for name in ("ours", peer))
        name = f"task log by OTLP, compression {compression}"
        return Figure(name, unit, ours, (_PEERS[peer], theirs), targets)

    built = [peer for peer in ("filelog", "vlagent") if (peer, "none") in taken]
    return [
        *(figure("none", unit, peer=peer) for peer in built for unit in ("us", "MB")),
        figure("none", "us", Target(at_most=2.8)),
        figure("none", "docs/s", Target(at_least=250_000)),
        figure("none", "MB", Target(at_most=80.0)),
        figure("gzip", "us"),
        figure("gzip", "docs/s"),
        figure("gzip", "MB", Target(at_most=80.0)),
    ]


def _spans(url: str, folder: Path, number: int) -> list[Figure]:
    """A journal of that many ends of attempts, sent as spans and nothing else."""
    home = folder / "home"
    (home / "journal").mkdir(parents=True)
    with (home / "journal" / "etl.event-20260131-000.journal").open("wb") as journal:
        for one in range(number):
            journal.write(frame(orjson.dumps(_end_of_attempt(one))))
    env = {"AIRFLOW_HOME": str(home), "SIGNALS": "traces"}
    code = _OURS.replace(
        '"CONTRAIL_OTLP__COMPRESSION"', '"CONTRAIL_OTLP__SIGNALS": "traces", "CONTRAIL_OTLP__COMPRESSION"'
    )
    found = measured(code, folder / "nothing", number, url=url, environment="gzip", more=env)
    took, memory = Sample((number / found["docs/s"],)), Sample((found["MB"],))
    return [
        Figure(f"{number:,} spans from the journal", "s", took, targets=(Target(at_most=60.0),)),
        Figure(f"{number:,} spans from the journal", "MB", memory, targets=(Target(at_most=80.0),)),
        Figure(f"{number:,} spans from the journal", "us", Sample((found["us"],))),
    ]


def _end_of_attempt(number: int) -> dict[str, object]:
    return {
        "event.id": f"{number:032x}", "@timestamp": "2026-01-31T12:00:00.000000Z", "event.action": "task.succeeded",
        "airflow.dag_id": "flights", "airflow.task_id": f"task_{number % 50}", "airflow.run_id": f"run_{number // 50}",
        "airflow.try_number": 1, "airflow.map_index": -1, "airflow.operator": "Python", "airflow.state": "success",
        "trace.id": f"{number // 50 + 1:032x}", "event.duration": 1_000_000_000, "airflow.peak_rss": 100_000_000,
        "event.kind": "event", "event.outcome": "success", "event.sequence": number, "log.level": "info",
        "message": "Task succeeded on attempt 1", "service.name": "airflow", "host.name": "h",
    }  # fmt: skip


@contextmanager
def _receiver() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", _RECEIVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        server.terminate()
