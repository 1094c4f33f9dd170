"""The outer process of the platform: starts the supervisor, passes the wish to stop on, and cleans up after it.

Everything below stays below: when the supervisor is killed, the guardian adopts what it leaves and ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from observability.contain import contained
from observability.local import processes
from observability.local.supervisor import SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Guardian"]

_PATIENCE_S = 13.0
"""The supervisor's own stop takes up to 11 s."""


class Guardian:
    """Keeps one platform. Guardian and supervisor hold ``lock`` together; ``tied`` ends it with our own parent."""

    def __init__(
        self,
        environment: dict[str, str],
        *,
        lock: int,
        tied: bool = False,
        supervisor: Sequence[str] = (sys.executable, "-m", "observability.local.supervisor"),
    ) -> None:
        self._command = supervisor
        self._environment = environment
        self._lock = lock
        self._parent = os.getppid() if tied else None
        self._supervisor: subprocess.Popen[bytes] | None = None

    def run(self, watch: Callable[[], None]) -> int:
        """Run until told to stop, calling ``watch`` now and then; the exit status (0: it was asked to stop)."""
        processes.adopt_orphans()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._supervisor = subprocess.Popen(  # noqa: S603 - our own module
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(self._lock,),
            preexec_fn=processes.born_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
        )
        try:
            while self._supervisor.poll() is None:
                if self._stop_is_due():
                    return self._stop()
                with contained("platform.watch"):
                    watch()
            return 1
        finally:
            processes.end(partial(processes.descendants, os.getpid()), grace_s=0, reap=processes.reap)

    def _stop_is_due(self) -> bool:
        received = signal.sigtimedwait(SIGNALS, 0.5)
        signalled = received is not None and received.si_signo != signal.SIGCHLD
        return signalled or (self._parent is not None and os.getppid() != self._parent)

    def _stop(self) -> int:
        """Ask the supervisor to end; a second wish to stop, or its silence, leaves the rest to SIGKILL."""
        if self._supervisor is None:
            return 0
        self._supervisor.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        while self._supervisor.poll() is None and time.monotonic() < deadline:
            received = signal.sigtimedwait(SIGNALS, 0.1)
            if received is not None and received.si_signo == signal.SIGINT:
                break
        return 0
