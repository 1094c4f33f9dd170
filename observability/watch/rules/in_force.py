"""The rules in force, kept in the ledger: people and a new watcher use them while the file is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.rules.loader import RulesFile
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection

    from observability.watch.ledger.database import Ledger

__all__ = ["keep_rules", "usable_rules"]

_CURSOR = "rules"


def keep_rules(connection: Connection, text: str) -> None:
    """Write down the rules in force."""
    write_cursor(connection, _CURSOR, text)


def usable_rules(path: Path | None, ledger: Ledger) -> RulesFile:
    """The rules of the file, or those last in force where it is broken. Raises :class:`RulesError` without either."""
    try:
        return RulesFile(path)
    except RulesError:
        with ledger.transaction() as connection:
            kept = read_cursor(connection, _CURSOR)
        return RulesFile(path, instead=kept or "")
