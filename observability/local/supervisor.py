"""The inner process of the platform: starts the components, starts again what dies, and ends them all.

It goes when it is told to, and when the guardian that started it is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from observability.local import processes
from observability.local.components import MIGRATION, Component, components
from observability.local.errors import PlatformError
from observability.local.layout import Layout
from observability.local.ports import answers
from observability.local.state import ComponentState, PlatformState, write_state
from observability.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SIGNALS", "Supervisor"]

SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Waited for, never delivered: the loops ask for them."""

_GRACE_S = 6.0
"""The seconds that a component has to end by itself: the whole stop takes at most twice this."""
_LAST_GRACE_S = 5.0
_STEADY_S = 60.0
"""A component that ran this long is started again at once when it dies."""
_LONGEST_WAIT_S = 30.0
_API_WAIT_S = 60.0
"""The longest wait of what runs tasks for the API server: it is better late, and tried, than never."""
_SOCKET_S = 30.0
_LOG_LIMIT = 64 * 1024 * 1024
_ENDED_BY_US = "ended by contrail"


@dataclass(slots=True)
class _Run:
    component: Component
    state: ComponentState
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    quick_ends: int = field(default=0)


class Supervisor:
    """Runs the components of ``layout`` until it is told to stop."""

    def __init__(self, layout: Layout, *, guardian: int) -> None:
        self._layout = layout
        self._guardian = guardian
        settings = get_settings()
        self._runs = {part.name: _Run(part, ComponentState()) for part in components(settings)}
        self._state = PlatformState(
            guardian=guardian,
            supervisor=os.getpid(),
            url=settings.public_url,
            started=time.time(),
            components={name: run.state for name, run in self._runs.items()},
        )
        self._log = _logger(layout.components / "platform.log")
        self._api = (settings.airflow.host, settings.airflow.port)
        self._asked_to_end = False
        self._exits: dict[int, int] = {}
        self._children: set[int] = set()

    def run(self) -> int:
        """Start everything, keep it running, and end it; the exit status."""
        processes.adopt_orphans()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        status = 0
        try:
            self._start(self._runs["relay"])
            self._await_metrics_socket()
            if self._migrate():
                self._say("running")
                while not self._stop_is_due():
                    self._start_what_is_due()
                    self._wait(0.5)
            elif not self._asked_to_end:
                status = 1
        finally:
            self._end()
        return status

    def _await_metrics_socket(self) -> None:
        """Wait until the relay listens where Airflow 3.4 sends its metrics, if that is a Unix socket.

        Each of Airflow's components ends when nobody listens there. A relay that does not come up in time holds
        nothing up: they are started then, and started again for as long as they end.
        """
        path, given_up = get_settings().statsd_socket_path, time.monotonic() + _SOCKET_S
        while path and not _is_served(path) and time.monotonic() < given_up and not self._stop_is_due():
            self._wait(0.1)

    def _migrate(self) -> bool:
        self._say("migrating")
        migration = self._spawn("migration", MIGRATION)
        while migration.pid not in self._exits:
            if self._stop_is_due():
                return False
            self._wait(0.5)
        if status := self._exits.pop(migration.pid):
            self._log.error("airflow db migrate failed", exit=_exit(status), log=str(self._file("migration")))
            return False
        return True

    def _stop_is_due(self) -> bool:
        return self._asked_to_end or os.getppid() != self._guardian

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for run in self._runs.values():
            if run.process is None and run.start_at <= now and not self._waits_for_api(run, now):
                self._start(run)

    def _waits_for_api(self, run: _Run, now: float) -> bool:
        """True where a component would lose tasks, because the API server does not answer yet."""
        run.start_at = run.start_at or now
        return run.component.needs_api and now - run.start_at < _API_WAIT_S and not answers(*self._api)

    def _start(self, run: _Run) -> None:
        run.process = self._spawn(run.component.name, run.component.command)
        run.started = time.monotonic()
        run.state.pid, run.state.state, run.state.since = run.process.pid, "up", time.time()
        self._log.info(f"started {run.component.name}", component=run.component.name, pid=run.process.pid)
        write_state(self._layout, self._state)

    def _spawn(self, name: str, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        path = self._file(name)
        if path.exists() and path.stat().st_size > _LOG_LIMIT:
            path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                preexec_fn=processes.born_with(os.getpid()),  # noqa: PLW1509 - this process has one thread
            )
        finally:
            os.close(descriptor)
        self._children.add(process.pid)
        return process

    def _file(self, name: str) -> Path:
        return self._layout.components / f"{name}.log"

    def _wait(self, seconds: float) -> None:
        received = signal.sigtimedwait(SIGNALS, seconds)
        if received is not None and received.si_signo != signal.SIGCHLD:
            self._asked_to_end = True
        self._reap()
        for run in self._runs.values():
            if run.process is not None and run.process.pid in self._exits:
                self._died(run, self._exits.pop(run.process.pid))

    def _reap(self) -> None:
        self._exits.update(processes.reap())

    def _died(self, run: _Run, status: int) -> None:
        if run.process is not None:
            run.process.returncode = status
        steady = time.monotonic() - run.started > _STEADY_S
        run.quick_ends = 0 if steady else run.quick_ends + 1
        wait = 0.0 if steady else min(2.0 ** (run.quick_ends - 1), _LONGEST_WAIT_S)
        run.process, run.start_at = None, time.monotonic() + wait
        run.state.pid, run.state.state, run.state.last_exit = None, "waiting", _exit(status)
        run.state.restarts += 1
        run.state.since = time.time()
        name = run.component.name
        self._log.error(
            f"{name} ended with {_exit(status)}; starting it again in {wait:.0f} s",
            component=name, exit=_exit(status), wait_s=wait, restarts=run.state.restarts, log=str(self._file(name)),
        )  # fmt: skip
        write_state(self._layout, self._state)

    def _say(self, phase: str) -> None:
        self._state.phase = phase
        self._log.info(f"platform is {phase}")
        write_state(self._layout, self._state)

    def _end(self) -> None:
        self._say("stopping")
        last = [run for run in self._runs.values() if run.component.last and run.process is not None]
        kept = [run.process.pid for run in last if run.process]
        find = partial(processes.descendants, os.getpid())
        for process in find(besides=kept):
            if process.pid in self._children:
                _terminate(process.pid)
        processes.end(partial(find, besides=kept), grace_s=_GRACE_S, reap=self._reap)
        for pid in kept:
            _terminate(pid)
        processes.end(find, grace_s=_LAST_GRACE_S, reap=self._reap)
        for state in self._state.components.values():
            state.pid, state.state, state.last_exit = None, "stopped", _ENDED_BY_US
        self._say("stopped")


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return


def _is_served(path: str) -> bool:
    """True if somebody listens on the Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def _exit(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _logger(path: Path) -> structlog.typing.FilteringBoundLogger:
    file = open(path, "a", buffering=1, encoding="utf-8", opener=partial(os.open, mode=0o600))  # noqa: SIM115 - for life
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return logger.bind(logger="contrail.platform")


def main() -> None:
    """``python -m observability.local.supervisor``, started by the guardian only."""
    os.umask(0o077)
    settings = get_settings()
    try:
        sys.exit(Supervisor(Layout(settings.home), guardian=os.getppid()).run())
    except PlatformError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
