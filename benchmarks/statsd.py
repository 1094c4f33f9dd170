"""The cost of a metric to its caller, and how many of 300,000 arrive at a real receiver, next to statsd and datadog."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from datadog.dogstatsd.base import DogStatsd
from statsd import StatsClient  # type: ignore[import-untyped]

from benchmarks.figure import Figure, Options, Target
from benchmarks.sampling import alternate
from benchmarks.udp_receiver import receiving
from observability import metrics
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.udp_receiver import Receiver

_CALLS = 300_000
_PEERS = ("statsd", "datadog", "datadog, aggregated")


def run(options: Options) -> list[Figure]:
    """Increment a tagged counter as fast as possible by each client in turns, and ask the receiver what came."""
    calls = _CALLS // 100 if options.quick else _CALLS
    with receiving() as receiver, _sending_to(receiver.port):
        clients = _clients(receiver.port)
        costs = alternate(
            options.rounds, **{name: _cost(call, settle, receiver, calls) for name, (call, settle) in clients.items()}
        )
        lost = alternate(1, **{name: _loss(call, settle, receiver, calls) for name, (call, settle) in clients.items()})
        timers = alternate(1, ours=_loss(lambda: metrics.timing("bench.timer", 1.25), metrics.flush, receiver, calls))
    figures = []
    for peer in _PEERS:
        figures.append(
            Figure("increment", "us", costs["ours"], peer=(peer, costs[peer]), targets=(Target(at_most=0.8),))
        )
        figures.append(Figure(f"lost of {calls}", "%", lost["ours"], peer=(peer, lost[peer]), targets=_NONE))
    return [*figures, Figure(f"lost of {calls} timer samples", "%", timers["ours"], targets=_NONE)]


_NONE = (Target(at_most=0.0),)


def _clients(port: int) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """Each client's way to increment once, and to send what it may still hold."""
    plain = StatsClient("127.0.0.1", port)
    dog = DogStatsd("127.0.0.1", port, disable_telemetry=True)
    aggregated = DogStatsd(
        "127.0.0.1", port, disable_telemetry=True, disable_aggregation=False, disable_buffering=False
    )
    return {
        "ours": (lambda: metrics.increment("bench.rows", step="load"), metrics.flush),
        "statsd": (lambda: plain.incr("bench.rows"), lambda: None),
        "datadog": (lambda: dog.increment("bench.rows", tags=["step:load"]), dog.flush),
        "datadog, aggregated": (
            lambda: aggregated.increment("bench.rows", tags=["step:load"]),
            aggregated.flush_aggregated_metrics,
        ),
    }


def _cost(
    call: Callable[[], object], settle: Callable[[], object], receiver: Receiver, calls: int
) -> Callable[[], float]:
    def measured() -> float:
        began = time.process_time_ns()
        for _ in range(calls):
            call()
        settle()
        took = time.process_time_ns() - began
        receiver.total()
        return took / calls / 1000

    return measured


def _loss(
    call: Callable[[], object], settle: Callable[[], object], receiver: Receiver, calls: int
) -> Callable[[], float]:
    def measured() -> float:
        for _ in range(calls):
            call()
        settle()
        return 100 * (1 - receiver.total() / calls)

    return measured


@contextmanager
def _sending_to(port: int) -> Iterator[None]:
    """Our own metrics go to ``port`` meanwhile."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(CONTRAIL_HOME=home, CONTRAIL_STATSD__PORT=str(port), CONTRAIL_STATSD__ENABLED="true")
        get_settings.cache_clear()
        yield
        get_settings.cache_clear()
