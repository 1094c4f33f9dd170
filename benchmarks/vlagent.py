"""VictoriaLogs' own shipper with its persistent queue, on one processor: it reads the same log file.

It speaks VictoriaLogs' protocol and not OTLP, and compresses by zstd, which cannot be turned off. ``make receivers``
builds it.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from typing import TYPE_CHECKING

import httpx
import psutil

from benchmarks.filelog import until_still
from observability.local.ports import any_port

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["measured"]

_SENT = re.compile(r"^vlagent_remotewrite_block_size_rows_sum (\S+)$", re.MULTILINE)


def measured(program: Path, url: str, logs: Path, lines: int) -> dict[str, float]:
    """Processor time a line and most memory, until it has had nothing to do for some seconds."""
    port = any_port(socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            str(program), f"-fileCollector.glob={logs}/**/*.log", "-fileCollector.msgField=event",
            "-fileCollector.timeField=timestamp", f"-tmpDataPath={folder}", f"-remoteWrite.url={url}/insert/native",
            f"-httpListenAddr=127.0.0.1:{port}", "-loggerLevel=ERROR",
        ]  # fmt: skip
        with subprocess.Popen(command, env={**os.environ, "GOMAXPROCS": "1"}) as process:
            try:
                used, most = until_still(psutil.Process(process.pid))
                sent = _SENT.search(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
            finally:
                process.terminate()
    if sent is None or float(sent[1]) != lines:
        raise RuntimeError(f"vlagent sent {sent and sent[1]} of {lines} lines: its figure would be of fewer")
    return {"us": used / lines * 1e6, "MB": most / 2**20}
