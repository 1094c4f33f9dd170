"""Bring a ledger of an earlier version to today's tables; each step runs once, inside the transaction that opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, select, text, update

from observability.watch.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Table
    from sqlalchemy.engine import Connection

__all__ = ["migrate"]

_COLUMNS = (
    ("contrail_facts", "sign", "status"),
    ("contrail_outbox", "folded_into", "merged_into"),
    ("contrail_leases", "beat", "heartbeat"),
)
_STATUSES = {"failed": "firing", "recovered": "resolved"}
_FACT = {"family": "kind", "sign": "status", "name": "subject", "witness": "provider"}
_INCIDENT = {
    "family": "kind",
    "name": "subject",
    "told": "notified",
    "told_at": "notified_at",
    "held_by": "inhibited_by",
    "suspects": "unconfirmed",
    "members": "failed_tasks",
    "said_members": "notified_tasks",
}
_AT_ONCE = 1000
"""Documents that are read and written at a time; a ledger may hold hundreds of thousands."""


def migrate(connection: Connection, version: int) -> None:
    """Take the ledger from ``version`` to :data:`schema.VERSION`."""
    if version < 2:  # noqa: PLR2004 - names of the field: columns, documents, states
        _rename_columns(connection)
        for status, new in _STATUSES.items():
            connection.execute(update(schema.facts).where(schema.facts.c.status == status).values(status=new))
        outbox = schema.outbox
        connection.execute(update(outbox).where(outbox.c.state == "folded").values(state="merged"))
        _rewrite(connection, schema.facts, schema.facts.c.key, _fact)
        _rewrite(connection, schema.incidents, schema.incidents.c.id, _incident)
        _rewrite(connection, schema.events, schema.events.c.id, _event)
    mine = schema.meta.c.name == "version"
    connection.execute(update(schema.meta).where(mine).values(value=str(schema.VERSION)))


def _rename_columns(connection: Connection) -> None:
    for table, old, new in _COLUMNS:
        if any(column["name"] == old for column in inspect(connection).get_columns(table)):
            connection.execute(text(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}"))


def _rewrite(connection: Connection, table: Table, key: Column[Any], new: Callable[[Any], Any]) -> None:
    """Give each document of ``table`` the form that ``new`` makes of it, in the order of ``key``."""
    last = ""
    while True:
        page = select(key, table.c.document).where(key > last).order_by(key).limit(_AT_ONCE)
        rows = connection.execute(page).all()
        for name, document in rows:
            connection.execute(update(table).where(key == name).values(document=new(document)))
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][0]


def _fact(document: dict[str, Any]) -> dict[str, Any]:
    found = _renamed(document, _FACT)
    return {**found, "status": _STATUSES.get(found["status"], found["status"])}


def _incident(document: dict[str, Any]) -> dict[str, Any]:
    found = _renamed(document, _INCIDENT)
    marks = found.get("runs") or {}
    return {**found, "runs": {run: _renamed(mark, {"members": "failed_tasks"}) for run, mark in marks.items()}}


def _event(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "event": _renamed(document["event"], {"witness": "provider"})}


def _renamed(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in values.items()}
