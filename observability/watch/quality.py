"""The quality of the alerts themselves: which rules are worth waking somebody, and what would make them so.

Everything is read from the ledger: incidents, the messages about them, what people did and how they marked them. A
proposal is replayed on the same incidents before it is made, and says what it would have spared and delayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from observability.catalog import CAUSE_LABELS
from observability.durations import lasting
from observability.watch.ledger import records, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["Case", "Proposal", "Quality", "quality", "replay_wait", "rule_of"]

_MOST = 20_000
_WAITS_S = (300.0, 600.0, 1800.0, 3600.0)
_ENOUGH = 5
"""Incidents below which nothing is proposed: too few say nothing."""
_HEALED, _SPARED, _NOISE = 0.5, 0.5, 0.5
_BY_HAND = ("acknowledge", "resolve", "rerun", "assign", "silence")
_NO_MESSAGE = ("suppressed", "held")


@dataclass(frozen=True, slots=True)
class Case:
    """One incident as it went: messages that were sent, how long until a person took it and until it was over.

    ``healed``: it ended and no person had done anything about it.
    """

    messages: int
    lasted_s: float | None
    taken_s: float | None
    healed: bool
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of the rules, in words and as a route of ``alerts.yaml``, and its effect on the same incidents."""

    words: str
    rules: str
    spared: int
    later: int
    later_s: float = 0.0


@dataclass(slots=True)
class Quality:
    """An owner's incidents of one rule."""

    owner: str
    rule: str
    cases: list[Case] = field(default_factory=list)
    match: str = ""
    proposal: Proposal | None = None

    @property
    def messages(self) -> int:
        """Messages that people got."""
        return sum(case.messages for case in self.cases)

    def marked(self, verdict: str) -> int:
        """Incidents that people marked so."""
        return sum(case.verdict == verdict for case in self.cases)

    @property
    def tried(self) -> str:
        """The effect of the proposal on the same incidents, in words; "" without one."""
        if self.proposal is None:
            return ""
        spared = f"{self.proposal.spared} of {self.messages} messages less"
        if not self.proposal.later_s:
            return spared
        return f"{spared}, and {self.proposal.later} incidents notified {lasting(self.proposal.later_s)} later"

    @property
    def healed(self) -> int:
        """Incidents that ended without anybody."""
        return sum(case.healed for case in self.cases)

    @property
    def acknowledged_s(self) -> float | None:
        """Median time until a person took one."""
        return _median([case.taken_s for case in self.cases])

    @property
    def repaired_s(self) -> float | None:
        """Median time until one was over that did not heal by itself."""
        return _median([case.lasted_s for case in self.cases if not case.healed])


def quality(connection: Connection, since: float, sees: Callable[[Incident], bool] = lambda _: True) -> list[Quality]:
    """Each owner and rule of the incidents that were notified since then, those with most messages first.

    Only incidents count that the reader ``sees``.
    """
    notified = _messages(connection, since)
    handled = _handled(connection, since)
    found: dict[tuple[str, str], Quality] = {}
    for one in records.incidents(connection, since=since, limit=_MOST):
        if not notified.get(one.id) or not sees(one):
            continue
        owner, rule = str(one.about.get("owner") or "nobody"), rule_of(one)
        group = found.setdefault((owner, rule), Quality(owner, rule, match=_match_of(one, owner)))
        group.cases.append(_case(one, notified[one.id], by_hand=one.id in handled))
    for group in found.values():
        group.proposal = _proposal(group)
    return sorted(found.values(), key=lambda group: (-group.messages, group.owner, group.rule))


def rule_of(one: Incident) -> str:
    """The rule by which an incident was opened: a deadline by its name, a failure by its cause."""
    if one.kind == "deadline":
        return f"deadline {one.subject}"
    return CAUSE_LABELS.get(one.cause, one.cause) if one.kind in {"task", "run"} else one.kind


def replay_wait(cases: list[Case], wait_s: float) -> tuple[int, int]:
    """Messages that would not have been sent with this wait, and incidents of which people would have heard later."""
    over = [case for case in cases if case.lasted_s is not None and case.lasted_s <= wait_s]
    return sum(case.messages for case in over), len(cases) - len(over)


def _proposal(group: Quality) -> Proposal | None:
    """The change that spares most, tried on these incidents; None where none is worth it."""
    if len(group.cases) < _ENOUGH:
        return None
    if group.marked("noise") >= _NOISE * len(group.cases) and not group.marked("useful"):
        words = f"{group.marked('noise')} of {len(group.cases)} were marked as noise: send them as info?"
        return Proposal(words, f"{{match: {{{group.match}}}, severity: info}}", group.messages, 0)
    if group.healed < _HEALED * len(group.cases):
        return None
    for wait_s in _WAITS_S:
        spared, later = replay_wait(group.cases, wait_s)
        by_hand_gone = any(not case.healed and (case.lasted_s or wait_s + 1) <= wait_s for case in group.cases)
        if spared >= _SPARED * group.messages and not by_hand_gone:
            healed = sum(case.healed and (case.lasted_s or 0) <= wait_s for case in group.cases)
            span = lasting(wait_s)
            words = f"{healed} of {len(group.cases)} were over within {span} by themselves: wait {span}?"
            rules = f"{{match: {{{group.match}}}, wait: {wait_s / 60:.0f}m}}"
            return Proposal(words, rules, spared, later, wait_s)
    return None


def _case(one: Incident, messages: int, *, by_hand: bool) -> Case:
    lasted = one.resolved_at - one.first_seen if one.resolved_at is not None else None
    taken = one.acknowledged_at - one.first_seen if one.acknowledged_at is not None else None
    healed = lasted is not None and not by_hand and one.acknowledged_at is None
    return Case(messages, lasted, taken, healed, str(one.about.get("verdict") or ""))


def _match_of(one: Incident, owner: str) -> str:
    parts = [f'owner: "{owner}"'] if owner != "nobody" else []
    parts += [f"kind: {one.kind}"] if one.kind not in {"task", "run"} else [f"cause: {one.cause}"]
    return ", ".join(parts)


def _messages(connection: Connection, since: float) -> dict[str, int]:
    table = schema.outbox
    asked = select(table.c.incident_id, func.count()).where(
        table.c.created >= since, table.c.incident_id.is_not(None), table.c.state.not_in(_NO_MESSAGE),
        table.c.kind != "resolved",
    )  # fmt: skip
    return {str(name): number for name, number in connection.execute(asked.group_by(table.c.incident_id))}


def _handled(connection: Connection, since: float) -> set[str]:
    table = schema.acts
    asked = select(table.c.incident_id).where(table.c.time >= since, table.c.act.in_(_BY_HAND)).distinct()
    return set(connection.execute(asked).scalars())


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
