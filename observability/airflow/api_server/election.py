"""One process of this host has the place: of several API servers or workers of one, the first to come.

Of several hosts that share an Airflow, the first to come watches. They agree by a lock in Airflow's own database, which
leaves nothing behind in it; with a ledger that they share, the ledger's lease decides.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow import settings as airflow_settings
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from observability.owner_only_files import make_file, make_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Everywhere", "Here"]

_KEY = 0x636F6E747261696C
"""The word contrail as eight bytes: the number of the lock in PostgreSQL."""


class Here:
    """The place on this host, held by a lock on a file of ``home``."""

    def __init__(self, home: Path) -> None:
        self._path = home / "api-server.lock"
        self._descriptor: int | None = None

    def take(self) -> bool:
        """True if this process has it. Raises OSError where ``home`` cannot be written."""
        if self._descriptor is not None:
            return True
        make_folder(self._path.parent)
        make_file(self._path)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def give_back(self) -> None:
        """Let another process have it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Everywhere:
    """The place among all hosts of this Airflow, where its database is PostgreSQL; any host has it with another.

    The lock lasts as long as a transaction: a pooler such as PgBouncer may give each transaction another session.
    """

    def __init__(self) -> None:
        self._connection: Any = None

    def take(self) -> bool:
        """True if this process has it, still or from now on; to be asked at least every few seconds."""
        engine = airflow_settings.engine
        if engine is None or engine.dialect.name != "postgresql":
            return True
        try:
            if self._connection is not None:
                self._connection.execute(text("SELECT 1"))
                return True
            # without a snapshot, for which the vacuum of Airflow's database would wait
            self._connection = engine.connect().execution_options(isolation_level="READ COMMITTED")
            asked = self._connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _KEY})
            if asked.scalar():
                self._connection.detach()  # Airflow's requests have all of the pool
                return True
        except SQLAlchemyError:
            self.give_back()
            return False
        self.give_back()
        return False

    def give_back(self) -> None:
        """Let another host have it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
