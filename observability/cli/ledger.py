"""A transaction of the ledger for a command."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from observability.settings import get_settings
from observability.watch.ledger.database import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

__all__ = ["ledger_transaction"]


@contextmanager
def ledger_transaction() -> Iterator[Connection]:
    """The ledger of the settings, locked against the watcher; committed at the end, closed whatever happens."""
    ledger = Ledger(get_settings().ledger_url)
    try:
        with ledger.transaction(lock=True) as connection:
            yield connection
    finally:
        ledger.close()
