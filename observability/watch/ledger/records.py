"""Incidents, facts and what is usual, as they stand in the ledger; every function works inside a given transaction."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, bindparam, delete, func, insert, select, update

from observability.watch.facts import Fact
from observability.watch.incidents import Incident
from observability.watch.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.engine import Connection

__all__ = [
    "clean",
    "dags_with",
    "due_incidents",
    "fact",
    "first_begin",
    "first_time",
    "forget",
    "incident",
    "incidents",
    "last_time",
    "latest_incident",
    "live_incidents",
    "next_due",
    "record",
    "remember_fact",
    "save_incident",
    "shift",
    "unconfirmed",
    "usual",
    "whole_incident",
]

_USUAL = (
    select(schema.history.c.time, schema.history.c.value, schema.history.c.occasion)
    .where(
        schema.history.c.measure == bindparam("measure"),
        schema.history.c.dag_id == bindparam("dag_id"),
        schema.history.c.subject == bindparam("subject"),
        schema.history.c.occasion != bindparam("before"),
    )
    .order_by(schema.history.c.time.desc())
    .limit(bindparam("most", type_=Integer))
)
"""Asked for each DAG each second, so it is put together once."""
_LIVE = ("suspected", "open", "acknowledged")


def fact(connection: Connection, key: str) -> tuple[Fact, str | None] | None:
    """The fact with this key, and the incident that it belongs to."""
    table = schema.facts
    row = connection.execute(select(table.c.document, table.c.incident_id).where(table.c.key == key)).first()
    return (Fact(**row[0]), row[1]) if row else None


def remember_fact(connection: Connection, seen: Fact, incident_id: str | None) -> None:
    """Write ``seen`` down, over what was there under its key."""
    table = schema.facts
    values = {"status": seen.status, "time": seen.time, "incident_id": incident_id, "document": clean(seen.as_json())}
    if connection.execute(update(table).where(table.c.key == seen.key).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(key=seen.key, **values))


def incident(connection: Connection, incident_id: str) -> Incident | None:
    """The incident with this id, or the only one whose id starts so."""
    table = schema.incidents
    exact = connection.execute(select(table.c.document).where(table.c.id == incident_id)).scalar()
    if exact is not None:
        return Incident.from_json(exact)
    found = incidents_beginning(connection, incident_id, most=2)
    return found[0] if len(found) == 1 else None


def incidents_beginning(connection: Connection, begin: str, *, most: int) -> list[Incident]:
    """The incidents whose ids begin so, ``most`` of them at most."""
    table = schema.incidents
    asked = select(table.c.document).where(table.c.id.startswith(begin, autoescape=True)).order_by(table.c.id)
    return [Incident.from_json(one) for one in connection.execute(asked.limit(most)).scalars()]


def repeats(connection: Connection, ids: Collection[str]) -> dict[str, tuple[int, float]]:
    """Count how often each of these incidents was seen; with the time of the last one (seconds since 1970)."""
    table = schema.incidents
    rows = connection.execute(select(table.c.document).where(table.c.id.in_(ids))).scalars() if ids else ()
    return {row["id"]: (row["count"], row["last_seen"]) for row in rows}


def whole_incident(connection: Connection, one: Incident | None) -> Incident | None:
    """The incident that ``one`` has become a part of, else ``one``."""
    while one is not None and one.merged_into:
        one = incident(connection, one.merged_into)
    return one


def latest_incident(connection: Connection, key: str) -> Incident | None:
    """The live incident about ``key``, else the last one."""
    table = schema.incidents
    newest = (
        select(table.c.document)
        .where(table.c.key == key)
        .order_by(table.c.open_key.is_(None), table.c.first_seen.desc())
    )
    row = connection.execute(newest.limit(1)).scalar()
    return Incident.from_json(row) if row else None


def live_incidents(connection: Connection, *, dag_id: str | None = None, kind: str | None = None) -> list[Incident]:
    """The open incidents, of one DAG or kind where given."""
    table = schema.incidents
    asked = select(table.c.document).where(table.c.open_key.is_not(None)).order_by(table.c.first_seen)
    if dag_id is not None:
        asked = asked.where(table.c.dag_id == dag_id)
    found = [Incident.from_json(row) for row in connection.execute(asked).scalars()]
    return [one for one in found if kind is None or one.kind == kind]


def due_incidents(connection: Connection, now: float, limit: int = 500) -> list[Incident]:
    """Live incidents whose time has come."""
    table = schema.incidents
    asked = select(table.c.document).where(table.c.due <= now).order_by(table.c.due).limit(limit)
    return [Incident.from_json(row) for row in connection.execute(asked).scalars()]


def next_due(connection: Connection) -> float | None:
    """The time at which an incident next changes by itself."""
    return connection.execute(select(func.min(schema.incidents.c.due))).scalar()


def unconfirmed(connection: Connection, now: float, limit: int = 200) -> list[Fact]:
    """Deaths that Airflow has not confirmed yet."""
    table = schema.facts
    asked = select(table.c.document).where(table.c.status == "suspected", table.c.time > now - 86_400)
    return [Fact(**row) for row in connection.execute(asked.order_by(table.c.time).limit(limit)).scalars()]


def incidents(
    connection: Connection, *, since: float = 0.0, states: Iterable[str] = (), limit: int = 500
) -> list[Incident]:
    """Incidents seen since then, newest first."""
    table = schema.incidents
    asked = select(table.c.document).where(table.c.last_seen >= since, table.c.state.not_in(("dismissed", "merged")))
    if wanted := list(states):
        asked = asked.where(table.c.state.in_(wanted))
    rows = connection.execute(asked.order_by(table.c.last_seen.desc()).limit(limit)).scalars()
    return [Incident.from_json(row) for row in rows]


def save_incident(connection: Connection, one: Incident) -> None:
    """Write the incident down, over what was there."""
    table = schema.incidents
    values = {
        "key": one.key,
        "open_key": hashlib.blake2b(one.key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        if one.live
        else None,
        "state": one.state,
        "severity": one.severity,
        "dag_id": one.dag_id,
        "first_seen": one.first_seen,
        "last_seen": one.last_seen,
        "due": one.due,
        "document": clean(one.as_json()),
    }
    if connection.execute(update(table).where(table.c.id == one.id).values(**values)).rowcount == 0:
        connection.execute(insert(table).values(id=one.id, **values))


def shift(connection: Connection, seconds: float) -> None:
    """Move every wait by ``seconds``: the clock has jumped, and the time that is left has not."""
    table = schema.outbox
    moved = {name: table.c[name] + seconds for name in ("next_attempt", "created", "fact_time")}
    connection.execute(update(table).where(table.c.state.in_(("pending", "sending", "held"))).values(**moved))
    for one in live_incidents(connection):
        waits = {name: getattr(one, name) for name in ("notify_at", "remind_at", "notified_at")}
        save_incident(connection, replace(one, **{name: at and at + seconds for name, at in waits.items()}))


def record(  # noqa: PLR0913, PLR0917 - each is a column of what it is about
    connection: Connection, measure: str, dag_id: str, subject: str, occasion: str, time: float, value: float
) -> None:
    """Remember one value of a measure; the same occasion counts once."""
    table = schema.history
    where = (
        table.c.measure == measure,
        table.c.dag_id == dag_id,
        table.c.subject == subject,
        table.c.occasion == occasion,
    )
    if connection.execute(select(table.c.id).where(*where)).first() is None:
        connection.execute(
            insert(table).values(
                measure=measure, dag_id=dag_id, subject=subject, occasion=occasion, time=time, value=value
            )
        )


def usual(  # noqa: PLR0913, PLR0917 - each is a column of what it is about
    connection: Connection, measure: str, dag_id: str, subject: str, before: str = "", most: int = 400
) -> list[tuple[float, float, str]]:
    """The time, value and occasion of a measure's last values, oldest first, without the occasion ``before``."""
    about = {"measure": measure, "dag_id": dag_id, "subject": subject, "before": before, "most": most}
    return [(row[0], row[1], row[2]) for row in connection.execute(_USUAL, about)][::-1]


def last_time(
    connection: Connection, measure: str, dag_id: str, subject: str | None = None, *, current: bool = False
) -> float | None:
    """The time of the last measure; ``current``: without runs for a date that is long over, whose value is 0."""
    table = schema.history
    asked = select(func.max(table.c.time)).where(table.c.measure == measure, table.c.dag_id == dag_id)
    asked = asked.where(table.c.value > 0) if current else asked
    return connection.execute(asked if subject is None else asked.where(table.c.subject == subject)).scalar()


def first_begin(connection: Connection, dag_id: str, since: float) -> float | None:
    """The begin of the first run since a moment that is about the present."""
    table = schema.history
    where = (table.c.measure == "started", table.c.dag_id == dag_id, table.c.time >= since, table.c.value > 0)
    return connection.execute(select(func.min(table.c.time)).where(*where)).scalar()


def dags_with(connection: Connection, measure: str, subject: str) -> list[str]:
    """The DAGs of which a measure of this subject was taken."""
    table = schema.history
    asked = select(table.c.dag_id).where(table.c.measure == measure, table.c.subject == subject).distinct()
    return list(connection.execute(asked).scalars())


def first_time(connection: Connection, measure: str, dag_id: str, occasion: str) -> float | None:
    """The time of the first measure on an occasion."""
    table = schema.history
    where = (table.c.measure == measure, table.c.dag_id == dag_id, table.c.occasion == occasion)
    return connection.execute(select(func.min(table.c.time)).where(*where)).scalar()


def last_end(connection: Connection, dag_id: str, run_id: str, task_id: str) -> tuple[float, bool] | None:
    """The end of the last attempt of a task in a run, of those that are timed, and True if it succeeded."""
    table = schema.history
    where = (table.c.measure == "task_ended", table.c.dag_id == dag_id, table.c.subject == task_id)
    asked = select(table.c.time, table.c.value).where(
        *where, table.c.occasion.startswith(f"{run_id}\x1f", autoescape=True)
    )
    row = connection.execute(asked.order_by(table.c.time.desc()).limit(1)).first()
    return None if row is None else (float(row[0]), row[1] > 0)


def forget(connection: Connection, before: float) -> None:
    """Delete what is older, of live incidents nothing."""
    table = schema.incidents
    connection.execute(delete(schema.facts).where(schema.facts.c.time < before))
    connection.execute(delete(schema.history).where(schema.history.c.time < before))
    connection.execute(delete(schema.run_times).where(schema.run_times.c.begun < before))
    connection.execute(
        delete(schema.outbox).where(schema.outbox.c.created < before, schema.outbox.c.state != "pending")
    )
    connection.execute(delete(table).where(table.c.last_seen < before, table.c.open_key.is_(None)))


def clean(value: Any) -> Any:
    """``value`` as every database's JSON takes it: no NUL, no lone surrogate, no NaN."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): clean(one) for key, one in value.items()}
    return [clean(one) for one in value] if isinstance(value, (list, tuple)) else value
