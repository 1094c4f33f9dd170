"""The past of an incident, as its first message says it: the same error, its DAG's last success and version."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from observability.timestamps import utc
from observability.watch.ledger import records, schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["with_memory"]

_LOOKED_AT = 200
_KINDS = {"task", "run", "stuck", "deadline"}


def with_memory(connection: Connection, incident: Incident) -> Incident:
    """The incident with ``same_error``, ``last_success`` and ``dag_version`` in its evidence, where they are known."""
    found: dict[str, Any] = {}
    if incident.evidence.get("error.fingerprint"):
        found["same_error"] = _same_error(connection, incident)
    if incident.dag_id and incident.kind in _KINDS:
        last = records.last_time(connection, "success", incident.dag_id)
        found |= {"last_success": _moment(last)} if last is not None else {}
        found |= {"dag_version": said} if (said := _version(connection, incident)) else {}
    return replace(incident, evidence={**incident.evidence, **found}) if found else incident


def _same_error(connection: Connection, one: Incident) -> str:
    table, fingerprint = schema.incidents, one.evidence["error.fingerprint"]
    asked = select(table.c.document).where(table.c.dag_id == one.dag_id, table.c.id != one.id)
    newest = connection.execute(asked.order_by(table.c.first_seen.desc()).limit(_LOOKED_AT)).scalars()
    same = [row for row in newest if row["evidence"].get("error.fingerprint") == fingerprint]
    if not same:
        return "seen for the first time in this DAG"
    times = f"{len(same)} time{'s' if len(same) > 1 else ''} since {_moment(same[-1]['first_seen'])}"
    return f"seen before: {times}, last in run {same[0]['run_id']} (incident {same[0]['id'][:8]})"


def _version(connection: Connection, one: Incident) -> str:
    """The version of the DAG in the run, since when there is one, and whether it failed before; "" for the only one."""
    table, incidents = schema.history, schema.incidents
    mine = (table.c.measure == "dag_version", table.c.dag_id == one.dag_id)
    number = connection.execute(select(table.c.value).where(*mine, table.c.occasion == one.run_id)).scalar()
    if number is None or number <= 1:
        return ""
    asked = select(func.min(table.c.time), func.count()).where(*mine, table.c.value == number)
    since, runs = connection.execute(asked).one()
    failed = select(func.count()).where(
        incidents.c.dag_id == one.dag_id, incidents.c.id != one.id, incidents.c.first_seen >= since,
        incidents.c.key.like("run:%"), incidents.c.state != "dismissed",
    )  # fmt: skip
    before = connection.execute(failed).scalar()
    said = f"{before} incident{'s' if before > 1 else ''} before this one" if before else "its first failure"
    return f"{number:.0f}, since {_moment(since)}, in {runs} run{'s' if runs > 1 else ''}; {said}"


def _moment(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%d %H:%M UTC")
