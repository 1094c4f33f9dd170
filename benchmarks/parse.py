"""The cost of our policies in the parse of a DAG file: those of Airflow, with ours and without, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Options, Target
from benchmarks.sampling import alternate

__all__ = ["parse_examples", "run"]

_HERE = Path(__file__).parent


def run(options: Options) -> list[Figure]:
    """Milliseconds per file, by Airflow's own record of them."""
    rounds = 1 if options.quick else options.rounds
    taken = alternate(rounds, ours=lambda: _ms_per_file(hidden=False), plain=lambda: _ms_per_file(hidden=True))
    return [
        Figure(
            "parse of one of Airflow's example DAG files",
            "ms",
            taken["ours"],
            peer=("without ours", taken["plain"]),
            targets=(Target(at_most=taken["plain"].median + 5.0),),
            notes={"added_ms": round(taken["ours"].median - taken["plain"].median, 3)},
        )
    ]


def parse_examples(*, hidden: bool) -> dict[str, Any]:
    """The findings of :mod:`benchmarks.parsing`, in a process of its own; with ``hidden`` our package is not there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CONTRAIL_"))}
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **kept,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "CONTRAIL_HOME": f"{home}/contrail",
        }
        if hidden:
            environment["PYTHONPATH"] = str(_HERE / "unobserved")
        done = subprocess.run(
            [sys.executable, str(_HERE / "parsing.py")],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=200,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _ms_per_file(*, hidden: bool) -> float:
    seconds = parse_examples(hidden=hidden)["seconds"]
    return 1000 * sum(seconds.values()) / len(seconds)
