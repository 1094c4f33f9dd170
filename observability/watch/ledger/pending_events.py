"""Events that wait in the ledger to be emitted: written with their fact, deleted when they stand in the journal.

A process killed in between emits them again. Their ids are functions of the fact, so the stores keep one of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import delete, insert, select

from observability.emit import emit, is_recorded
from observability.events import by_action
from observability.watch.ledger import schema
from observability.watch.ledger.records import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection

    from observability.events import Event

__all__ = ["add", "delete_recorded", "drop", "due", "emit_all", "from_json", "to_json"]

_KINDS = by_action()
_MOST = 500
"""Events of one round; what is left is emitted in the next."""


def add(connection: Connection, event: Event, at: float, *, fact: str = "") -> None:
    """Have ``event`` emitted at ``at`` (seconds since 1970), once; ``fact`` is the key of what it is about."""
    table = schema.events
    connection.execute(delete(table).where(table.c.id == event.id))
    connection.execute(insert(table).values(id=event.id, fact=fact or None, due=at, document=to_json(event)))


def drop(connection: Connection, fact: str) -> None:
    """Emit nothing about the fact with this key: who saw it has done so."""
    connection.execute(delete(schema.events).where(schema.events.c.fact == fact))


def due(connection: Connection, now: float) -> dict[str, Event]:
    """The events whose time has come, by their ids, in the order in which they were due."""
    table = schema.events
    asked = select(table.c.id, table.c.document).where(table.c.due <= now).order_by(table.c.due).limit(_MOST)
    return {row[0]: from_json(row[1]) for row in connection.execute(asked)}


def emit_all(transaction: Callable[[], AbstractContextManager[Connection]], events: dict[str, Event]) -> None:
    """Emit ``events``, whose own transaction stands, and delete in another what is recorded; the rest stays due."""
    for event in events.values():
        emit(event)
    recorded = [name for name, event in events.items() if is_recorded(event.id)]
    if recorded:
        with transaction() as connection:
            delete_recorded(connection, recorded)


def delete_recorded(connection: Connection, names: list[str]) -> None:
    """Delete the events with these ids, which stand in the journal."""
    connection.execute(delete(schema.events).where(schema.events.c.id.in_(names)))


def to_json(event: Event) -> dict[str, Any]:
    """An event as JSON values."""
    return {"action": event.action, "event": clean(msgspec.to_builtins(event))}


def from_json(row: dict[str, Any]) -> Event:
    """The event that :func:`to_json` made the values from."""
    made: Event = msgspec.convert(row["event"], type=_KINDS[row["action"]])
    return made
