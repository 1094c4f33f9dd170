"""Starts with the API server and ends with it: Airflow runs the lifespan of each FastAPI app that a plugin mounts.

That is in every process which serves requests, after any fork. Nothing here may delay or end that process.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import structlog

from observability.contain import contained
from observability.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from observability.airflow.api_server.status import Status
    from observability.airflow.api_server.watchdog import Watchdog
    from observability.settings import Settings

__all__ = ["lifespan"]

_LOOK_S = 2.0
_END_S = 8.0
_LEAVE_AFTER_S, _AWAY_S = 30.0, 300.0
_SETTLE_S = 1.0
"""The server answers its first requests before we import anything."""


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Deliver and watch while the app is served, unless ``[airflow] in_api_server`` says otherwise."""
    guest: Guest | None = None
    with contained("api_server.start"):
        settings = get_settings()
        if settings.airflow.in_api_server:
            guest = Guest(settings, asyncio.get_running_loop())
            guest.start()
    try:
        yield
    finally:
        if guest is not None:
            with contained("api_server.stop"):
                guest.stop()
                await asyncio.to_thread(guest.join, _END_S)


class Guest(threading.Thread):
    """Waits for the place on this host, then has relay and watcher run, and writes down how they are."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="contrail", daemon=True)
        self._settings, self._loop = settings, loop
        self._over = threading.Event()

    def stop(self) -> None:
        """End soon."""
        self._over.set()

    def run(self) -> None:
        """Wait for the place, and use it to the end."""
        from observability.airflow.api_server.election import Here

        here = Here(self._settings.home)
        self._over.wait(_SETTLE_S)
        while not self._over.is_set():
            with contained("api_server.place"):
                if here.take():
                    self._serve()
            self._over.wait(_LOOK_S)
        here.give_back()

    def _serve(self) -> None:
        from observability.airflow.api_server.status import Status
        from observability.airflow.api_server.watchdog import Watchdog
        from observability.airflow.flush import resolve_in_process

        resolve_in_process()
        status, watchdog = Status(pid=os.getpid()), Watchdog(self._loop)
        watchdog.start()
        try:
            while not (watchdog.is_ready or self._over.wait(_LOOK_S)):
                status.server_problem = "both begin when the API server answers within two seconds"
                self._say(status)
            if not self._over.is_set():
                self._have_guests(status, watchdog)
        finally:
            watchdog.stop()
        if not self._over.is_set():
            self._stay_away(status)

    def _have_guests(self, status: Status, watchdog: Watchdog) -> None:
        """Relay and watcher, until this is to end or the server has not been prompt for long."""
        from observability.airflow.api_server.asgi_client import root_app
        from observability.airflow.api_server.relay_here import RelayHere
        from observability.airflow.api_server.watcher_here import WatcherHere

        parts: list[Any] = [RelayHere(self._settings, status)]
        if (app := root_app()) is not None:
            parts.append(WatcherHere(self._settings, status, app, self._loop, watchdog.why_not))
        for part in parts:
            part.start()
        try:
            while not self._over.wait(_LOOK_S) and watchdog.late_s < _LEAVE_AFTER_S:
                status.server_problem = watchdog.why_not()
                self._say(status)
        finally:
            for part in parts:
                part.stop()
            for part in parts:
                part.join(_END_S / 2)
            status.relay = status.watcher = "off"
            self._say(status)

    def _stay_away(self, status: Status) -> None:
        """Leave a server alone that does not answer, whether or not we have a part in that."""
        until = time.monotonic() + _AWAY_S
        at = datetime.now(timezone.utc) + timedelta(seconds=_AWAY_S)
        status.server_problem = (
            f"the API server did not answer within two seconds for {_LEAVE_AFTER_S:.0f} s, so that both ended;"
            f" they begin again at {at:%H:%M} UTC. Have `contrail relay` and `contrail watch` run as processes"
        )
        structlog.get_logger("contrail").warning(status.server_problem)
        while time.monotonic() < until and not self._over.wait(_LOOK_S):
            self._say(status)

    def _say(self, status: Status) -> None:
        from observability.airflow.api_server.status import write_status

        status.time = time.time()
        with contained("api_server.status"):
            write_status(self._settings.home, status)
