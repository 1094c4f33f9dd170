"""The readers that ``[relay] component_metrics`` names, each with a thread.

No client is imported where nothing is to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.credentials import airflow_server
from observability.relay.sources.components.address import Address
from observability.relay.sources.components.readings import Reader, Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.settings import Settings

__all__ = ["readings"]

_LEAST_S = 1.0
"""No server is asked more often."""


def readings(settings: Settings, say: Callable[[str], None]) -> list[Reading]:
    """A thread for each that is to be read, not started yet."""
    options = settings.relay
    interval_s = max(_LEAST_S, options.statsd_interval_s)
    return [
        Reading(_READERS[name](settings), interval_s, settings.core.environment, say)
        for name in dict.fromkeys(options.component_metrics)
    ]


def _processes(_: Settings) -> Reader:
    from observability.relay.sources.components.processes import ProcessReader

    return ProcessReader()


def _database(settings: Settings) -> Reader:
    from observability.relay.sources.components.postgresql import PostgresqlReader

    return PostgresqlReader(Address(lambda: airflow_server("database", settings.relay.database_connection_id)))


def _broker(settings: Settings) -> Reader:
    from observability.relay.sources.components.broker import BrokerReader

    return BrokerReader(Address(lambda: airflow_server("broker", settings.relay.broker_connection_id)))


_READERS: dict[str, Callable[[Settings], Reader]] = {
    "processes": _processes,
    "database": _database,
    "broker": _broker,
}
