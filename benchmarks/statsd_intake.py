"""StatsD into the relay: metrics per second taken in without loss, next to a loop that only receives."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figure import Figure, Options, Sample, Target
from observability.journal import Journal
from observability.relay.sources.statsd.listener import Statsd

if TYPE_CHECKING:
    from collections.abc import Callable

_METRICS = 300_000
_AIM = 100_000
_SENDER = """
import socket, sys, time
port, together, number, rate = map(int, sys.argv[1:])
lines = [b"contrail.task.outcomes:%d|c|#dag_id:d%d,task_id:t%d,state:success,env:dev" % (i % 7, i % 10, i % 20)
         for i in range(number)]
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", port))
begin = time.perf_counter()
for at in range(0, number, together):
    client.send(b"\\n".join(lines[at:at + together]))
    while rate and at > rate * (time.perf_counter() - begin):
        time.sleep(0.0002)
print(number / (time.perf_counter() - begin))
"""
"""Sends ``number`` counters, ``together`` in a datagram, at ``rate`` per second (0: as fast as it can)."""


def run(options: Options) -> list[Figure]:
    """Offer as much as a sender can, twenty in a datagram as clients pack them, then one in a datagram."""
    number = _METRICS // 20 if options.quick else _METRICS
    figures = []
    for together, rate in ((20, 0), (20, int(1.2 * _AIM)), (1, 0)):
        ours = [_round(_relay, together, number, rate) for _ in range(options.rounds)]
        bare = [_round(_bare, together, number, rate) for _ in range(options.rounds)]
        offered = f"at {rate:,}/s" if rate else "as fast as it goes"
        what = f"{together} in a datagram, {offered}"
        pairs = [
            (Sample(tuple(one[place] for one in ours)), Sample(tuple(one[place] for one in bare)))
            for place in (0, 1, 2)
        ]
        aim = (Target(at_least=_AIM),) if together > 1 else ()
        figures += [
            Figure(f"{what}: taken in", "metrics/s", pairs[0][0], ("recv only", pairs[0][1]), aim),
            Figure(f"{what}: lost", "metrics", pairs[1][0], ("recv only", pairs[1][1]), (Target(at_most=0),)),
            Figure(f"{what}: processor time of a metric", "us", pairs[2][0], ("recv only", pairs[2][1])),
        ]
    return figures


def _round(
    listen: Callable[[], tuple[int, Callable[[], int], Callable[[], None]]], together: int, number: int, rate: int
) -> tuple[float, float, float]:
    port, received, stop = listen()
    began = time.process_time()
    sender = subprocess.run(
        [sys.executable, "-c", _SENDER, str(port), str(together), str(number), str(rate)],
        capture_output=True,
        text=True,
        check=True,
    )
    last = -1
    while received() != last:
        last = received()
        time.sleep(0.3)
    spent = time.process_time() - began
    stop()
    return float(sender.stdout) * last / number, float(number - last), spent / max(last, 1) * 1e6


def _relay() -> tuple[int, Callable[[], int], Callable[[], None]]:
    folder = tempfile.TemporaryDirectory()
    statsd = Statsd(Journal(Path(folder.name)), "127.0.0.1", 0, spool=Path(folder.name, "statsd"), interval_s=1)
    statsd.start()

    def stop() -> None:
        statsd.stop()
        folder.cleanup()

    return statsd.port, lambda: statsd.received, stop


def _bare() -> tuple[int, Callable[[], int], Callable[[], None]]:
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_777_216)
    listener.bind(("127.0.0.1", 0))
    listener.settimeout(0.2)
    counts = [0]
    stopping = threading.Event()

    def receive() -> None:
        while not stopping.is_set():
            try:
                counts[0] += listener.recv(65_535).count(b"\n") + 1
            except TimeoutError:
                continue

    thread = threading.Thread(target=receive)
    thread.start()

    def stop() -> None:
        stopping.set()
        thread.join()
        listener.close()

    return listener.getsockname()[1], lambda: counts[0], stop
