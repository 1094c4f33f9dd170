"""10,000 failures over 50 DAGs in a minute: how many messages, how much memory, how soon it is settled."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.watched import Watched, failure

_DAGS = 50


def run(options: Options) -> list[Figure]:
    """Write the failures at an even pace, as callbacks would, and look at what was said."""
    failures, seconds = (1000, 6.0) if options.quick else (10_000, 60.0)
    with tempfile.TemporaryDirectory() as folder:
        watched = Watched(Path(folder), storm=40)
        watched.start()
        watched.wait_until_watching()
        before, peak, began = watched.rss_bytes(), 0, time.monotonic()
        for number in range(failures):
            watched.report(failure(f"dag{number % _DAGS}", f"run{number}"))
            if number % 50 == 0:
                peak = max(peak, watched.rss_bytes())
                time.sleep(max(0.0, began + seconds * number / failures - time.monotonic()))
        ended = time.monotonic()
        said = watched.wait_for(failures, 400)
        settled = time.monotonic() - ended
        peak = max(peak, watched.rss_bytes())
        watched.stop()
    told = {one["run_id"] for one in said if one["kind"] == "opened"}
    told |= {one["run_id"] for message in said for one in message["incidents"]}
    notes = {"failures": failures, "dags": _DAGS, "digests": sum(one["kind"] == "digest" for one in said)}
    return [
        Figure("messages", "messages", Sample((len(said),)), targets=(Target(at_most=60),), notes=notes),
        Figure("failures not told of", "failures", Sample((failures - len(told),)), targets=(Target(at_most=0),)),
        Figure("time to settle", "s", Sample((settled,))),
        Figure(
            "memory at most",
            "MB",
            Sample((peak / 1e6,)),
            targets=(Target(at_most=400),),
            notes={"before": before / 1e6},
        ),
    ]
