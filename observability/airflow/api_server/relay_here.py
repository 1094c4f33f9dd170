"""The relay as a guest in the API server: it carries while no relay of its own does."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from observability.contain import contained
from observability.relay.relay import Relay, RelayError
from observability.relay.takeover import is_wanted

if TYPE_CHECKING:
    from observability.airflow.api_server.status import Status
    from observability.settings import Settings

__all__ = ["RelayHere"]

_AGAIN_S = 2.0
_POLL_MS = 1000
_BATCH_BYTES = 262_144
"""A piece of work is small: requests wait while Python is busy with it."""


class RelayHere(threading.Thread):
    """Says in ``status`` how it is; :meth:`stop` has it deliver for two seconds more."""

    def __init__(self, settings: Settings, status: Status) -> None:
        super().__init__(name="contrail-relay", daemon=True)
        given = settings.relay
        slow = replace(given, poll_ms=max(given.poll_ms, _POLL_MS), batch_bytes=min(given.batch_bytes, _BATCH_BYTES))
        self._settings = replace(settings, relay=slow)
        self._status = status
        self._over = threading.Event()
        self._relay: Relay | None = None
        self._log = structlog.get_logger("contrail.relay")

    def stop(self) -> None:
        """End soon."""
        self._over.set()
        if (relay := self._relay) is not None:
            relay.stop()

    def run(self) -> None:
        """Carry, and try again where that fails or another relay is there."""
        while not self._over.is_set():
            self._status.relay = "failing"
            with contained("api_server.relay"):
                self._carry()
            self._over.wait(_AGAIN_S)

    def _carry(self) -> None:
        try:
            if is_wanted(self._settings.home):
                self._status.relay = "another"
                return
            relay = Relay(self._settings, statsd=False, stands_in=True, say=self._say)
        except RelayError:
            self._status.relay, self._status.relay_problem = "another", ""
            return
        except OSError as error:
            self._status.relay_problem = f"{self._settings.home} cannot be written: {error.strerror or error}"
            raise
        self._relay = relay
        self._status.relay, self._status.relay_problem = "running", ""
        try:
            if not self._over.is_set():
                relay.run()
        finally:
            self._relay = None
            self._status.relay = "another"

    def _say(self, text: str) -> None:
        self._log.info(text)
