"""The rules in force, kept in the ledger: people and a new watcher use them while the file is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.rules.loader import RulesFile, find_rules, open_rules
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.settings import Settings
    from observability.watch.ledger.database import Ledger

__all__ = ["keep_rules", "usable_rules"]

_CURSOR = "rules"


def keep_rules(connection: Connection, text: str) -> None:
    """Write down the rules in force."""
    write_cursor(connection, _CURSOR, text)


def usable_rules(settings: Settings, ledger: Ledger) -> RulesFile:
    """The rules of ``settings``, or those last in force where their file is broken.

    Raises :class:`RulesError` where the file is broken and none were in force.
    """
    try:
        return open_rules(settings)
    except RulesError:
        with ledger.transaction() as connection:
            kept = read_cursor(connection, _CURSOR)
        return RulesFile(find_rules(settings), instead=kept or "")
