"""The watcher as a guest in the API server: it watches while no `contrail watch` does."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from observability.airflow.api_server.asgi_client import Inside, reader_for
from observability.airflow.api_server.contacts import ContactsHere
from observability.airflow.api_server.election import Everywhere
from observability.contain import contained
from observability.credentials import CredentialsError, resolve
from observability.errors import ContrailError
from observability.watch.ledger.database import Ledger
from observability.watch.ledger.lease import SeparateWatcher
from observability.watch.rules.first_route import FirstRoute
from observability.watch.rules.in_force import usable_rules
from observability.watch.sources.api import AirflowApi
from observability.watch.watcher import Watcher

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fastapi import FastAPI

    from observability.airflow.api_server.status import Status
    from observability.settings import Settings

__all__ = ["WatcherHere"]

_LOOK_S = 1.0
_AGAIN_S = 5.0
_FIRST_LOOK_S = 3.0
"""A `contrail watch` of another host is seen when it has counted up, which it does each second."""
_JOIN_S = 5.0
_LOOK_FOR_ROUTE_S = 20.0
_ASK_EVERY_S = 10.0
"""So rarely it looks at Airflow: requests of people that meet ours take longer, and fewer than one in twenty shall."""
_NO_LOGIN = (
    "it hears of events only, because it cannot make a reader for this auth manager: give CONTRAIL_API_USERNAME and"
    " CONTRAIL_API_PASSWORD (or CONTRAIL_API_TOKEN, or the Connection airflow_api) of a user who may read DAGs and logs"
)


class WatcherHere(threading.Thread):
    """Says in ``status`` how it is; :meth:`stop` has it give its lease back."""

    def __init__(
        self,
        settings: Settings,
        status: Status,
        app: FastAPI,
        loop: asyncio.AbstractEventLoop,
        why_not: Callable[[], str],
    ) -> None:
        super().__init__(name="contrail-watcher", daemon=True)
        watch = replace(settings.watch, reconcile_s=max(settings.watch.reconcile_s, _ASK_EVERY_S))
        self._settings = replace(settings, watch=watch)
        self._status, self._app, self._loop = status, app, loop
        self._why_not = why_not
        self._over = threading.Event()
        self._everywhere = Everywhere()
        self._shares_ledger = bool(settings.watch.ledger_url)
        self._log = structlog.get_logger("contrail.watch")

    def stop(self) -> None:
        """End soon."""
        self._over.set()

    def run(self) -> None:
        """Watch, and try again where that fails or another watches."""
        while not self._over.is_set():
            self._status.watcher = "starting"
            with contained("api_server.watcher"):
                try:
                    self._watch()
                except (ContrailError, OSError) as error:
                    self._status.watcher, self._status.watcher_problem = "failing", str(error)
                    raise
            self._over.wait(_AGAIN_S)
        self._everywhere.give_back()

    def _watch(self) -> None:
        ledger = Ledger(self._settings.ledger_url)
        try:
            separate = SeparateWatcher(ledger)
            if self._is_relieved(separate, for_s=_FIRST_LOOK_S):
                self._status.watcher, self._status.watcher_problem = "another", ""
                return
            self._run(ledger, separate)
        finally:
            ledger.close()

    def _run(self, ledger: Ledger, separate: SeparateWatcher) -> None:
        api = self._api()
        contacts = ContactsHere()
        rules = usable_rules(self._settings, ledger, FirstRoute(self._settings, contacts, every_s=_LOOK_FOR_ROUTE_S))
        watcher = Watcher(self._settings, ledger, rules, contacts, api=api, stands_in=True)
        thread = threading.Thread(target=watcher.run, name="contrail-watch", daemon=True)
        thread.start()
        self._status.watcher, self._status.watcher_problem = "running", "" if api else _NO_LOGIN
        self._log.info("contrail watches from within the API server", home=str(self._settings.home))
        try:
            while thread.is_alive() and not self._is_relieved(separate):
                self._over.wait(_LOOK_S)
        finally:
            watcher.stop()
            thread.join(_JOIN_S)
            self._status.watcher = "another"

    def _is_relieved(self, separate: SeparateWatcher, *, for_s: float = 0.0) -> bool:
        """True if a `contrail watch` lives, another host has the place, or this is to end; looks ``for_s``."""
        until = time.monotonic() + for_s
        while True:
            if self._over.is_set() or separate.lives(time.monotonic()):
                return True
            if not (self._shares_ledger or self._everywhere.take()):
                return True
            if time.monotonic() >= until:
                return False
            self._over.wait(_LOOK_S)

    def _api(self) -> AirflowApi | None:
        """Airflow's API, from within where a reader can be made, else by a login that somebody named; else None."""
        if (reader := reader_for()) is not None:
            return AirflowApi(self._settings.api_url, inside=Inside(self._app, self._loop, reader, self._why_not))
        if not any(os.environ.get(name) for name in ("CONTRAIL_API_TOKEN", "CONTRAIL_API_USERNAME")):
            try:
                resolve("airflow_api")
            except CredentialsError:
                return None
        return AirflowApi(self._settings.api_url)
