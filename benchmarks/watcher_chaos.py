"""kill -9 of the watcher at random moments during 1,000 incidents: none lost, none doubled.

The oracle is a set comparison over (DAG, run): each failure that was written must stand in the file exactly once.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.watched import Watched, failure

_SEED = 5


def run(options: Options) -> list[Figure]:
    """Feed, kill, start again, count."""
    incidents, kills = (200, 4) if options.quick else (1000, 20)
    chance = random.Random(_SEED)
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder))
        watched.start()
        watched.wait_until_watching()
        moments = sorted(chance.sample(range(1, incidents), kills))
        for number in range(incidents):
            watched.report(failure(f"dag{number % 50}", f"run{number}"))
            time.sleep(chance.uniform(0, 0.01))
            if moments and number >= moments[0]:
                moments.pop(0)
                time.sleep(chance.uniform(0, 0.6))  # somewhere between reading, deciding, sending and writing down
                watched.kill()
                watched.start()
                if chance.random() < 0.5:  # noqa: PLR2004 - every other time it dies again while it starts
                    watched.wait_until_watching()
        said = watched.wait_for(incidents, 180)
        time.sleep(2)
        said = watched.said()
        watched.stop()
    told = Counter((one["dag_id"], one["run_id"]) for one in said if one["kind"] == "opened")
    expected = {(f"dag{number % 50}", f"run{number}") for number in range(incidents)}
    lost, doubled = len(expected - set(told)), sum(number - 1 for number in told.values())
    notes = {"incidents": incidents, "kills": watched.kills, "seed": _SEED}
    return [
        Figure("incidents lost", "incidents", Sample((lost,)), targets=(Target(at_most=0),), notes=notes),
        Figure("messages doubled", "messages", Sample((doubled,)), targets=(Target(at_most=0),), notes=notes),
    ]
