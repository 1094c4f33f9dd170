"""The end of a task on a host without a relay (a pod, an ECS task): what is on disk goes out before the worker does.

Nothing here is sent twice: ids come from the facts, and whoever delivers holds the relay's lock.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from observability.credentials import use_resolver
from observability.relay.relay import Relay, RelayError, read_status

if TYPE_CHECKING:
    from observability.credentials import Credentials
    from observability.settings import Settings

__all__ = ["catch_up", "relay_lives", "resolve_in_process"]

_FRESH_S = 15.0
"""A relay says each second how it is."""
_LOOK_EVERY_S = 0.1


def catch_up(settings: Settings) -> bool:
    """Deliver all that is on disk, unless a relay does; False where something is left for a later one.

    Takes ``[relay] catch_up_s`` at most, some seconds longer where a request is under way.
    """
    deadline = time.monotonic() + settings.relay.catch_up_s
    while not relay_lives(settings):
        try:
            relay = Relay(settings, statsd=False)
        except RelayError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_EVERY_S)
            continue
        resolve_in_process()
        left_s = max(deadline - time.monotonic(), 1.0)
        return relay.run(once=True, patience_s=left_s, limit_s=left_s)
    return True


def relay_lives(settings: Settings) -> bool:
    """Whether a relay that stays (it listens for metrics) has lately said that it runs."""
    status = read_status(settings.home)
    if status is None or status["state"] != "running" or status["statsd"]["state"] == "off":
        return False
    return abs(time.time() - float(status["time"])) < _FRESH_S


def resolve_in_process() -> None:
    """Have Connections read here: this process has Airflow, and must not start another one to ask."""
    use_resolver(_resolve)


def _resolve(connection_id: str) -> Credentials:
    from observability.airflow.connections import resolve

    return resolve(connection_id)
