"""Processes that a killed platform left behind: ended before the next one of the same home starts.

When guardian and supervisor are killed together, nobody is left to end the scheduler's idle workers. They are known by
their session, which is that of a component of the last platform, and by its home: in their environment, or as the
folder of a file that they hold open, because Airflow's workers write their title over their environment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from observability.local import processes
from observability.local.state import read_state

if TYPE_CHECKING:
    from observability.local.layout import Layout

__all__ = ["end_leftovers", "leftovers"]

_GRACE_S = 3.0


def end_leftovers(layout: Layout) -> int:
    """End them, politely first; how many there were. The caller holds the platform's lock."""
    found = leftovers(layout)
    for process in found:
        with suppress(psutil.Error):
            process.terminate()
    processes.end(lambda: leftovers(layout), grace_s=_GRACE_S, reap=processes.reap)
    return len(found)


def leftovers(layout: Layout) -> list[psutil.Process]:
    """The processes that still run of the last platform of this home."""
    state = read_state(layout)
    if state is None:
        return []
    sessions = {state.guardian, state.supervisor, *(part.pid for part in state.components.values() if part.pid)}
    return [process for process in psutil.process_iter() if _is_one(process, sessions, layout)]


def _is_one(process: psutil.Process, sessions: set[int], layout: Layout) -> bool:
    try:
        if os.getsid(process.pid) not in sessions or process.status() == psutil.STATUS_ZOMBIE:
            return False
        known = process.environ()
        if "CONTRAIL_HOME" in known:
            return known["CONTRAIL_HOME"] == str(layout.home) and known.get("AIRFLOW_HOME") == str(layout.airflow_home)
        return any(Path(file.path).is_relative_to(layout.home) for file in process.open_files())
    except (psutil.Error, OSError):
        return False
