"""The reasons for which nothing is said of an incident yet: a silence, the wait of its route, what explains it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sqlalchemy import select

from observability.watch.facts import late_assets
from observability.watch.grouping import RUN_KINDS
from observability.watch.ledger import records, schema
from observability.watch.rules.config import Match, decide, matches, route_wait
from observability.watch.silences import is_of_error

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident
    from observability.watch.rules.config import AlertingConfig

__all__ = ["explanations_first", "held"]

_LOOK_AGAIN_S = 5.0
_EXPLAINED = "explained by incident "
_EXPLAINED_BY_OTHERS = {"deadline", "overdue", "stuck", "dag"}
"""Kinds that follow from another; a deadline also from the others here."""
_SILENCED_S = 60.0
"""A silence is asked again after this long: a person may have ended it, or changed it."""
_BACK_S = 30.0
"""A scheduler that was silent begins in this time what was due meanwhile."""
_BEGINS_RUNS = {"scheduler", "dag-processor"}
_NAMED_MOST = 3
"""So many DAGs that wait for a silent component are named; the others are held back until it is heard of."""


def held(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> tuple[float, str] | None:
    """The time until which nothing is said about a live incident, and why; None where it may be said."""
    if incident.state == "suspected":
        return None
    if silence := _silence(connection, rules, incident, now):
        return silence
    wait = route_wait(rules, incident, now)
    if (
        not incident.notified and wait and now < incident.first_seen + wait
    ):  # a host whose clock is ahead holds nothing up by itself
        return incident.first_seen + wait, "its route waits whether it ends by itself"
    return None if incident.notified == "opened" else _explained(connection, rules, incident, now)


def explanations_first(incident: Incident) -> tuple[bool, bool]:
    """The order at one moment: what explains others first, so that they are held back and not notified beside it."""
    return incident.kind in _EXPLAINED_BY_OTHERS, incident.kind == "deadline"


def _explained(
    connection: Connection, rules: AlertingConfig, incident: Incident, now: float
) -> tuple[float, str] | None:
    """Until when and why nothing is said of an incident that another one explains."""
    if (root := _root(connection, rules, incident, now)) is not None:
        return now + _LOOK_AGAIN_S, f"{_EXPLAINED}{root.id}: {root.reason}"
    if incident.kind == "deadline" and incident.inhibited_by.startswith(_EXPLAINED):
        # The success that ended its cause may have ended it as well: the deadlines are looked at first.
        return now + _LOOK_AGAIN_S, "what explained it is over"
    return None


def _silence(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> tuple[float, str] | None:
    table = schema.silences
    asked = select(table.c.matchers, table.c.ends, table.c.who, table.c.comment)
    for matchers, ends, who, comment in connection.execute(asked.where(table.c.starts <= now, table.c.ends > now)):
        if matches(Match.stored(matchers), incident, now) is None and is_of_error(matchers, incident):
            return min(ends, now + _SILENCED_S), f"silenced by {who}: {comment}"
    for window in rules.silences:
        begin, end = window.begins_at, window.ends_at
        lasts = (begin is None or begin <= now) and (end is None or now < end)
        if lasts and matches(window.match, incident, now) is None:
            until = now + _SILENCED_S
            return until if end is None else min(until, end), f"silenced by the rules: {window.comment}"
    return None


def _root(connection: Connection, rules: AlertingConfig, incident: Incident, now: float) -> Incident | None:
    """The incident that explains this one: a live one, or the silence of a scheduler that has just come back."""
    if incident.kind == "overdue":  # only the scheduler begins runs; once it is back, a run that is not is notified
        silent = records.live_incidents(connection, kind="component")
        last = records.latest_incident(connection, "component:scheduler")
        just_over = last is not None and last.resolved_at is not None and now - last.resolved_at < _BACK_S
        return next((one for one in silent if one.subject == "scheduler"), last if just_over else None)
    if incident.kind == "stuck":
        notified = [one for one in records.live_incidents(connection, kind=incident.kind) if one.notified]
        silent = records.live_incidents(connection, kind="component")
        return silent[0] if silent and len(notified) >= _NAMED_MOST else None
    if incident.kind == "dag":
        broken = records.live_incidents(connection, kind="import")
        file = f"/{incident.evidence.get('file')}"
        return next((one for one in broken if f"/{one.subject}".endswith(file)), None)
    if incident.kind == "deadline":
        failure = _failure_before(connection, incident)
        return None if failure is not None and _is_for_others(rules, incident, failure, now) else failure
    return None


def _is_for_others(rules: AlertingConfig, late: Incident, failure: Incident, now: float) -> bool:
    """True if a product is somebody's who has not heard of the failure of one of its parts."""
    if "deadline.parts" not in late.evidence:
        return False
    heard = decide(rules, failure, now).channels
    return not set(decide(rules, late, now).channels) <= set(heard)


def _failure_before(connection: Connection, late: Incident) -> Incident | None:
    """The failure that people were notified of, and that a missed deadline only follows from."""
    if late.run_id:
        key = f"run:{late.dag_id}:{late.run_id}"
        found = [records.whole_incident(connection, records.latest_incident(connection, key))]
    elif late.dag_id:
        found = [*records.live_incidents(connection, dag_id=late.dag_id)]
    else:
        found = [one for one in records.live_incidents(connection) if one.dag_id in _behind(connection, late, one)]
    if not late.run_id:  # what begins nothing explains every run that has not begun
        found += [one for one in records.live_incidents(connection, kind="component") if one.subject in _BEGINS_RUNS]
    kinds = {*RUN_KINDS, "overdue", "import", "dag", "paused", "component"}
    return next((one for one in found if one and one.live and one.notified and one.kind in kinds), None)


def _behind(connection: Connection, late: Incident, one: Incident) -> set[str | None]:
    """The DAGs that an asset or a product waits for, of which ``one`` may be about one."""
    parts = [dict(part) for part in late.evidence.get("deadline.parts", ())]
    named = {one.dag_id for part in parts if part.get("dag") and fnmatchcase(str(one.dag_id), str(part["dag"]))}
    assets = late_assets(late.evidence)
    return {*named, *(dag for uri in assets for dag in records.dags_with(connection, "asset_of", uri))}
