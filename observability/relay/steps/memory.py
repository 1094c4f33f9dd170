"""Remember when the kernel ended a process of this host for its memory.

The host's own counter says so (``oom_kill`` in ``/proc/vmstat``, Linux 4.13; kills by a cgroup's limit count,
too). It names no process, so it is a remark beside a death by SIGKILL, and never its cause.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryKills"]

_LOOK_S = 0.5
_BEFORE_S, _AFTER_S = 10.0, 1.0
"""A supervisor notes the death of its task within these seconds of the kill; clocks are one host's."""
_KEPT = 1_000


class MemoryKills:
    """Times at which the counter was seen to rise; looks twice a second until it is closed."""

    def __init__(self, counter: Path = Path("/proc/vmstat"), clock: Callable[[], float] = time.time) -> None:
        self._counter = counter
        self._clock = clock
        self._seen = self._count()
        self._times: deque[float] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._keep_looking, name="memory-kills", daemon=True).start()

    def near(self, when: float) -> bool:
        """True if the kernel ended a process for its memory just before ``when`` (seconds since 1970)."""
        self._look()
        return any(when - _BEFORE_S <= moment <= when + _AFTER_S for moment in self._times)

    def close(self) -> None:
        """Look no more."""
        self._over.set()

    def _keep_looking(self) -> None:
        while not self._over.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            count = self._count()
            if count > self._seen:
                self._times.append(self._clock())
            self._seen = count

    def _count(self) -> int:
        try:
            lines = self._counter.read_text("ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
