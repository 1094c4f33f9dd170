"""Perform what people do about incidents: one way for the page, the link of a message and the command line.

An act is one row of the ledger's table ``contrail_acts``: who did what, when, from where, and what takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING, Literal

from observability.errors import ArgumentError
from observability.watch import incidents
from observability.watch.acts import ACTS, applies
from observability.watch.engine import IncidentEngine
from observability.watch.ledger import acts as rows
from observability.watch.ledger import records
from observability.watch.notify.messages import Links
from observability.watch.notify.notifier import Notifier
from observability.watch.rerun import run_of
from observability.watch.rules.config import parse_duration
from observability.watch.silences import LONGEST_S, end_silence, silence_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from observability.settings import Settings
    from observability.watch.incidents import Incident
    from observability.watch.rules.config import AlertingConfig

__all__ = ["Asked", "acting_engine", "inverse", "perform"]

_MOST_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An act as somebody asked for it; ``source`` is ``page``, ``link`` or ``cli``, ``address`` its host."""

    act: str
    who: str
    source: Literal["page", "link", "cli"]
    address: str = ""
    value: str = ""
    note: str = ""


def acting_engine(settings: Settings, rules: AlertingConfig, *, emit_after_s: float = 0.0) -> IncidentEngine:
    """The engine that applies acts; its events are emitted by the watcher where nobody else does."""
    notifier = Notifier(rules, Links.of(settings, rules), settings.core.environment)
    return IncidentEngine(notifier, emit_after_s=emit_after_s)


def perform(engine: IncidentEngine, connection: Connection, incident: Incident, asked: Asked, now: float) -> int:
    """Apply the act inside the given transaction, and answer the number of its row.

    Clearing in Airflow comes before this: see ``rerun`` of who asks. Raises :class:`ArgumentError` where the act is
    unknown, does not apply any more or lacks what it asks for.
    """
    if asked.act not in ACTS:
        raise ArgumentError(f"there is no act {asked.act[:40]!r}; known are {', '.join(ACTS)}")
    if not applies(asked.act, incident):
        raise ArgumentError(f"{ACTS[asked.act].label!r} does not apply to an incident that is {incident.state}")
    undo_value = _DEEDS[asked.act](engine, connection, incident, asked, now)
    return _record(connection, incident, asked, now, undo_value=undo_value)


def _record(connection: Connection, incident: Incident, asked: Asked, now: float, *, undo_value: str = "") -> int:
    """Write the act down, without applying anything, and answer the number of its row."""
    return rows.add(
        connection, incident_id=incident.id, dag_id=incident.dag_id, act=asked.act, value=asked.value[:_MOST_TEXT],
        note=asked.note[:_MOST_TEXT], who=asked.who[:_MOST_TEXT], source=asked.source, address=asked.address[:100],
        time=now, undo_value=undo_value,
    )  # fmt: skip


def inverse(connection: Connection, incident: Incident, number: int) -> tuple[str, str]:
    """The act that takes back the one with this number, and its value.

    Raises :class:`ArgumentError` where there is no such act of this incident, or it was taken back already.
    """
    found = rows.one(connection, number)
    if found is None or found.incident_id != incident.id or not ACTS[found.act].undo:
        raise ArgumentError("there is no such act to take back")
    if found.undone_by is not None:
        raise ArgumentError("it was taken back already")
    return ACTS[found.act].undo, found.undo_value


def _acknowledge(engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, now: float) -> str:
    engine.acknowledge(connection, one, asked.who, now)
    return ""


def _unacknowledge(engine: IncidentEngine, connection: Connection, one: Incident, _asked: Asked, now: float) -> str:
    engine.take_back(connection, one, now, incidents.unacknowledge)
    return ""


def _assign(_engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, _now: float) -> str:
    if not asked.value.strip() and not one.about.get("assigned_to"):
        raise ArgumentError("name the person to whom the incident is assigned")
    records.save_incident(connection, incidents.noted(one, assigned_to=asked.value.strip()[:200]))
    return str(one.about.get("assigned_to") or "")


def _silence(_engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, now: float) -> str:
    until, ends = asked.value or "change", now + LONGEST_S
    if until not in {"change", "success"}:
        span = parse_duration(until)
        if not isinstance(span, float) or not 0 < span <= LONGEST_S:
            raise ArgumentError(
                f"a silence ends at change, at success or after 30m, 4h, 1d (30d at most), not {until[:40]!r}"
            )
        ends = now + span
    dag = [escape(one.dag_id)] if one.dag_id else []
    return str(silence_error(connection, one, dag, until, (now, ends), (asked.who, asked.note)))


def _unsilence(_engine: IncidentEngine, connection: Connection, _one: Incident, asked: Asked, now: float) -> str:
    if not end_silence(connection, asked.value, now):
        raise ArgumentError("that silence is over already")
    return ""


def _resolve(engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, now: float) -> str:
    said = f"{asked.who}: {asked.note.strip()[:_MOST_TEXT]}" if asked.note.strip() else asked.who
    engine.resolve(connection, one, now, said)
    return ""


def _reopen(engine: IncidentEngine, connection: Connection, one: Incident, _asked: Asked, now: float) -> str:
    newest = records.latest_incident(connection, one.key)
    if newest is not None and newest.id != one.id:
        raise ArgumentError(f"the same went wrong again since: act on incident {newest.id[:8]}")
    engine.take_back(connection, one, now, incidents.reopen)
    return ""


def _mark(_engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, _now: float) -> str:
    verdict = "" if asked.act == "unmark" else asked.act
    records.save_incident(connection, incidents.noted(one, verdict=verdict))
    return ""


def _rerun(engine: IncidentEngine, connection: Connection, one: Incident, asked: Asked, now: float) -> str:
    engine.rerun(connection, one, run_of(one), asked.who, now)
    return asked.value


def _in_airflow(_engine: IncidentEngine, _connection: Connection, _one: Incident, asked: Asked, _now: float) -> str:
    """Nothing in the ledger: Airflow has done it, and its tasks will say how that goes."""
    return asked.value


_DEEDS: dict[str, Callable[[IncidentEngine, Connection, Incident, Asked, float], str]] = {
    "acknowledge": _acknowledge, "unacknowledge": _unacknowledge, "assign": _assign, "silence": _silence,
    "unsilence": _unsilence, "resolve": _resolve, "reopen": _reopen, "rerun": _rerun, "stop": _in_airflow,
    "useful": _mark, "noise": _mark, "unmark": _mark,
}  # fmt: skip
