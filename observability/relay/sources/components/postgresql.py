"""The statistics of Airflow's database, of PostgreSQL's own views: sessions, locks, transactions, size.

The client waits by its asynchronous interface, so that a server that hangs in the middle of an answer is given up as
well. Each reading has a connection and a read-only transaction of its own; PgBouncer takes both.
"""

from __future__ import annotations

import select
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from observability.errors import ServerUnavailable
from observability.relay.sources.components.readings import Growth, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.relay.sources.components.address import Address

__all__ = ["PostgresqlReader"]

_TIMEOUT_S = 5.0
_STATES = {
    "active": "active",
    "idle": "idle",
    "idle in transaction": "idle_in_transaction",
    "idle in transaction (aborted)": "idle_in_transaction",
}
_SHOWN = (*dict.fromkeys(_STATES.values()), "other")
"""A session of another role is ``other``, unless ours has pg_monitor."""
_DATABASE = """
SELECT pg_database_size(datid), xact_commit, xact_rollback, deadlocks,
(SELECT setting::bigint FROM pg_settings WHERE name = 'max_connections')
FROM pg_stat_database WHERE datname = current_database()
"""
_SESSIONS = """
SELECT state, count(*), count(*) FILTER (WHERE wait_event_type = 'Lock'),
coalesce(max(extract(epoch FROM now() - xact_start)), 0)
FROM pg_stat_activity
WHERE datid IS NOT NULL AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
GROUP BY state
"""


class PostgresqlReader:
    """Reads the server of ``address``, whose ``extra`` holds parameters of libpq."""

    name = "database"

    def __init__(self, address: Address, timeout_s: float = _TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._growth = Growth()

    def presence(self, *, up: bool) -> list[Sample]:
        """1 while it answers."""
        return [Sample("contrail.database.up", "gauge", int(up), {})]

    def read(self) -> list[Sample]:
        """Read both views. Raises :class:`ServerUnavailable`."""
        parameters = {"connect_timeout": max(2, int(self._timeout_s)), **self._address().extra}
        try:
            import psycopg2
        except ImportError as error:
            raise ServerUnavailable(f"psycopg2 cannot be imported ({error}); install psycopg2-binary") from error
        began = time.monotonic()
        try:
            database, sessions = self._ask(psycopg2, parameters, began + self._timeout_s)
            took_ms = (time.monotonic() - began) * 1000
            return [
                Sample("contrail.database.latency_ms", "timer", took_ms, {}),
                *self._of_database(database),
                *_of_sessions(sessions),
            ]
        except psycopg2.Error as error:
            self._address.doubt()
            raise ServerUnavailable(_reason(error, parameters)) from error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ServerUnavailable(
                f"the database's answers are not PostgreSQL's ({type(error).__name__}); check its address"
            ) from error

    def _ask(self, psycopg2: Any, parameters: Mapping[str, Any], until: float) -> tuple[list[Any], list[Any]]:
        with closing(psycopg2.connect(**parameters, application_name="contrail relay", async_=1)) as connection:
            _wait(connection, until)
            cursor = connection.cursor()

            def asked(statement: str) -> Any:
                cursor.execute(statement)
                _wait(connection, until)
                return cursor

            asked("BEGIN READ ONLY")
            asked(f"SET LOCAL statement_timeout = {int(self._timeout_s * 1000)}")
            database = asked(_DATABASE).fetchall()
            sessions = asked(_SESSIONS).fetchall()
            asked("COMMIT")
            return database, sessions

    def _of_database(self, rows: list[Any]) -> list[Sample]:
        found = []
        for size, committed, rolled_back, deadlocks, most in rows:
            found += [
                Sample("contrail.database.size_bytes", "gauge", size, {}),
                Sample("contrail.database.connections_limit", "gauge", most, {}),
                Sample("contrail.database.deadlocks", "counter", self._growth.of("deadlocks", deadlocks), {}),
            ]
            for state, total in (("committed", committed), ("rolled_back", rolled_back)):
                grown = self._growth.of(state, total)
                found.append(Sample("contrail.database.transactions", "counter", grown, {"state": state}))
        return found


def _of_sessions(rows: list[Any]) -> list[Sample]:
    numbers = dict.fromkeys(_SHOWN, 0)
    waiting, oldest_s = 0, 0.0
    for state, number, blocked, transaction_s in rows:
        numbers[_STATES.get(state, "other")] += number
        waiting += blocked
        oldest_s = max(oldest_s, float(transaction_s))
    return [
        *(
            Sample("contrail.database.connections", "gauge", number, {"state": state})
            for state, number in numbers.items()
        ),
        Sample("contrail.database.blocked", "gauge", waiting, {}),
        Sample("contrail.database.oldest_transaction_ms", "gauge", oldest_s * 1000, {}),
    ]


def _wait(connection: Any, until: float) -> None:
    """Wait for what was asked for. Raises :class:`ServerUnavailable` where it does not come in time."""
    from psycopg2.extensions import POLL_OK, POLL_READ

    while (state := connection.poll()) != POLL_OK:
        left_s = until - time.monotonic()
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        if left_s <= 0 or not waiting.poll(left_s * 1000):
            raise ServerUnavailable("PostgreSQL gave no answer in time; it hangs, or the network drops its packets")


def _reason(error: Exception, parameters: Mapping[str, Any]) -> str:
    """The first line of an error of libpq, which names no password, with the address and the remedy."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    where = f"{parameters.get('host', 'the local socket')}:{parameters.get('port', 5432)}"
    return f"PostgreSQL at {where}: {first}; check that it runs there and takes sessions of this login"
