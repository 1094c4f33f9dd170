"""The overhead of callbacks, logs and metrics on an empty task: sixty tasks with ours and without, in turns."""

from __future__ import annotations

import json
import signal
import statistics
import sys
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.sampling import alternate
from benchmarks.two_airflows import Airflow, observed, plain

if TYPE_CHECKING:
    from collections.abc import Callable

_DAGS = Path(__file__).parent / "overhead_dags"
_DAG = "sixty"
_NEW_INTERPRETER = "new-interpreter"
_READY_S = 120
_P95 = 94


def run(options: Options) -> list[Figure]:
    """Run the DAG on both in turns; a task takes from start to end, or from its log's first line to the last.

    With ``new-interpreter`` among ``options.only`` (Airflow 3.4) each task runs in a new Python, not in a fork.
    """
    anew = _NEW_INTERPRETER in options.only
    more = {"AIRFLOW__CORE__EXECUTE_TASKS_NEW_PYTHON_INTERPRETER": "True"} if anew else {}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that both Airflows are ended then, too
    rounds: dict[str, list[list[dict[str, Any]]]] = {"on": [], "off": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        plain(Path(folder, "plain"), _DAGS, **more) as off,
        observed(Path(folder, "observed"), _DAGS, **more) as on,
    ):
        for airflow in (off, on):
            _wait(partial(airflow.ready, _DAG))
        alternate(1 if options.quick else options.rounds, on=_taking(on, rounds["on"]), off=_taking(off, rounds["off"]))
        if not on.tells() or off.tells():
            raise RuntimeError(
                "one Airflow was to tell events and the other was not; is the package installed with its entry points?"
            )
        dates = {name: [_by_dates(one) for one in taken[1:]] for name, taken in rounds.items()}
        lines = {
            "on": [_by_lines(on, one) for one in rounds["on"][1:]],
            "off": [_by_lines(off, one) for one in rounds["off"][1:]],
        }
    return [*_figures("start to end", dates), *_figures("first to last line of its log", lines)]


def _taking(airflow: Airflow, into: list[list[dict[str, Any]]]) -> Callable[[], float]:
    def take() -> float:
        into.append(airflow.run(_DAG))
        return statistics.median(_by_dates(into[-1]))

    return take


def _by_dates(instances: list[dict[str, Any]]) -> list[float]:
    return [float(one["duration"]) * 1000 for one in instances]


def _by_lines(airflow: Airflow, instances: list[dict[str, Any]]) -> list[float]:
    """From the first line to the last: the callbacks at the end, which come after Airflow's end date, are in it."""
    taken = []
    for one in instances:
        lines = airflow.log_file(one).read_text("utf-8").splitlines()
        first, last = (
            datetime.fromisoformat(json.loads(line)["timestamp"].replace("Z", "+00:00"))
            for line in (lines[1], lines[-1])
        )
        taken.append((last - first).total_seconds() * 1000)
    return taken


def _figures(how: str, taken: dict[str, list[list[float]]]) -> list[Figure]:
    return [
        _figure(f"added to the median, {how}", taken, statistics.median, Target(at_most=2.0)),
        _figure(f"added to the 95th percentile, {how}", taken, _p95, Target(at_most=10.0)),
    ]


def _figure(
    what: str, taken: dict[str, list[list[float]]], point: Callable[[list[float]], float], target: Target
) -> Figure:
    on, off = [point(round_) for round_ in taken["on"]], [point(round_) for round_ in taken["off"]]
    added = Sample(tuple(ours - theirs for ours, theirs in zip(on, off, strict=True)))
    notes = {
        "with_ours": round(statistics.median(on), 1),
        "without": round(statistics.median(off), 1),
        "tasks": len(taken["on"][0]),
    }
    return Figure(what, "ms", added, targets=(target,), notes=notes)


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[_P95]


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"an Airflow did not have the DAG {_DAG} within {_READY_S} s")
        time.sleep(0.5)
