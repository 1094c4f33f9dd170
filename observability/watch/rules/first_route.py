"""The rules where there is no file: everything to one address, by whichever of four places holds one.

They are `[watch] alerts_to`, the variable CONTRAIL_ALERTS, the Airflow Connection contrail_alerts and the Airflow
Variable of that name.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from observability.contain import contained
from observability.settings import ALERTS_VARIABLE

if TYPE_CHECKING:
    from observability.settings import Settings
    from observability.watch.notify.channels.channel import Contacts

__all__ = ["FOUND", "FirstRoute", "named_address", "rules_for"]

_NAME = "contrail_alerts"
_SHIPPED = """\
channels: {file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [file], fallback: log}}
routes: [{receiver: everybody}]
"""
_TO_ONE_ADDRESS = """\
channels: {people: {type: address, url: %s}, file: {type: file}, log: {type: log}}
receivers: {everybody: {channels: [people, file], fallback: log}}
routes: [{receiver: everybody}]
"""


def named_address(settings: Settings) -> str:
    """The reference that an option or a variable of this process names; "" for none."""
    return settings.watch.alerts_to or (f"env:{ALERTS_VARIABLE}" if os.environ.get(ALERTS_VARIABLE) else "")


def rules_for(address: str) -> str:
    """The rules that send everything to what ``address`` refers to; without one, into a file of Contrail's home."""
    return _TO_ONE_ADDRESS % address if address else _SHIPPED


FOUND = frozenset(rules_for(f"{kind}:{_NAME}") for kind in ("connection", "variable"))
"""The rules that a watcher may have found in Airflow."""


class FirstRoute:
    """Looks every ``every_s`` for a Connection or Variable that somebody may add while the watcher runs.

    One that was found stays until the end of the process: Airflow says the same of a Connection that was deleted and
    of one that it cannot read while its database is down.
    """

    def __init__(self, settings: Settings, contacts: Contacts, *, every_s: float) -> None:
        self._settings, self._contacts, self._every_s = settings, contacts, every_s
        self._found = ""
        self._looked_at = float("-inf")
        self._looker: threading.Thread | None = None

    def text(self) -> str:
        """The rules as they are now; does not wait for Airflow."""
        address = named_address(self._settings) or self._found
        if not address and time.monotonic() - self._looked_at >= self._every_s and not self._is_looking():
            self._looked_at = time.monotonic()
            self._looker = threading.Thread(target=self._look, name="contrail-first-route", daemon=True)
            self._looker.start()
        return rules_for(address)

    def _is_looking(self) -> bool:
        return self._looker is not None and self._looker.is_alive()

    def _look(self) -> None:
        with contained("watch.first_route"):
            for kind, ask in (("connection", self._contacts.connection), ("variable", self._contacts.variable)):
                try:
                    ask(_NAME)
                except LookupError:
                    continue
                self._found = f"{kind}:{_NAME}"
                return
