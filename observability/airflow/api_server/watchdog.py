"""Watches how soon the API server answers: while it does not, its guests ask nothing of it, and at length they leave.

Once a second a function that does nothing goes through the event loop and the pool of threads, as each request does.
Our threads have no lower priority than Airflow's: one that waits for a processor would hold the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING

import anyio.to_thread
from airflow import settings as airflow_settings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LATE_S", "Watchdog"]

LATE_S = 2.0
"""A server that needs longer for nothing at all is not asked."""
_EVERY_S, _LOOK_S = 1.0, 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 10.0, 60.0
_FORGIVEN_S = 600.0
_PROMPT_FIRST = 3
"""So many prompt answers one after the other before the guests begin."""


class Watchdog(threading.Thread):
    """Answers whether something may be asked now; :attr:`late_s` says for how long the server has not been prompt."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(name="contrail-watchdog", daemon=True)
        self._loop, self._clock = loop, clock
        self._over = threading.Event()
        self._asked_at: float | None = None
        self._late_since: float | None = None
        self._prompt = 0
        self._pause_s, self._paused_until = _FIRST_PAUSE_S, 0.0
        self._took_s = 0.0

    def stop(self) -> None:
        """End soon."""
        self._over.set()

    def run(self) -> None:
        """Measure once a second, one question at a time, until the server or the guest ends."""
        while not self._over.is_set():
            began = self._clock()
            coroutine = _touch()
            try:
                asked = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            except RuntimeError:  # the loop is closed: the server has ended
                coroutine.close()
                return
            self.asked(began)
            while not (asked.done() or self._over.is_set()):
                concurrent.futures.wait([asked], timeout=_LOOK_S)
            self.answered(self._clock())
            self._over.wait(_EVERY_S)

    def asked(self, now: float) -> None:
        """The server was asked for nothing."""
        self._asked_at = now

    def answered(self, now: float) -> None:
        """It has answered; where that took too long it is not asked for a while, and longer the next time."""
        began = now if self._asked_at is None else self._asked_at
        self._took_s = now - began
        if self._took_s <= LATE_S:
            self._prompt, self._late_since = self._prompt + 1, None
            if now > self._paused_until + _FORGIVEN_S:
                self._pause_s = _FIRST_PAUSE_S
        else:
            self._prompt = 0
            self._late_since = began if self._late_since is None else self._late_since
            self._paused_until = now + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        self._asked_at = None

    @property
    def is_ready(self) -> bool:
        """True if the server has been prompt a few times one after the other."""
        return self._prompt >= _PROMPT_FIRST

    @property
    def late_s(self) -> float:
        """For how long no answer has been prompt, 0 where the last one was."""
        now, asked_at = self._clock(), self._asked_at
        since = self._late_since
        if since is None and asked_at is not None and now - asked_at > LATE_S:
            since = asked_at
        return 0.0 if since is None else now - since

    def why_not(self) -> str:
        """The reason for which nothing may be asked now, "" where something may."""
        now, asked_at = self._clock(), self._asked_at
        if asked_at is not None and now - asked_at > LATE_S:
            return f"the API server has not answered for {now - asked_at:.0f} s"
        if now < self._paused_until:
            return f"the API server was late, and is left alone for {self._paused_until - now:.0f} s more"
        if not _pool_has_room():
            return "Airflow uses all connections of its pool"
        return ""


async def _touch() -> None:
    await anyio.to_thread.run_sync(_nothing)


def _nothing() -> None:
    pass


def _pool_has_room() -> bool:
    """True if Airflow does not use all the connections of its pool; ours is none that others wait for."""
    pool = getattr(airflow_settings.engine, "pool", None)
    try:
        size, used = pool.size(), pool.checkedout()  # type: ignore[union-attr]
    except (AttributeError, TypeError):  # a kind of pool that has no size
        return True
    return bool(size <= 0 or used < size)
