"""Taking samples on a machine that others use, too: alternating rounds, processor time, medians."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.figure import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["alternate", "cpu_us", "python", "wall_ms"]


def alternate(rounds: int, **contenders: Callable[[], float]) -> dict[str, Sample]:
    """Let each contender give ``rounds`` values, in turns; a first round, for warming up, is thrown away."""
    for contender in contenders.values():
        contender()
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            taken[name].append(contender())
    return {name: Sample(tuple(values)) for name, values in taken.items()}


def cpu_us(function: Callable[[], object], calls: int) -> float:
    """Processor time of one call in microseconds, that of this process's other threads included."""
    times = range(calls)
    gc.collect()
    began = time.process_time_ns()
    for _ in times:
        function()
    return (time.process_time_ns() - began) / calls / 1000


def wall_ms(function: Callable[[], object]) -> float:
    """Time that one call takes, in milliseconds."""
    began = time.perf_counter_ns()
    function()
    return (time.perf_counter_ns() - began) / 1e6


def python(code: str, *, env: dict[str, str] | None = None, timeout_s: float = 120) -> str:
    """The output of ``code`` in an interpreter of its own. Raises CalledProcessError with its stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, timeout=timeout_s
    )
    return done.stdout
