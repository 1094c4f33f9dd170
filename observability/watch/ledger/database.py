"""The ledger: what was seen, what is wrong, what was said, in one database and one transaction each.

SQLAlchemy Core, 1.4.49 to 2.1; SQLite with a write-ahead log by default, PostgreSQL in production.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, insert, inspect, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, SQLAlchemyError

from observability.errors import LedgerError, LedgerUnavailable
from observability.owner_only_files import make_file, make_folder
from observability.watch.ledger import schema
from observability.watch.ledger.migrations import migrate
from observability.write_ahead import write_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Table
    from sqlalchemy.engine import Connection, Engine

__all__ = ["Ledger", "LedgerError", "LedgerUnavailable", "insert_new", "read_cursor", "write_cursor"]

_LEASE = "watcher"


class Ledger:
    """One database. Safe across threads; every write goes through :meth:`transaction`."""

    def __init__(self, url: str) -> None:
        self.name = make_url(url).render_as_string(hide_password=True)
        self._engine = _engine(url)
        self._ready = False

    @contextmanager
    def transaction(self, *, lock: bool = False) -> Iterator[Connection]:
        """All or nothing. With ``lock`` no other such transaction runs meanwhile, in any process.

        Raises :class:`LedgerUnavailable` when the database does not answer; then nothing was written.
        """
        try:
            if not self._ready:
                self._prepare()
            with self._engine.begin() as connection:
                if lock:
                    _lock(connection)
                yield connection
        except DataError:
            raise  # the database is well: it is what was to be written
        except SQLAlchemyError as error:
            detail = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise LedgerUnavailable(f"the ledger {self.name} does not answer: {detail}") from error

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    def _prepare(self) -> None:
        with self._engine.begin() as connection:
            found = self._version(connection)
            schema.metadata.create_all(connection)
            if found is None:
                connection.execute(insert(schema.meta).values(name="version", value=str(schema.VERSION)))
                connection.execute(insert(schema.leases).values(name=_LEASE, holder="", heartbeat=0))
            elif int(found) < schema.VERSION:
                migrate(connection, int(found))
        self._ready = True

    def _version(self, connection: Connection) -> str | None:
        """The version of the ledger, None of a new one. Raises :class:`LedgerError` for one that is newer than we."""
        if not inspect(connection).has_table(schema.meta.name):
            return None
        mine = schema.meta.c.name == "version"  # the row is locked, so that one process migrates
        found = connection.execute(select(schema.meta.c.value).where(mine).with_for_update()).scalar()
        if found is not None and int(found) > schema.VERSION:
            raise LedgerError(
                f"the ledger {self.name} has version {found}, this Contrail knows {schema.VERSION}: upgrade Contrail"
            )
        return found


def read_cursor(connection: Connection, name: str) -> Any:
    """The value last written under ``name``, or None."""
    return connection.execute(select(schema.cursors.c.value).where(schema.cursors.c.name == name)).scalar()


def write_cursor(connection: Connection, name: str, value: Any) -> None:
    """Remember ``value`` (JSON) under ``name``."""
    table = schema.cursors
    if connection.execute(update(table).where(table.c.name == name).values(value=value)).rowcount == 0:
        connection.execute(insert(table).values(name=name, value=value))


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows that the table does not hold yet."""
    if not rows:
        return
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))


def _lock(connection: Connection) -> None:
    """Take the lease's row: on PostgreSQL it serialises writers, on SQLite ``BEGIN IMMEDIATE`` has done so."""
    table = schema.leases
    connection.execute(update(table).where(table.c.name == _LEASE).values(heartbeat=table.c.heartbeat))


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, future=True, pool_pre_ping=True)
    if parsed.database and parsed.database != ":memory:":
        _make_private(Path(parsed.database))
    engine = create_engine(url, future=True, connect_args={"timeout": 30, "check_same_thread": False})
    event.listen(engine, "connect", _sqlite_connected)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _make_private(path: Path) -> None:
    """The file, for its owner only, before SQLite makes it for everybody; what is wrong with it SQLite says."""
    with suppress(OSError):
        make_folder(path.parent)
        make_file(path)


def _sqlite_connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver would begin a transaction of its own, too late to lock
    write_ahead(connection)
    connection.execute("PRAGMA synchronous=NORMAL")  # with WAL, safe against a killed process


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
