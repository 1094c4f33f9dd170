"""Hours of 40 DAGs with restarts, midnight and a next day: what is shown against what Airflow's API says happened.

Long form 180 minutes (``make soak``), short form 15 (``--quick``); ``SOAK_MINUTES`` sets another length. Below five
minutes (``make soak-short``) there is one day, through midnight, without restarts.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, Options, Sample, Target
from benchmarks.soak_oracle import Verdict, resume, settle, verdict
from benchmarks.soaking import LOOK_S, RESTARTED, Soaking, Usage, before_midnight, can_shift_the_clock

_LONG_MINUTES, _SHORT_MINUTES = 180.0, 15.0
_BRIEF_MINUTES = 5.0
_NEXT_DAY_S = 30 * 3600
"""The second part begins so much later: what is older than the retention of a day must be gone then."""
_MEMORY_MOST, _DESCRIPTORS_MOST = 2.0, 3.0
"""Slopes of a component that never ends: MB and descriptors in an hour."""


def run(options: Options) -> list[Figure]:
    """Run the first day through midnight with restarts, stop, run the next day, and compare."""
    minutes = float(os.environ.get("SOAK_MINUTES") or (_SHORT_MINUTES if options.quick else _LONG_MINUTES))
    brief = minutes < _BRIEF_MINUTES
    with tempfile.TemporaryDirectory(prefix="contrail-soak-", ignore_cleanup_errors=True) as folder:
        first_day = minutes if brief else 0.75 * minutes
        soaking = Soaking(
            Path(folder),
            every_minutes=2 if brief else 6 if minutes < 60 else 10,  # noqa: PLR2004 - so that an hour has some rounds
            shift_s=before_midnight(min(first_day / 2, 30)) if can_shift_the_clock() else 0,
        )
        with soaking.running() as api:
            _let_run(soaking, first_day * 60, restarts=not brief)
            settle(soaking, api)
            today = verdict(soaking, api)
            _say("the first day", today)
        if brief:
            return [*_figures(today, "the first day"), *_usage(soaking, minutes)]
        began = soaking.now
        if soaking.shift_s:
            soaking.shift_s += _NEXT_DAY_S
            began = soaking.now
        with soaking.running() as api:
            resume(api)
            _let_run(soaking, (minutes - first_day) * 60, restarts=False)
            settle(soaking, api)
            tomorrow = verdict(soaking, api, since=began)
            _say("the next day", tomorrow)
        return [*_figures(today, "the first day"), *_figures(tomorrow, "the next day"), *_usage(soaking, minutes)]


def _let_run(soaking: Soaking, seconds: float, *, restarts: bool) -> None:
    """Let it run, and end each component twice, at even distances."""
    began = time.monotonic()
    faults = [(name, number) for number in (signal.SIGTERM, signal.SIGKILL) for name in RESTARTED] if restarts else []
    between = seconds / (len(faults) + 2)
    while (passed := time.monotonic() - began) < seconds:
        if faults and passed > between * (2 * len(RESTARTED) - len(faults) + 1):
            soaking.end_one(*faults.pop(0))
        soaking.look()
        print(
            f"\r{passed / 60:5.1f} of {seconds / 60:.0f} minutes, {len(soaking.faults)} restarts",
            end="",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(LOOK_S)
    print(file=sys.stderr)


def _say(what: str, found: Verdict) -> None:
    print(f"{what}: {found.summary()}", file=sys.stderr)
    for kind, faults in (found.faults() | {"disputed": found.disputed, "unheard": found.unheard}).items():
        for fault in faults[:20]:
            print(f"  {kind}: {fault}", file=sys.stderr)


def _figures(found: Verdict, when: str) -> list[Figure]:
    notes = {"compared": found.compared}
    return [
        Figure(f"runs compared, {when}", "runs", Sample((found.compared["runs"],)),
               targets=(Target(at_least=40),), notes=notes),
        *(
            Figure(f"{kind}, {when}", "facts", Sample((len(faults),)), targets=(Target(at_most=0),),
                   notes={"examples": faults[:10]})
            for kind, faults in found.faults().items()
        ),
        Figure(f"attempts whose end is disputed, {when}", "attempts", Sample((len(found.disputed),)),
               notes={"examples": found.disputed[:10]}),
        Figure(f"metric series that lack what was sent while a relay was started again, {when}", "series",
               Sample((len(found.unheard),)), notes={"examples": found.unheard[:10]}),
    ]  # fmt: skip


def _usage(soaking: Soaking, minutes: float) -> list[Figure]:
    """The steepest rise of memory and descriptors of what ran longest, and that of the disk, each with its points."""
    disk = soaking.usage.get("disk", Usage())
    parts = {name: use for name, use in soaking.usage.items() if name != "disk"}
    longest = max((use.minutes for use in parts.values()), default=0.0)
    long = {name: use for name, use in parts.items() if use.minutes >= longest / 3}
    notes = {
        name: {
            "MB/h": round(use.slope(1) / 1e6, 2), "fd/h": round(use.slope(2), 2),
            "points": len(use.looks) - len(use.looks) // 2, "minutes": round(use.minutes, 1),
        }
        for name, use in long.items()
    }  # fmt: skip
    ours = [use for name, use in long.items() if name.split()[0] in {"relay", "watcher"}] or list(long.values())
    bounded = minutes >= 60  # noqa: PLR2004 - in minutes a slope is noise
    return [
        Figure("steepest rise of memory, relay and watcher", "MB/h",
               Sample((max((use.slope(1) / 1e6 for use in ours), default=0.0),)),
               targets=(Target(at_most=_MEMORY_MOST),) if bounded else (),
               notes={"all": notes, "faults": soaking.faults}),
        Figure("steepest rise of descriptors, relay and watcher", "1/h",
               Sample((max((use.slope(2) for use in ours), default=0.0),)),
               targets=(Target(at_most=_DESCRIPTORS_MOST),) if bounded else ()),
        Figure("rise of the platform's home on disk", "MB/h", Sample((disk.slope(1) / 1e6,)),
               notes={"MB": round(disk.looks[-1][1] / 1e6, 1) if disk.looks else 0, "points": len(disk.looks)}),
    ]  # fmt: skip
