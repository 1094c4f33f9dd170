"""The relay and the watcher inside Airflow's API server, as their links of the chain find them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from observability.airflow.api_server.status import OFF, read_status
from observability.doctor.link import Broken

if TYPE_CHECKING:
    from observability.settings import Settings

__all__ = ["is_in_api_server", "missing"]

_RESTART = "restart Airflow's API server; or have `{command}` run as a service of its own"
_COMMANDS = {"relay": "contrail relay", "watcher": "contrail watch"}


def is_in_api_server(settings: Settings, pid: Any) -> bool:
    """True if the relay or watcher with this process id was the one inside the API server."""
    return bool(pid) and read_status(settings.home).pid == pid


def missing(settings: Settings, name: str) -> Broken | None:
    """The reason for which the API server, which has our plugin, has no relay or watcher now; None where it has none.

    ``name`` is relay or watcher.
    """
    told = read_status(settings.home)
    command = _COMMANDS[name]
    if not told.pid:
        return None
    if not told.is_fresh:
        why = f"the API server (process {told.pid}), which has the {name}, has said nothing of it for a while"
        return Broken(why, _RESTART.format(command=command))
    problem = told.relay_problem if name == "relay" else told.watcher_problem
    state = told.relay if name == "relay" else told.watcher
    if reason := told.server_problem or problem:
        return Broken(f"the {name} inside the API server waits: {reason}", _RESTART.format(command=command))
    if state == OFF:
        return Broken(f"the {name} inside the API server is off", _RESTART.format(command=command))
    return Broken(f"the {name} inside the API server is {state}", "contrail doctor, in a few seconds")
