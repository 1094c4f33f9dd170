"""Find what should have happened and has not: deadlines, freshness, what is usual.

Judged from the ledger alone, so that a restart of everything changes nothing. A deadline is declared in
``alerts.yaml`` or next to the DAG: as its param ``contrail_deadlines`` (a list of the same mappings, without
``dag``), or as a tag such as ``run_finishes_within=2h``.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from observability.events import DeadlineApproached, DeadlineMissed, DeadlineRecovered, Identity
from observability.watch.deadline_state import Look, Standing, iso
from observability.watch.declared_deadlines import beside_dag
from observability.watch.due_by_clock import asset_by_clock, foreseen_at, runs_by_clock, starts_by_clock, tasks_by_clock
from observability.watch.due_within import (
    last_within,
    lasting_longer,
    lasting_shorter,
    partitions_within,
    rows_of,
    usual_of,
)
from observability.watch.facts import CERTAIN, Fact, late_assets, observed, seconds
from observability.watch.forecast import WARN_AT
from observability.watch.incidents import key_of
from observability.watch.ledger import records, schema
from observability.watch.outcomes import Outcomes
from observability.watch.pauses import Pauses
from observability.watch.products import product_by_clock

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
        self._open: set[str] = set()
        self._dags, self._are_known = dags, bool(dags) if known is None else known
        declared = [*declared, *(one for dag_id, about in dags.items() for one in beside_dag(dag_id, about, calendars))]
        self._names = {one.name for one in declared}
        self._all = [one for one in declared if not (blind and _is_told_by_events(one))]

    def check(self, connection: Connection, now: float) -> list[Fact]:
        """Facts about deadlines that come near, are missed, or have recovered."""
        facts: list[Fact] = []
        standing: set[str] = set()
        self._open = {one.key for one in records.live_incidents(connection, kind="deadline")}
        for deadline, one in self.standings(connection, now):
            self._outcomes.note(connection, deadline, one, now)
            if one.state not in _TO_TELL:
                continue
            fact = self._fact(deadline, one, now)
            if one.chance is not None and one.chance < WARN_AT and key_of(fact) not in self._open:
                continue
            facts.append(fact)
            if one.state != "over":
                standing.add(key_of(fact))
        self._outcomes.looked = now
        return [*facts, *self._recovered(connection, standing, now)]

    def standings(self, connection: Connection, now: float) -> Iterator[tuple[Deadline, Standing]]:
        """Each deadline with each of its states."""
        self._pauses = Pauses(connection, self._dags if self._are_known else None, now)
        known = sorted(self._dags) if self._are_known else _dag_ids(connection, self._dags)
        since = now - _FIRST_S if self._outcomes.looked is None else self._outcomes.looked - _OVERLAP_S
        look = Look(connection, now, since, self._pauses, known, self._forecasts, self._done)
        for deadline in self._all:
            for one in self._standings(look, deadline):
                yield deadline, one

    def _recovered(self, connection: Connection, standing: set[str], now: float) -> Iterator[Fact]:
        judged = {deadline.name for deadline in self._all}
        for one in records.live_incidents(connection, kind="overdue"):
            if one.dag_id and (why := self._pauses.starts_nothing(one.dag_id)):
                yield Fact(kind="overdue", status="resolved", time=now, dag_id=one.dag_id, reason=why)
        for one in records.live_incidents(connection, kind="deadline"):
            if one.key in standing or not (one.notified or one.inhibited_by):
                continue
            idle = self._pauses.starts_nothing(one.dag_id) if one.dag_id else ""
            why = idle or "what was late has happened"
            if not one.evidence.get("deadline.declared") and (done := _done(connection, one)):
                why = done
            elif self._are_known and one.subject not in self._names and one.evidence.get("deadline.declared"):
                why = "it is declared no longer"
            elif one.subject not in judged and "no longer has" not in idle:
                continue
            yield recovered(one, why, now)

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
        told: dict[str, Any] = {
            "identity": identity,
            "deadline": deadline.name,
            "occasion": one.occasion or None,
            "reason": one.reason,
            "provider": "deadline",
        }
        evidence: dict[str, Any] = {"deadline.due": iso(one.due), "deadline.declared": True}
        if one.occasion:
            evidence["deadline.occasion"] = one.occasion
        if deadline.asset:
            evidence["deadline.asset"] = deadline.asset
        if deadline.parts:
            evidence["deadline.parts"] = [part.model_dump(exclude_none=True) for part in deadline.parts]
        told["asset"] = late_assets(evidence) or None
        due = datetime.fromtimestamp(one.due, timezone.utc)
        if one.expected is not None:
            told["expected"] = datetime.fromtimestamp(one.expected, timezone.utc)
            told["chance"] = one.chance
        event = (
            DeadlineApproached(due=due, severity="warning", **told)
            if one.state == "near"
            else DeadlineMissed(due=due, lateness_ns=_lateness_ns(one.due, now), severity=deadline.severity, **told)
        )
        moment = min(now, one.due) if one.state != "near" else now
        return observed(event, time=moment, certainty=CERTAIN, evidence=evidence, about=about)

    def _standings(self, look: Look, deadline: Deadline) -> Iterator[Standing]:
        if deadline.asset is not None:
            if not self._nobody_updates(look.connection, deadline.asset):
                yield from _of_asset(look, deadline)
            return
        if deadline.parts:
            yield from product_by_clock(look, deadline)
            return
        starts = deadline.clock is not None or deadline.success_within is not None
        for dag_id in [dag_id for dag_id in look.known if fnmatchcase(dag_id, deadline.dag)]:
            if not (self._pauses.starts_nothing(dag_id) if starts else self._pauses.stands_still(dag_id)):
                yield from self._of_dag(look, deadline, dag_id)

    def _of_dag(self, look: Look, deadline: Deadline, dag_id: str) -> Iterator[Standing]:
        connection, now = look.connection, look.now
        if deadline.run_finishes_within is not None:
            limit = deadline.run_finishes_within
            late = lasting_longer(connection, deadline, dag_id, now, "started", "ended", limit)
            late = self._without_pauses(late, limit, deadline, now)
            yield from self._with_forecasts(look, deadline, dag_id, late)
            yield from self._in_time(look, deadline, dag_id, "started", "ended", limit)
        elif deadline.task_finishes_within is not None:
            limit = deadline.task_finishes_within
            yield from lasting_longer(connection, deadline, dag_id, now, "task_started", "task_ended", limit)
            yield from self._in_time(look, deadline, dag_id, "task_started", "task_ended", limit)
        elif deadline.slower_than_usual is not None:
            begun = records.last_time(connection, "started", dag_id) or now
            usual = usual_of(connection, deadline, deadline.slower_than_usual, ("duration", dag_id, ""), begun)
            if usual is not None:
                limit = usual.high
                late = lasting_longer(connection, deadline, dag_id, now, "started", "ended", limit, "than usual ")
                yield from self._without_pauses(late, limit, deadline, now)
        elif deadline.starts_by is not None:
            yield from starts_by_clock(look, deadline, dag_id)
        elif deadline.run_finishes_by is not None:
            yield from runs_by_clock(look, deadline, dag_id)
        elif deadline.task_finishes_by is not None:
            yield from tasks_by_clock(look, deadline, dag_id)
        elif deadline.success_within is not None:
            last = records.last_time(connection, "success", dag_id, current=True)
            within = deadline.success_within
            yield from last_within(connection, deadline, dag_id, last, within, now, "no successful run", self._pauses)
        else:
            yield from rows_of(connection, deadline, dag_id, now)

    def _in_time(  # noqa: PLR0913, PLR0917 - one rule for runs and tasks
        self, look: Look, deadline: Deadline, dag_id: str, begun: str, ended: str, limit: float
    ) -> Iterator[Standing]:
        """Judge what is under way and not late, and what has ended in time since the last look."""
        for one in lasting_shorter(look, deadline, dag_id, begun, ended, limit):
            last = one.ended if one.ended is not None else look.now
            free = self._pauses.within(dag_id, one.due - limit, last, draining=False) if begun == "started" else 0.0
            if last < one.due + free:
                yield replace(one, due=one.due + free)

    def _without_pauses(
        self, standings: Iterator[Standing], limit: float, deadline: Deadline, now: float
    ) -> Iterator[Standing]:
        """The same, where a run is allowed the time in which its DAG was paused as well."""
        for one in standings:
            begun = one.due - limit
            last = one.ended if one.ended is not None else now
            due = one.due + self._pauses.within(str(one.dag_id), begun, last, draining=False)
            if last >= due:
                yield replace(one, due=due)
            elif one.ended is None and deadline.warn < 1 and now >= due - limit * (1 - deadline.warn):
                yield replace(one, state="near", due=due)

    def _with_forecasts(
        self, look: Look, deadline: Deadline, dag_id: str, standings: Iterator[Standing]
    ) -> Iterator[Standing]:
        """The standings of runs, where one whose end is foreseen is warned of by its forecast, not by the clock."""
        if "warn" in deadline.model_fields_set:
            yield from standings
            return
        foreseen = {one.run.run_id: one for one in look.foreseen(dag_id)}
        for one in standings:
            if one.state != "near" or one.run_id not in foreseen:
                yield one
        for run_id, live in foreseen.items():
            due = live.run.begun + float(deadline.run_finishes_within or 0)
            due += self._pauses.within(dag_id, live.run.begun, look.now, draining=False)
            if look.now < due:
                yield foreseen_at(deadline, live, Standing("upcoming", dag_id, due, "", run_id, occasion=run_id))

    def _nobody_updates(self, connection: Connection, asset: str) -> bool:
        """True if every DAG that is known to have updated an asset is paused, draining or gone."""
        producers = records.dags_with(connection, "asset_of", asset)
        return bool(producers) and all(self._pauses.starts_nothing(dag_id) for dag_id in producers)


def _of_asset(look: Look, deadline: Deadline) -> Iterator[Standing]:
    if deadline.fresh_by is not None:
        yield from asset_by_clock(look, deadline)
        return
    within = float(deadline.fresh_within or 0)
    if deadline.partition is not None:
        yield from partitions_within(look, deadline, within)
        return
    last = records.last_time(look.connection, "asset", "", str(deadline.asset))
    what = f"{deadline.asset} has not been updated"
    yield from last_within(look.connection, deadline, None, last, within, look.now, what)


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


def _done(connection: Connection, one: Incident) -> str:
    """The success that ends a missed deadline of Airflow's own (a ``DeadlineAlert``), in words; empty without one.

    Airflow reports that a deadline was missed and never that its run is done.
    """
    if not (one.dag_id and one.run_id):
        return ""
    due = seconds(one.evidence["deadline.due"]) if "deadline.due" in one.evidence else one.first_seen
    success = records.first_time(connection, "success", one.dag_id, one.run_id)
    if success is not None and success >= due:
        return f"run {one.run_id} succeeded"
    ended = records.first_time(connection, "ended", one.dag_id, one.run_id)
    later = records.last_time(connection, "success", one.dag_id, current=True)
    if ended is not None and later is not None and later > max(due, ended):
        return f"run {one.run_id} has ended, and a later run succeeded"
    return ""


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
