"""The end of a task on a host without a relay (a pod, an ECS task): what is on disk goes out before the worker does.

Nothing here is sent twice: ids come from the facts, and whoever delivers holds the relay's lock. The triggerer asks
for a delivery in the loop that has to keep its heart beating, so it is not held: one thread delivers for all triggers.

The relay's modules are imported where they are used: a task that runs in a new Python needs none of them, and what
supervises tasks has them from :mod:`observability.airflow.preload`.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING

from observability.contain import contained
from observability.credentials import use_resolver

if TYPE_CHECKING:
    from observability.credentials import Credentials
    from observability.settings import Settings

__all__ = ["deliver", "deliver_beside", "flush_within", "relay_lives", "resolve_in_process"]

_FRESH_S = 15.0
"""A relay says each second how it is."""
_LOOK_EVERY_S = 0.1
_LEAST_S = 1.0
_LONGEST_REST_S = 60.0


def deliver(settings: Settings) -> bool:
    """Deliver all that is on disk, now; False where something is left.

    Takes ``[relay] flush_timeout_s`` at most. A process that has just found its sinks away tries for half as long the
    next time, down to a second: a worker that runs one task after the other is not held at each of them.
    """
    most_s = settings.relay.flush_timeout_s
    allowed_s = max(most_s / 2 ** min(_failed.number, 10), min(_LEAST_S, most_s))
    done = flush_within(settings, allowed_s)
    _failed.number = 0 if done else _failed.number + 1
    return done


def deliver_beside(settings: Settings) -> None:
    """Have all that is on disk delivered by a thread of this process; returns at once."""
    _thread.ask(settings)


def flush_within(settings: Settings, limit_s: float | None = None) -> bool:
    """Deliver all that is on disk, unless a relay does; False where something is left for a later one.

    Takes ``limit_s`` (``[relay] flush_timeout_s``) at most, some seconds longer where a request is under way.
    """
    from observability.relay.relay import Relay, RelayError

    deadline = time.monotonic() + (settings.relay.flush_timeout_s if limit_s is None else limit_s)
    while not relay_lives(settings):
        try:
            relay = Relay(settings, statsd=False)
        except RelayError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
            continue
        resolve_in_process()
        left_s = max(deadline - time.monotonic(), _LEAST_S)
        return relay.run(once=True, patience_s=left_s, limit_s=left_s)
    return True


def relay_lives(settings: Settings) -> bool:
    """True if a relay that stays, also one in Airflow's API server, has lately said that it runs."""
    from observability.relay.relay import read_status

    status = read_status(settings.home)
    if status is None or status["state"] != "running" or not status.get("stays", status["statsd"]["state"] != "off"):
        return False
    return abs(time.time() - float(status["time"])) < _FRESH_S


def resolve_in_process() -> None:
    """Have Connections read here: this process has Airflow, and must not start another one to ask."""
    use_resolver(_resolve)


def _resolve(connection_id: str) -> Credentials:
    from observability.airflow.connections import resolve

    return resolve(connection_id)


class _Failures:
    """The number of deliveries of this process in a row that left something."""

    number = 0


class _Thread:
    """One delivery after the other, however many were asked for; what a sink did not take is tried again by itself."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._done = threading.Event()
        self._begin = threading.Lock()
        self._process = 0
        self._settings: Settings | None = None

    def ask(self, settings: Settings) -> None:
        self._settings = settings
        self._done.clear()
        self._asked.set()
        with self._begin:
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="contrail-delivery", daemon=True).start()
                atexit.register(self._finish)

    def _run(self) -> None:
        failures = 0
        while True:
            self._asked.wait(min(2.0**failures, _LONGEST_REST_S) if failures else None)
            self._asked.clear()
            began, done = time.monotonic(), False
            with contained("upload"):
                done = self._settings is None or flush_within(self._settings)
            failures = 0 if done else failures + 1
            if done and not self._asked.is_set():
                self._done.set()
            # As much rest as work: the loop beside needs the processor, and its requests gather meanwhile.
            time.sleep(min(max(time.monotonic() - began, 1.0), _LONGEST_REST_S))

    def _finish(self) -> None:
        """At the end of the process, wait for what is under way, as long as the end of a task may."""
        if self._settings is not None and self._process == os.getpid():
            self._done.wait(self._settings.relay.flush_timeout_s)


_failed = _Failures()
_thread = _Thread()
