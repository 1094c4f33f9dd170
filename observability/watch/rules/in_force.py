"""The rules in force, kept in the ledger: people and a new watcher use them while the file is broken."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from observability.watch.ledger.database import read_cursor, write_cursor
from observability.watch.rules.first_route import FOUND, named_address
from observability.watch.rules.loader import RulesFile, find_rules, open_rules
from observability.watch.rules.text import RulesError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine import Connection

    from observability.settings import Settings
    from observability.watch.ledger.database import Ledger
    from observability.watch.rules.first_route import FirstRoute

__all__ = ["keep_rules", "usable_rules"]

_CURSOR, _CALENDARS = "rules", "calendars"


def keep_rules(connection: Connection, text: str, calendars: Mapping[str, frozenset[date]] | None = None) -> None:
    """Write down the rules in force, with the days of their calendars: another host need not have those files."""
    write_cursor(connection, _CURSOR, text)
    days = {name: sorted(day.isoformat() for day in found) for name, found in (calendars or {}).items()}
    write_cursor(connection, _CALENDARS, days)


def usable_rules(settings: Settings, ledger: Ledger, first: FirstRoute | None = None) -> RulesFile:
    """The rules of ``settings``, or those last in force where their file is broken.

    Where there is no file the watcher hands in the ``first`` route; people see the one that the watcher has found.
    Raises :class:`RulesError` where the file is broken and none were in force.
    """
    if find_rules(settings) is None and not named_address(settings):
        if first is not None:
            return RulesFile(None, without=first.text)
        with ledger.transaction() as connection:
            found_by_watcher = str(read_cursor(connection, _CURSOR) or "")
        if found_by_watcher in FOUND:
            return RulesFile(None, without=lambda: found_by_watcher)
    try:
        return open_rules(settings)
    except RulesError:
        with ledger.transaction() as connection:
            text, days = read_cursor(connection, _CURSOR), read_cursor(connection, _CALENDARS) or {}
        kept = {name: frozenset(map(date.fromisoformat, found)) for name, found in days.items()}
        return RulesFile(find_rules(settings), instead=text or "", kept=kept)
