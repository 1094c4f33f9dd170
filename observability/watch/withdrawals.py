"""Runs that are open in the ledger, and the effect of a person's deed on their incidents.

A failure that a person set to another state, cleared or deleted is no longer what people were told; the incident ends,
or waits for the new attempt, with words that say who did it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from observability import catalog
from observability.watch.grouping import RUN_KINDS, failed_members, forgotten, task_recovered
from observability.watch.ledger import records, schema
from observability.watch.sources.user_actions import OpenRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.engine import Connection

    from observability.watch.facts import Fact
    from observability.watch.incidents import Incident, Policy

__all__ = ["cleared", "cleared_run", "open_runs", "withdrawn"]

_OPEN_S = 30 * 86_400.0
_MOST = 5000
_SPANS = {"started": "ended", "task_started": "task_ended"}


def open_runs(connection: Connection, now: float) -> list[OpenRun]:
    """The runs that are broken, late or under way as far as is known, newest first, and the DAGs that are gone."""
    found: dict[tuple[str, str], OpenRun] = {}
    for one in records.live_incidents(connection):
        if one.kind == "dag":
            found[str(one.dag_id), ""] = OpenRun(str(one.dag_id))
        for run_id in {*one.runs, *([one.run_id] if one.run_id else ())}:
            members = failed_members(one, run_id) if one.kind in RUN_KINDS else ()
            known = found.get((str(one.dag_id), run_id), OpenRun(str(one.dag_id), run_id))
            tries = max(known.tries, one.runs.get(run_id, {}).get("try") or 0)
            found[known.dag_id, run_id] = replace(known, members=(*known.members, *members), tries=tries)
    for dag_id, run_id in _under_way(connection, now):
        found.setdefault((dag_id, run_id), OpenRun(dag_id, run_id))
    return list(found.values())


def withdrawn(connection: Connection, fact: Fact, now: float) -> Iterator[tuple[Incident, bool]]:
    """The incidents that ``fact`` changes, and whether each is over."""
    if fact.kind == "dag":
        yield from ((one, True) for one in _live(connection, fact) if one.kind == "dag")
        return
    if fact.kind == "run":
        _close_spans(connection, fact, now)
    for one in _live(connection, fact):
        if fact.kind == "run" and one.run_id == fact.run_id and not _outlives_its_run(one):
            yield one, True
        elif one.kind in RUN_KINDS and (changed := _without(one, fact)) is not None:
            yield changed, not changed.runs


def _outlives_its_run(one: Incident) -> bool:
    """True where a run only says whom it concerns (a silent component), or other runs may be broken as well."""
    kind = catalog.INCIDENT_KINDS.get(one.kind)
    return one.kind in RUN_KINDS or (kind is not None and kind.by_subject)


def cleared(connection: Connection, fact: Fact, now: float, policy: Policy) -> Iterator[Incident]:
    """The incidents of a failure that was cleared: whoever did so knows of it, so that they wait for the outcome."""
    for one in _live(connection, fact):
        changed = cleared_run(one, str(fact.run_id), fact.reason, now, policy)
        if changed is not one:
            yield changed


def cleared_run(one: Incident, run_id: str, deed: str, now: float, policy: Policy) -> Incident:
    """The incident after a person cleared its run; the same one where that says nothing new of it."""
    mark = one.runs.get(run_id)
    if not one.notified or mark is None or mark.get("cleared") or one.run_id != run_id:
        return one
    runs = {**one.runs, run_id: {**mark, "cleared": deed}}
    good_at = None if one.good_at is None else now  # nothing else is waited for
    remind_at, inhibited_by = now + policy.remind_every_s, f"{deed}, and is not done"
    return replace(one, runs=runs, inhibited_by=inhibited_by, remind_at=remind_at, good_at=good_at)


def _live(connection: Connection, fact: Fact) -> list[Incident]:
    return records.live_incidents(connection, dag_id=fact.dag_id)


def _without(one: Incident, fact: Fact) -> Incident | None:
    """The incident without what was withdrawn; None: it was not about that."""
    run_id = str(fact.run_id)
    if fact.kind == "run":
        about = run_id in one.runs or one.run_id == run_id
        return forgotten(one, run_id) if about else None
    member = fact.member
    if member not in failed_members(one, run_id):
        return None
    left = task_recovered(one, fact)
    if one.run_id == run_id:
        left = replace(left, failed_tasks=tuple(name for name in one.failed_tasks if name != member))
    return left if failed_members(left, run_id) else forgotten(left, run_id)


def _under_way(connection: Connection, now: float) -> list[tuple[str, str]]:
    """(DAG, run) of what began and has not ended."""
    found: dict[tuple[str, str], None] = {}
    for begun, ended in _SPANS.items():
        for dag_id, _, occasion, _ in _open_spans(connection, begun, ended, now):
            found[dag_id, occasion.partition("\x1f")[0]] = None
    return list(found)


def _open_spans(connection: Connection, begun: str, ended: str, now: float) -> list[tuple[str, str, str, float]]:
    """(DAG, subject, occasion, beginning), newest first."""
    first, second = schema.history.alias(), schema.history.alias()
    over = select(second.c.id).where(
        second.c.measure == ended, second.c.dag_id == first.c.dag_id,
        second.c.subject == first.c.subject, second.c.occasion == first.c.occasion,
    )  # fmt: skip
    asked = select(first.c.dag_id, first.c.subject, first.c.occasion, first.c.time).where(
        first.c.measure == begun, first.c.time > now - _OPEN_S, ~over.exists()
    )
    rows = connection.execute(asked.order_by(first.c.time.desc()).limit(_MOST))
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def _close_spans(connection: Connection, fact: Fact, now: float) -> None:
    """A run that there is no longer has ended, and its tasks with it: no deadline waits for them."""
    for begun, ended in _SPANS.items():
        for dag_id, subject, occasion, _ in _open_spans(connection, begun, ended, now):
            if dag_id == fact.dag_id and occasion.partition("\x1f")[0] == fact.run_id:
                records.record(connection, ended, dag_id, subject, occasion, now, now)
