"""The life of an incident, as pure functions of (incident, fact, time); nothing here reads a clock or a disk.

An incident is one thing that is wrong: a run that fails, a file that does not parse, a silent component.
Everything that fails in one run is one incident; its first failed task is the root. A first failure
notifies, after a short wait that gathers what fails with it; repeats only count.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from observability.causes import normalise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.watch.facts import Fact

__all__ = [
    "Incident",
    "Kind",
    "Notice",
    "Policy",
    "State",
    "acknowledge",
    "dismiss",
    "elapse",
    "ended",
    "escalates",
    "key_of",
    "noted",
    "observe",
    "postpone",
    "recover",
    "refine",
    "reopen",
    "resolve",
    "unacknowledge",
]

State: TypeAlias = Literal["suspected", "open", "acknowledged", "resolved", "dismissed", "merged"]
Kind: TypeAlias = Literal["opened", "update", "reminder", "escalated", "resolved", "early_warning", "test", "digest"]

_RANK = ("info", "warning", "error", "critical")
_MOST_MEMBERS = 1000
_NOT_REMINDED = {"dag"}
"""Kinds that are notified once: a DAG that is gone stays gone, and may well be meant to be."""
_MOST_NAMES = 5
"""Errors that an incident remembers besides its own."""
_GROWN_LEAST, _GROWN_TIMES = 3, 2
"""An incident has grown when so many tasks failed, and so many times as many as people were notified of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Waits, in seconds; ``escalate_after`` has one for each further receiver."""

    group_wait_s: float = 0.3
    evidence_wait_s: float = 2.0
    fold_wait_s: float = 3.0
    suspect_wait_s: float = 60.0
    remind_every_s: float = 4 * 3600.0
    remind_acknowledged_s: float = 48 * 3600.0
    settle_s: float = 120.0
    escalate_after: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One thing that is wrong. ``notify_at`` is None once people were notified; times are seconds since 1970.

    ``runs`` has a mark for each run that is still broken (:mod:`.grouping`), ``run_count`` counts all
    that failed so, ``last_run`` is the last of them, and ``merged_into`` the incident that it became a part of.
    ``notified_tasks`` is how many failed tasks people were notified of, ``settles_at`` when more of them are counted.
    ``known_as`` has the errors that it was notified, or held back, by before another source said more of the failure.
    ``success`` is the mark of a run that makes some of ``runs`` good from ``good_at`` on.
    """

    id: str
    key: str
    state: State
    kind: str
    severity: str
    cause: str
    reason: str
    certainty: int
    first_seen: float
    last_seen: float
    count: int = 0
    notify_at: float | None = None
    notified: str = ""
    notified_at: float | None = None
    remind_at: float | None = None
    level: int = 0
    acknowledged_at: float | None = None
    acknowledged_by: str | None = None
    resolved_at: float | None = None
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    iteration: str | None = None
    region_id: str | None = None
    subject: str = ""
    early: bool = False
    inhibited_by: str = ""
    unconfirmed: tuple[str, ...] = ()
    failed_tasks: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    runs: Mapping[str, Any] = field(default_factory=dict)
    run_count: int = 0
    last_run: str | None = None
    merged_into: str = ""
    notified_tasks: int = 0
    settles_at: float | None = None
    known_as: tuple[str, ...] = ()
    success: Mapping[str, Any] = field(default_factory=dict)
    good_at: float | None = None

    @property
    def error(self) -> str:
        """The key of a way to fail: the task, the cause, and the error without what differs each time."""
        said = self.evidence.get("error.fingerprint") or normalise(self.reason)
        return "\x1f".join((str(self.task_id), self.cause, str(said)))

    @property
    def errors(self) -> tuple[str, ...]:
        """Every key by which the next failure of this kind may be known, the present one first."""
        return self.error, *self.known_as

    @property
    def live(self) -> bool:
        """Neither resolved nor dismissed, nor a part of another."""
        return self.state not in {"resolved", "dismissed", "merged"}

    @property
    def due(self) -> float | None:
        """The time at which it next changes by itself."""
        waits = (self.notify_at, self.remind_at, self.settles_at, self.good_at)
        moments = [moment for moment in waits if moment is not None]
        return min(moments) if moments and self.live else None

    def as_json(self) -> dict[str, Any]:
        """The incident as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Incident:
        """The incident that :meth:`as_json` made the values from."""
        tuples = {name: tuple(values.get(name, ())) for name in ("unconfirmed", "failed_tasks", "known_as")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a person should know; ``level`` is the step of the escalation.

    ``with_others``: it belongs into one message with the reminders of other incidents.
    """

    kind: Kind
    incident: Incident
    level: int = 0
    with_others: bool = False


def key_of(fact: Fact) -> str:
    """The key of a fact: facts with equal keys belong to one incident."""
    if fact.kind in {"task", "run", "stuck"}:
        return f"run:{fact.dag_id}:{fact.run_id}"
    if fact.kind == "deadline":
        partition = fact.evidence.get("airflow.partition_key")
        key = f"deadline:{fact.subject}:{fact.dag_id or ''}:{fact.run_id or ''}"
        return key if partition is None or fact.run_id else f"{key}:{partition}"
    about = (fact.kind, None if fact.kind in {"component", "import"} else fact.dag_id, fact.subject)
    return ":".join(part for part in about if part)


def observe(incident: Incident | None, fact: Fact, now: float, policy: Policy) -> tuple[Incident, list[Notice]]:
    """Apply a new failure, warning or suspicion to the incident with its key (the live one, or the last)."""
    if incident is None or not incident.live:
        return _opened(incident, fact, now, policy), []
    again = _tried_again(incident, fact)
    changed = replace(
        incident,
        count=incident.count + _is_another(incident, fact),
        last_seen=max(incident.last_seen, fact.time),
        severity=max(incident.severity, fact.severity, key=_RANK.index),
        failed_tasks=_with_member(incident.failed_tasks, fact),
    )
    if incident.notified == "opened" and len(changed.failed_tasks) > len(incident.failed_tasks):
        changed = replace(changed, settles_at=now + policy.settle_s)
    if fact.status == "suspected":
        return replace(changed, unconfirmed=(*changed.unconfirmed, fact.key)), []
    changed = _confirmed(changed, fact, now, policy)
    worse = incident.state == "acknowledged" and changed.severity != incident.severity
    if again or worse or (incident.early and not changed.early and incident.notified):
        return replace(_rooted(changed, fact), notify_at=now + policy.group_wait_s), []
    return changed, []


def _is_another(incident: Incident, fact: Fact) -> bool:
    """A run and its task are one failure, and what was warned of or suspected is the one that comes true."""
    expected = incident.early or fact.key in incident.unconfirmed
    return (fact.kind == "run") == (incident.kind == "run") and not expected


def _opened(last: Incident | None, fact: Fact, now: float, policy: Policy) -> Incident:
    key = key_of(fact)
    suspected = fact.status == "suspected"
    fresh = Incident(
        id=_incident_id(key, fact.time, last),
        key=key,
        state="suspected" if suspected else "open",
        kind=fact.kind,
        severity=fact.severity,
        cause=fact.cause,
        reason=fact.reason,
        certainty=fact.certainty,
        first_seen=fact.time,
        last_seen=fact.time,
        count=1,
        notify_at=now + _wait(fact, policy),
        early=fact.status == "warned",
        unconfirmed=(fact.key,) if suspected else (),
    )
    return replace(_rooted(fresh, fact), failed_tasks=_with_member((), fact))


def _wait(fact: Fact, policy: Policy) -> float:
    if fact.status == "suspected":
        return policy.suspect_wait_s
    if fact.kind == "run":
        return policy.suspect_wait_s if fact.cause == "upstream" else policy.fold_wait_s
    return policy.group_wait_s if fact.certainty or fact.kind != "task" else policy.evidence_wait_s


def _rooted(incident: Incident, fact: Fact) -> Incident:
    """The incident with ``fact`` as what it is about."""
    return replace(
        incident,
        kind=fact.kind,
        cause=fact.cause,
        reason=fact.reason,
        certainty=fact.certainty,
        dag_id=fact.dag_id,
        run_id=fact.run_id,
        task_id=fact.task_id,
        map_index=fact.map_index,
        try_number=fact.try_number,
        iteration=fact.iteration,
        region_id=fact.region_id,
        subject=fact.subject,
        evidence=dict(fact.evidence),
        about={**incident.about, **fact.about},
    )


def _confirmed(incident: Incident, fact: Fact, now: float, policy: Policy) -> Incident:
    """The incident after a final fact: no longer a suspicion, and a task is a better root than its run."""
    changed = replace(incident, unconfirmed=tuple(key for key in incident.unconfirmed if key != fact.key))
    soon = now + _wait(fact, policy)
    if incident.state == "suspected":
        changed = replace(_rooted(changed, fact), state="open", notify_at=min(soon, incident.notify_at or soon))
    elif incident.kind == "stuck" and fact.kind in {"task", "run"}:
        changed = _rooted(changed, fact)
        if not (incident.notified and fact.cause == "stuck_queued"):  # people were notified that it failed for waiting
            changed = replace(
                changed, state="open", notified="", notify_at=soon, inhibited_by="", remind_at=None, level=0
            )
    elif incident.kind == "run" and fact.kind == "task":
        changed = _rooted(changed, fact)
        if incident.notify_at is not None:
            changed = replace(changed, notify_at=min(soon, incident.notify_at))
    elif fact.key in incident.unconfirmed and incident.notify_at is not None:
        changed = replace(changed, notify_at=min(soon, incident.notify_at))
    if incident.early and fact.status == "firing":
        changed = replace(_rooted(changed, fact), early=False)
    return changed


def _tried_again(incident: Incident, fact: Fact) -> bool:
    """A task, or a run without one, that people were notified of has been run again, and failed again."""
    if fact.kind == incident.kind == "run":
        return incident.notified == "opened"
    same = (fact.task_id, fact.map_index) == (incident.task_id, incident.map_index)
    before = incident.try_number
    if fact.run_id != incident.run_id:
        before = incident.runs.get(str(fact.run_id), {}).get("try") or fact.try_number
    higher = (fact.try_number or 0) > (before or 0)
    return fact.kind == "task" and fact.status == "firing" and same and higher and incident.notified == "opened"


def refine(incident: Incident, fact: Fact, now: float, policy: Policy) -> Incident:
    """The incident after another source's word on a fact that it knows: a surer cause, more evidence."""
    changed = incident
    if fact.status == "firing" and (incident.state == "suspected" or fact.key in incident.unconfirmed):
        changed = _confirmed(incident, fact, now, policy)
    mine = (changed.task_id, changed.map_index, changed.kind, changed.run_id)
    if (fact.task_id, fact.map_index, fact.kind, fact.run_id) != mine:
        return changed
    evidence = (
        {**fact.evidence, **changed.evidence}
        if fact.certainty < changed.certainty
        else {**changed.evidence, **fact.evidence}
    )
    about, region = {**fact.about, **changed.about}, changed.region_id or fact.region_id
    changed = replace(changed, evidence=evidence, about=about, region_id=region)
    if fact.certainty > changed.certainty:
        changed = replace(changed, cause=fact.cause, reason=fact.reason, certainty=fact.certainty)
        if changed.state == "open" and changed.notify_at is not None:
            changed = replace(changed, notify_at=min(changed.notify_at, now + policy.group_wait_s))
    return _renamed(changed, incident)


def _renamed(incident: Incident, before: Incident) -> Incident:
    """The incident with the error that it was notified, or held back, by: the next is first known by that again."""
    if not (before.notified or before.inhibited_by) or incident.error in before.errors:
        return incident
    return replace(incident, known_as=before.errors[:_MOST_NAMES])


def ended(incident: Incident, run: Fact, now: float, policy: Policy) -> Incident:
    """The incident after its run has failed: what was suspected of it until then must have been final.

    It stays among the unconfirmed: Airflow's own word, which is asked for, need not be waited for, but ends the wait.
    """
    if incident.state != "suspected":  # nothing more can fail in it, so that the count is known
        return incident if incident.settles_at is None else replace(incident, settles_at=now + policy.evidence_wait_s)
    about = {**run.about, **incident.about}
    return replace(incident, state="open", about=about, notify_at=now + policy.evidence_wait_s)


def dismiss(incident: Incident, fact: Fact) -> Incident:
    """The incident after a suspicion proved wrong; without another it is dismissed, and nobody was notified."""
    left = tuple(key for key in incident.unconfirmed if key != fact.key)
    if incident.state == "suspected" and not left:
        return replace(incident, state="dismissed", unconfirmed=(), notify_at=None, remind_at=None)
    return replace(incident, unconfirmed=left)


def recover(incident: Incident, fact: Fact, now: float) -> tuple[Incident, list[Notice]]:
    """Apply a success to a live incident that it is about."""
    if fact.kind == "task":
        left = tuple(member for member in incident.failed_tasks if member != fact.member)
        return replace(incident, failed_tasks=left), []
    if fact.kind == "stuck" and incident.kind != "stuck":
        return incident, []
    if fact.kind == "run" and fact.run_id == incident.run_id and incident.failed_tasks:
        return incident, []  # the run went on past the failure; that is no repair
    return resolve(incident, now, fact.reason)


def resolve(incident: Incident, now: float, why: str = "") -> tuple[Incident, list[Notice]]:
    """The incident is over; who was notified of it is notified again, with ``why``."""
    if not incident.live:
        return incident, []
    over = replace(incident, state="resolved", resolved_at=now, notify_at=None, remind_at=None, settles_at=None)
    over = replace(over, success={}, good_at=None)
    over = replace(over, evidence={**over.evidence, "resolved_by": why}) if why else over
    return over, [Notice("resolved", over)] if incident.notified else []


def acknowledge(incident: Incident, who: str, now: float, policy: Policy) -> Incident:
    """Somebody has taken it: no escalation from here, and reminders only now and then, so that it is not forgotten."""
    if incident.state != "open":
        return incident
    again = None if incident.kind in _NOT_REMINDED else now + policy.remind_acknowledged_s
    return replace(incident, state="acknowledged", acknowledged_at=now, acknowledged_by=who, remind_at=again)


def unacknowledge(incident: Incident, now: float, policy: Policy) -> Incident:
    """Nobody has it any more: reminders and escalation go on where they were."""
    free = replace(incident, state="open", acknowledged_at=None, acknowledged_by=None)
    return replace(free, remind_at=_next_reminder(free, now, policy))


def reopen(incident: Incident, now: float, policy: Policy) -> Incident:
    """It is not over after all."""
    evidence = {name: value for name, value in incident.evidence.items() if name != "resolved_by"}
    live = replace(
        incident, state="open", resolved_at=None, evidence=evidence, acknowledged_at=None, acknowledged_by=None
    )
    if not live.notified:  # nobody has heard of it yet
        return replace(live, notify_at=now + policy.group_wait_s)
    return replace(live, remind_at=_next_reminder(live, now, policy))


def noted(incident: Incident, **about: str) -> Incident:
    """The incident with what a person noted about it; an empty text takes a note away."""
    kept = {name: value for name, value in {**incident.about, **about}.items() if name not in about or value}
    return replace(incident, about=kept)


def postpone(incident: Incident, until: float, why: str) -> Incident:
    """Nobody is notified before ``until``: a silence, or a root that explains it."""
    return replace(incident, notify_at=until, inhibited_by=why)


def elapse(
    incident: Incident, now: float, policy: Policy, *, airflow_silent_s: float = 0.0
) -> tuple[Incident, list[Notice]]:
    """Apply the time to a live incident: first notice, escalation, reminder."""
    if not incident.live:
        return incident, []
    if incident.state == "suspected":
        return _suspicion(incident, now, policy, airflow_silent_s)
    if incident.notify_at is not None and incident.notify_at <= now:
        return _notify(incident, now, policy)
    if incident.settles_at is not None and incident.settles_at <= now:
        return _grown(incident)
    if incident.remind_at is not None and incident.remind_at <= now:
        return _reminded(incident, now, policy)
    return incident, []


def escalates(incident: Incident, policy: Policy) -> bool:
    """Tell whether the next reminder goes to further people."""
    return incident.state == "open" and incident.level < len(policy.escalate_after)


def _grown(incident: Incident) -> tuple[Incident, list[Notice]]:
    """Say how many tasks failed, once that is known and many more than was said."""
    number, said = len(incident.failed_tasks), incident.notified_tasks
    if number < max(_GROWN_LEAST, _GROWN_TIMES * said):
        return replace(incident, settles_at=None), []
    grown = replace(incident, settles_at=None, notified_tasks=number)
    return grown, [Notice("update", grown)]


def _suspicion(incident: Incident, now: float, policy: Policy, silent_s: float) -> tuple[Incident, list[Notice]]:
    if incident.notify_at is None or incident.notify_at > now:
        return incident, []
    if silent_s < policy.suspect_wait_s:
        return replace(incident, notify_at=now + policy.suspect_wait_s / 4), []  # Airflow answers: it has the word
    return _notify(replace(incident, state="open", unconfirmed=()), now, policy)


def _notify(incident: Incident, now: float, policy: Policy) -> tuple[Incident, list[Notice]]:
    kind: Kind = "early_warning" if incident.early else "reminder" if incident.notified == "opened" else "opened"
    notified = replace(
        incident, notify_at=None, notified_at=now, inhibited_by="",
        notified="early_warning" if incident.early else "opened",
        notified_tasks=len(incident.failed_tasks),
    )  # fmt: skip
    return replace(notified, remind_at=_next_reminder(notified, now, policy)), [Notice(kind, notified)]


def _reminded(incident: Incident, now: float, policy: Policy) -> tuple[Incident, list[Notice]]:
    if escalates(incident, policy):
        raised = replace(incident, level=incident.level + 1)
        raised = replace(raised, remind_at=_next_reminder(raised, now, policy))
        return raised, [Notice("escalated", raised, raised.level)]
    again = replace(incident, remind_at=_next_reminder(incident, now, policy), inhibited_by="")
    return again, [Notice("reminder", again)]


def _next_reminder(incident: Incident, now: float, policy: Policy) -> float | None:
    if escalates(incident, policy):
        return (incident.notified_at or now) + policy.escalate_after[incident.level]
    if incident.kind in _NOT_REMINDED:
        return None
    return now + (policy.remind_every_s if incident.state == "open" else policy.remind_acknowledged_s)


def _with_member(members: tuple[str, ...], fact: Fact) -> tuple[str, ...]:
    member = fact.member
    if fact.kind != "task" or fact.status != "firing" or member in members or len(members) >= _MOST_MEMBERS:
        return members
    return (*members, member)


def _incident_id(key: str, time: float, last: Incident | None) -> str:
    text = f"{key}\x1f{last.id if last else ''}\x1f{time}"
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
