"""The acts of people and the links that were used, as they stand in the ledger."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from observability.watch.ledger import schema
from observability.watch.ledger.database import insert_new
from observability.watch.ledger.records import clean

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

__all__ = ["ActRow", "add", "forget", "key", "mark_undone", "of_incident", "one", "release_link", "use_link", "used_by"]

_KEY = "link_key"


@dataclass(frozen=True, slots=True)
class ActRow:
    """An act that was performed; ``undo_value`` is what the act needs that takes it back."""

    id: int
    incident_id: str
    dag_id: str | None
    act: str
    value: str
    note: str
    who: str
    source: str
    address: str
    time: float
    undo_value: str
    undone_by: int | None


def add(connection: Connection, **values: Any) -> int:
    """Write an act down and answer its number."""
    made = connection.execute(insert(schema.acts).values(**clean(values))).inserted_primary_key
    return int(made[0]) if made else 0


def one(connection: Connection, number: int) -> ActRow | None:
    """The act with this number."""
    row = connection.execute(select(schema.acts).where(schema.acts.c.id == number)).mappings().first()
    return ActRow(**row) if row else None


def of_incident(connection: Connection, incident_id: str) -> list[ActRow]:
    """The acts on an incident, the oldest first."""
    table = schema.acts
    asked = select(table).where(table.c.incident_id == incident_id).order_by(table.c.id)
    return [ActRow(**row) for row in connection.execute(asked).mappings()]


def mark_undone(connection: Connection, number: int, by: int) -> None:
    """Note that the act ``number`` was taken back by the act ``by``."""
    connection.execute(update(schema.acts).where(schema.acts.c.id == number).values(undone_by=by))


def key(connection: Connection) -> str:
    """The key that signs links and forms: made once, at its first use, for every process of this ledger."""
    table = schema.meta
    asked = select(table.c.value).where(table.c.name == _KEY)
    found = connection.execute(asked).scalar()
    if found is None:
        insert_new(connection, table, [{"name": _KEY, "value": secrets.token_urlsafe(32)}])
        found = connection.execute(asked).scalar()
    return str(found)


def forget_key(connection: Connection) -> None:
    """Delete the key that signs links, from a copy of a ledger."""
    connection.execute(delete(schema.meta).where(schema.meta.c.name == _KEY))


def use_link(connection: Connection, link: str, who: str, now: float) -> bool:
    """Use up a link; False where it was used before. The database itself lets no two use one."""
    if used_by(connection, link) is not None:
        return False
    insert_new(connection, schema.used_links, [{"id": link, "who": clean(who), "time": now}])
    return True


def used_by(connection: Connection, link: str) -> str | None:
    """The person who used the link; None: nobody did."""
    table = schema.used_links
    return connection.execute(select(table.c.who).where(table.c.id == link)).scalar()


def release_link(connection: Connection, link: str) -> None:
    """Make a link usable again, whose act failed."""
    connection.execute(delete(schema.used_links).where(schema.used_links.c.id == link))


def forget(connection: Connection, before: float) -> None:
    """Delete what is older."""
    connection.execute(delete(schema.acts).where(schema.acts.c.time < before))
    connection.execute(delete(schema.used_links).where(schema.used_links.c.time < before))
