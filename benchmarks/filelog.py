"""The OpenTelemetry Collector's filelog receiver with a persistent queue, on one processor: it reads the same log file.

Its configuration takes Airflow's JSON apart, as the relay does, and waits where its queue is full: by default it drops
what comes then. It is built by ``make receivers``.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

__all__ = ["built", "measured", "until_still"]

_CONFIGURATION = """
extensions: {{file_storage: {{directory: {folder}/storage, create_directory: true}}}}
receivers:
  filelog:
    include: ["{logs}/**/*.log"]
    start_at: beginning
    storage: file_storage
    include_file_path: true
    operators:
      - type: json_parser
        timestamp: {{parse_from: attributes.timestamp, layout_type: gotime, layout: "2006-01-02T15:04:05.000000Z"}}
        severity: {{parse_from: attributes.level}}
      - {{type: move, from: attributes.event, to: body}}
exporters:
  otlp_http:
    endpoint: "{url}"
    compression: {compression}
    sending_queue: {{storage: file_storage, block_on_overflow: true}}
service:
  extensions: [file_storage]
  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}
  pipelines:
    logs: {{receivers: [filelog], exporters: [otlp_http]}}
"""
_STILL_S = 3.0
_MOST_S = 240.0


def built(name: str) -> Path | None:
    """A program that ``make receivers`` built; None where it did not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    found = cache / "contrail" / "go" / name
    return found if found.is_file() else None


def measured(collector: Path, url: str, logs: Path, lines: int, compression: str) -> dict[str, float]:
    """Processor time a line and most memory of a Collector, until it has had nothing to do for some seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "collector.yaml")
        path.write_text(_CONFIGURATION.format(folder=folder, logs=logs, url=url, compression=compression))
        log, env = Path(folder, "log"), {**os.environ, "GOMAXPROCS": "1"}
        with (
            log.open("wb") as errors,
            subprocess.Popen([collector, "--config", path], env=env, stderr=errors) as process,
        ):
            try:
                used, most = until_still(psutil.Process(process.pid))
            finally:
                process.terminate()
        if b"Rejecting data" in log.read_bytes():
            raise RuntimeError("the Collector dropped records: its figure would be of fewer lines")
    return {"us": used / lines * 1e6, "MB": most / 2**20}


def until_still(process: psutil.Process) -> tuple[float, int]:
    """Processor time in seconds and most memory in bytes, once it has had nothing to do for some seconds.

    Raises TimeoutError.
    """
    most, used, changed = 0, 0.0, time.monotonic()
    deadline = changed + _MOST_S
    while time.monotonic() - changed < _STILL_S:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{process.name()} did not become still")
        time.sleep(0.1)
        times, most = process.cpu_times(), max(most, process.memory_info().rss)
        if times.user + times.system > used + 0.02:
            used, changed = times.user + times.system, time.monotonic()
    return used, most
