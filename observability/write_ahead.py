"""SQLite's write-ahead log, turned on by whoever opens a database first."""

from __future__ import annotations

import sqlite3
import time
from typing import Final

__all__ = ["write_ahead"]

_PATIENCE_S: Final = 2.0
_PAUSE_S: Final = 0.02


def write_ahead(connection: sqlite3.Connection) -> None:
    """Turn on the write-ahead log. Raises ``sqlite3.OperationalError`` where the file stays locked for two seconds.

    SQLite does not wait, whatever its timeout, where two connections do so with a new file at the same time.
    """
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
