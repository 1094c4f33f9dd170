"""Find what should have happened and has not: deadlines, freshness, what is usual.

Judged from the ledger alone, so that a restart of everything changes nothing. A deadline is declared in
``alerts.yaml`` or next to the DAG: as its param ``contrail_deadlines`` (a list of the same mappings, without
``dag``), or as a tag such as ``run_finishes_within=2h``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace as with_fields
from sqlalchemy import select

from observability.events import DeadlineApproached, DeadlineMissed, DeadlineRecovered, Identity
from observability.timestamps import iso, utc
from observability.watch.deadline_ends import words_of_airflow, words_of_day, words_of_end
from observability.watch.deadline_state import Look, Standing
from observability.watch.declared_deadlines import beside_dag
from observability.watch.facts import CERTAIN, Fact, late_assets, observed, seconds
from observability.watch.forecast import WARN_AT
from observability.watch.incidents import key_of
from observability.watch.known import LedgerKnown
from observability.watch.ledger import pending_events as pending
from observability.watch.ledger import records, schema
from observability.watch.outcomes import Outcomes
from observability.watch.pauses import Pauses
from observability.watch.standings import standings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy.engine import Connection

    from observability.watch.forecasts import Forecasts
    from observability.watch.incidents import Incident
    from observability.watch.rules.deadline import Deadline

__all__ = ["Deadlines", "Standing", "beside_dag", "recovered"]

_TO_TELL = {"near", "missed", "over"}
_FIRST_S, _OVERLAP_S = 3600.0, 60.0
"""The first look takes the outcomes of what ended in the last hour; a later one those since the look before."""


class Deadlines:
    """The deadlines in force; ``dags`` is what is known of each DAG (owner, tags, deadlines declared beside it).

    ``blind``: what other hosts tell is not known now, so that nothing is called late which only they can tell of.
    ``known``: Airflow has said which DAGs there are; a DAG that it runs not, on purpose, is neither late nor stale.
    """

    def __init__(  # noqa: PLR0913 - what is known of rules, DAGs and the past
        self,
        declared: Sequence[Deadline],
        dags: Mapping[str, Mapping[str, Any]],
        *,
        blind: bool = False,
        known: bool | None = None,
        forecasts: Forecasts | None = None,
        done: dict[tuple[str, ...], float] | None = None,
        outcomes: Outcomes | None = None,
        calendars: Mapping[str, frozenset[date]] | None = None,
    ) -> None:
        self._forecasts = None if blind else forecasts
        self._done = {} if done is None else done
        self._outcomes = outcomes or Outcomes()
        self._open: dict[str, Incident] = {}
        self._dags, self._are_known = dags, bool(dags) if known is None else known
        declared = [*declared, *(one for dag_id, about in dags.items() for one in beside_dag(dag_id, about, calendars))]
        self._names = {one.name for one in declared}
        self._all = [one for one in declared if not (blind and _is_told_by_events(one))]

    def check(self, connection: Connection, now: float) -> list[Fact]:
        """Facts about deadlines that come near, are missed, or have recovered."""
        facts: list[Fact] = []
        standing: set[str] = set()
        found = list(self.standings(connection, now))
        live = records.live_incidents(connection, kind="deadline")
        done = {one.key: kept for one in live if (one.notified or one.inhibited_by) and (kept := _kept(one, found))}
        facts += [recovered(one, words_of_day(one, *done[one.key]), now) for one in live if one.key in done]
        self._open = {one.key: one for one in live if one.key not in done}
        for deadline, one in found:
            newly_missed = self._outcomes.note(connection, deadline, one, now)
            if one.state not in _TO_TELL:
                continue
            fact = self._fact(deadline, one, now)
            if one.chance is not None and one.chance < WARN_AT and key_of(fact) not in self._open:
                continue
            open_one = self._open.get(key_of(fact))
            facts.append(_of_its_day(fact, open_one))
            if newly_missed and fact.event and open_one is not None and not _is_about(open_one, one.occasion):
                pending.add(connection, with_fields(fact.event, discriminator=one.occasion), now)
            if one.state != "over":
                standing.add(key_of(fact))
        self._outcomes.looked = now
        return [*facts, *self._recovered(connection, standing, set(done), now)]

    def standings(self, connection: Connection, now: float) -> Iterator[tuple[Deadline, Standing]]:
        """Each deadline with each of its states."""
        self._pauses = Pauses(connection, self._dags if self._are_known else None, now)
        known = sorted(self._dags) if self._are_known else _dag_ids(connection, self._dags)
        since = now - _FIRST_S if self._outcomes.looked is None else self._outcomes.looked - _OVERLAP_S
        look = Look(LedgerKnown(connection), now, since, self._pauses, known, self._forecasts, self._done)
        for deadline in self._all:
            for one in standings_of(look, deadline):
                yield deadline, one

    def _recovered(self, connection: Connection, standing: set[str], over: set[str], now: float) -> Iterator[Fact]:
        for one in records.live_incidents(connection, kind="overdue"):
            if one.dag_id and (why := self._pauses.starts_nothing(one.dag_id)):
                yield Fact(kind="overdue", status="resolved", time=now, dag_id=one.dag_id, reason=why)
        for one in records.live_incidents(connection, kind="deadline"):
            if one.key in standing or one.key in over or not (one.notified or one.inhibited_by):
                continue
            if why := self._end_of(connection, one):
                yield recovered(one, why, now)

    def _end_of(self, connection: Connection, one: Incident) -> str:
        """The reason why an incident is over that stands no longer; empty where it is not, or nobody here judges it."""
        idle = self._pauses.starts_nothing(one.dag_id) if one.dag_id else ""
        is_declared = one.evidence.get("deadline.declared")
        if not is_declared and (done := words_of_airflow(connection, one)):
            return done
        if is_declared and self._are_known and one.subject not in self._names:
            return "it is declared no longer"
        mine = [deadline for deadline in self._all if deadline.name == one.subject]
        if not mine and "no longer has" not in idle:
            return ""
        return idle or words_of_end(connection, one, mine[0])

    def _fact(self, deadline: Deadline, one: Standing, now: float) -> Fact:
        known = self._dags.get(one.dag_id or "", {})
        about = {name: known[name] for name in ("owner", "tags", "env") if known.get(name)}
        if deadline.owner:
            about["owner"] = deadline.owner
        identity = Identity(
            dag_id=one.dag_id,
            run_id=one.run_id,
            task_id=one.task_id,
            owner=about.get("owner"),
            tags=tuple(about["tags"]) if "tags" in about else None,
            partition_key=one.partition,
        )
        facts: dict[str, Any] = {
            "identity": identity,
            "deadline": deadline.name,
            "occasion": one.occasion or None,
            "reason": one.reason,
            "provider": "deadline",
        }
        evidence: dict[str, Any] = {"deadline.due": iso(one.due, "seconds"), "deadline.declared": True}
        if one.occasion:
            evidence["deadline.occasion"] = one.occasion
        if deadline.asset:
            evidence["deadline.asset"] = deadline.asset
        if deadline.parts:
            evidence["deadline.parts"] = [part.model_dump(exclude_none=True) for part in deadline.parts]
        facts["asset"] = late_assets(evidence) or None
        due = utc(one.due)
        if one.expected is not None:
            facts["expected"] = utc(one.expected)
            facts["chance"] = one.chance
        event = (
            DeadlineApproached(due=due, severity="warning", **facts)
            if one.state == "near"
            else DeadlineMissed(due=due, lateness_ns=_lateness_ns(one.due, now), severity=deadline.severity, **facts)
        )
        moment = min(now, one.due) if one.state != "near" else now
        return observed(event, time=moment, certainty=CERTAIN, evidence=evidence, about=about)


def _is_about(incident: Incident, occasion: str) -> bool:
    return incident.evidence.get("deadline.occasion") in {None, occasion}


def _of_its_day(fact: Fact, known: Incident | None) -> Fact:
    """The fact, where an incident about an earlier day is open: that stays about its own day."""
    kept = known.evidence if known is not None else {}
    same = {name: kept[name] for name in ("deadline.due", "deadline.occasion") if name in kept}
    return replace(fact, evidence={**fact.evidence, **same}) if same else fact


def _kept(incident: Incident, standings: Sequence[tuple[Deadline, Standing]]) -> tuple[Deadline, Standing] | None:
    """The day that an incident is about, or a later one, where it was done, whatever is late now.

    An incident begins within its day, or when that is due.
    """
    about = (incident.subject, incident.dag_id, incident.evidence.get("airflow.partition_key"))
    found = (
        (deadline, one) for deadline, one in standings
        if one.state == "kept" and deadline.clock is not None and one.due >= incident.first_seen
        and (deadline.name, one.dag_id, one.partition) == about
    )  # fmt: skip
    return next(found, None)


def recovered(one: Incident, why: str, now: float) -> Fact:
    """The fact that an incident about a deadline is over, and ``why``."""
    due = one.evidence.get("deadline.due")
    event = DeadlineRecovered(
        identity=Identity(
            dag_id=one.dag_id,
            run_id=one.run_id,
            task_id=one.task_id,
            owner=one.about.get("owner"),
            partition_key=one.evidence.get("airflow.partition_key"),
        ),
        deadline=one.subject,
        occasion=one.evidence.get("deadline.occasion"),
        reason=why,
        due=datetime.fromisoformat(due) if due else None,
        lateness_ns=_lateness_ns(seconds(due), now) if due else None,
        asset=late_assets(one.evidence) or None,
        provider="deadline",
    )
    return observed(event, time=now)


def _is_told_by_events(deadline: Deadline) -> bool:
    """True if only events say that it was kept: of runs Airflow's API tells as well."""
    of_tasks = (deadline.task_finishes_within, deadline.task_finishes_by)
    of_parts = any(part.asset is not None or part.task is not None for part in deadline.parts)
    return deadline.asset is not None or of_parts or any(one is not None for one in of_tasks)


def _lateness_ns(due: float, now: float) -> int:
    return int(max(0.0, now - due) * 1e9)


def _dag_ids(connection: Connection, dags: Mapping[str, Any]) -> list[str]:
    """Every DAG that is known to Airflow, or from the history."""
    table = schema.history
    seen = connection.execute(select(table.c.dag_id).where(table.c.dag_id != "").distinct()).scalars()
    return sorted({*dags, *seen})
