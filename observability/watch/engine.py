"""Turn facts into incidents and incidents into notices; each call is part of one transaction of the ledger."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace as with_fields

from observability import catalog
from observability.contain import count_loss
from observability.events import (
    IncidentAcknowledged,
    IncidentEscalated,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
    TaskFailed,
)
from observability.watch import incidents
from observability.watch.abandoned_attempts import Unended
from observability.watch.deadlines import recovered
from observability.watch.facts import Fact, merged
from observability.watch.grouping import (
    RUN_KINDS,
    failed_members,
    is_alike,
    joined,
    marked,
    repaired,
    succeeded,
    task_recovered,
)
from observability.watch.incident_events import incident_event, task_outcome
from observability.watch.inhibition import explanations_first, held
from observability.watch.ledger import pending_events, records
from observability.watch.ledger.database import read_cursor
from observability.watch.measures import note_asset, note_begin, note_end, note_rows, note_start
from observability.watch.notify.reminders import due_together, is_due, put_off
from observability.watch.occasions import RunEnds, folds, is_another, is_older, is_past
from observability.watch.rules.config import policy_for
from observability.watch.run_times import note_times
from observability.watch.runs import RunMark, is_current
from observability.watch.silences import end_at_success
from observability.watch.withdrawals import cleared, cleared_run, withdrawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy.engine import Connection

    from observability.events import Event
    from observability.watch.incidents import Incident, Notice, Policy
    from observability.watch.notify.notifier import Notifier

__all__ = ["IncidentEngine"]

_ONCE = {"task", "run"}
_OTHERS_FIRST_S = 30.0
"""So long a process that saw a failure itself has to emit it, before the watcher, which found it later, does."""
_CANNOT_BE_TOLD_S = 60.0
_BEGUN_MOST = 10_000
"""Attempts whose beginning is kept in mind, for what only it says: operator, owner, trace."""
_QUIET_S = {"telemetry": 3600.0, "data": 86_400.0, "dag": 86_400.0}
_TAKEN_AS_MEANT = {"dag": "nobody: it was gone for a day, and is taken as meant to be"}


class IncidentEngine:
    """Applies facts and time to the incidents; writes down the events that tell the rest of Contrail about it.

    They are emitted when the transaction stands, ``emit_after_s`` after it at the earliest. A run that had failed and
    succeeds makes good once Airflow's event log has been read for who cleared or set it, or ``deeds_s`` later.
    """

    def __init__(self, notifier: Notifier, *, emit_after_s: float = 0.0, deeds_s: float = 0.0) -> None:
        self.notifier = notifier
        self._emit_after_s, self._deeds_s = emit_after_s, deeds_s
        self._events: list[Event] = []
        self.suspicious = True
        """True if there may be something to ask Airflow about; a engine before this one may have left some."""
        self._begun: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._unended = Unended()
        self._run_ends = RunEnds()
        self._joined: set[str] = set()
        self._notified_errors: dict[str, dict[str, str]] = {}
        """Of each DAG, the incident that people know of each error; what it says is looked at before it is used."""

    def take(self, connection: Connection, facts: Iterable[Fact], now: float) -> None:
        """Apply what the sources saw."""
        facts = list(facts)
        note_times(connection, facts)
        for fact in facts:
            self._hear_of_end(connection, fact)
            if fact.status == "noted":
                self._note(connection, fact, now)
            elif fact.status == "resolved":
                self._recovered(connection, fact, now)
            elif fact.status in {"attempt", "dismissed"}:
                self._dismissed(connection, fact)
            elif fact.status == "withdrawn":
                self._withdrawn(connection, fact, now)
            elif fact.status == "cleared":
                policy = policy_for(self.notifier.rules, None, now)
                for changed in list(cleared(connection, fact, now, policy)):
                    records.save_incident(connection, changed)
            else:
                self._wrong(connection, fact, now)

    def _withdrawn(self, connection: Connection, fact: Fact, now: float) -> None:
        if fact.kind == "run" and self._run_ends.is_overtaken(fact):
            return  # the next look says it again, if it is still so
        for changed, is_over in list(withdrawn(connection, fact, now)):
            if is_over:
                self._close(connection, changed, fact.reason, now)
            else:
                records.save_incident(connection, changed)

    def _hear_of_end(self, connection: Connection, fact: Fact) -> None:
        """Take back that an attempt ended without a word, where another process has emitted its end."""
        if fact.kind == "task" and fact.status != "noted" and fact.event_id and self._unended.end(fact):
            pending_events.drop(connection, fact.key)

    def elapse(
        self, connection: Connection, now: float, *, airflow_silent_s: float = 0.0, careful: bool = False
    ) -> None:
        """Apply the time: first notices, escalations, reminders, digests; ``careful`` after a round that failed."""
        self._joined.clear()  # those that were changed together with another one of this round
        for incident in sorted(records.due_incidents(connection, now), key=explanations_first):
            if not careful:
                self._elapse_one(connection, incident, now, airflow_silent_s)
                continue
            try:
                with connection.begin_nested():
                    self._elapse_one(connection, incident, now, airflow_silent_s)
            except Exception as error:  # noqa: BLE001 - it is counted and looked at again, and the others go on
                count_loss("watch.engine", type(error).__name__)
                until = now + _CANNOT_BE_TOLD_S
                records.save_incident(connection, _put_off(incident, until, f"it cannot be applied: {error!r}", now))
        self.notifier.fold(connection, now)

    def _elapse_one(self, connection: Connection, incident: Incident, now: float, airflow_silent_s: float) -> None:
        if incident.id in self._joined:  # it was read before that
            incident = records.incident(connection, incident.id) or incident
            if incident.due is None or incident.due > now:
                return
        if incident.good_at is not None and incident.good_at <= now:
            success, waited = RunMark.from_json(incident.success), replace(incident, success={}, good_at=None)
            records.save_incident(connection, waited)
            self._make_good(connection, waited, success, incident.success["ended"], now)
            return
        if because := held(connection, self.notifier.rules, incident, now):
            records.save_incident(connection, _put_off(incident, *because, now))
            return
        if self._joins(connection, incident, now) or self._reminds(connection, incident, now):
            return
        if incident.settles_at is not None and incident.settles_at <= now:
            said = self.notifier.notified_tasks(connection, incident.id)
            incident = replace(incident, notified_tasks=max(incident.notified_tasks, said))
        policy = policy_for(self.notifier.rules, incident, now)
        changed, notices = incidents.elapse(incident, now, policy, airflow_silent_s=airflow_silent_s)
        self._settle(connection, changed, notices, now)

    def _joins(self, connection: Connection, incident: Incident, now: float) -> bool:
        """Join an incident that is about to be notified to one that people know of, if it is more of the same."""
        due = incident.notify_at is not None and incident.notify_at <= now
        if not due or incident.notified or incident.state == "suspected" or incident.kind not in RUN_KINDS:
            return False
        notified = self._notified_errors.get(str(incident.dag_id))
        if notified is None:
            live = records.live_incidents(connection, dag_id=incident.dag_id)
            notified = {error: one.id for one in live if one.notified == "opened" for error in one.errors}
            self._notified_errors[str(incident.dag_id)] = notified
        known = records.incident(connection, notified[incident.error]) if incident.error in notified else None
        if known is None or not is_alike(incident, known):
            return False
        for one in joined(known, incident):
            records.save_incident(connection, one)
        self._joined.add(known.id)
        return True

    def _reminds(self, connection: Connection, incident: Incident, now: float) -> bool:
        """Settle a reminder that is due where another one stands for it, or where many go in one message."""
        if not is_due(incident, now):
            return False
        if (later := put_off(connection, self.notifier.rules, incident, now)) is not None:
            records.save_incident(connection, later)
            return True
        policy = policy_for(self.notifier.rules, incident, now)
        if incidents.escalates(incident, policy):
            return False
        together = due_together(connection, self.notifier.rules, incident, now)
        for one in [one for one in together if held(connection, self.notifier.rules, one, now) is None]:
            policy = policy_for(self.notifier.rules, one, now)
            changed, notices = incidents.elapse(replace(one, remind_at=now), now, policy)
            self._settle(connection, changed, [replace(notice, with_others=True) for notice in notices], now)
            self._joined.add(one.id)
        return bool(together)

    def read_deeds(self, connection: Connection, began: float, now: float) -> bool:
        """End the waits of what succeeded before ``began``, when a look at Airflow's event log began; True for any."""
        live = (one for one in records.live_incidents(connection) if one.good_at is not None and one.good_at > now)
        over = [one for one in live if one.success.get("heard", now) < began]
        for one in over:
            records.save_incident(connection, replace(one, good_at=now))
        return bool(over)

    def quiet(self, connection: Connection, now: float) -> None:
        """Resolve what has no recovery of its own and has not been seen for long."""
        for kind, wait in _QUIET_S.items():
            for incident in records.live_incidents(connection, kind=kind):
                if incident.last_seen < now - wait:
                    self._settle(connection, *incidents.resolve(incident, now, _TAKEN_AS_MEANT.get(kind, "")), now)

    def acknowledge(self, connection: Connection, incident: Incident, who: str, now: float) -> Incident:
        """A person takes the incident."""
        changed = incidents.acknowledge(incident, who, now, policy_for(self.notifier.rules, incident, now))
        if changed is not incident:
            records.save_incident(connection, changed)
            event = incident_event(IncidentAcknowledged, changed, now)  # it may be given back and taken again
            self._emit(connection, with_fields(event, discriminator=f"{changed.id}:{now:.3f}"), now)
        return changed

    def rerun(self, connection: Connection, incident: Incident, run_id: str, who: str, now: float) -> None:
        """A person had a run of the incident run again; Airflow's event log need not be read for who it was."""
        policy = policy_for(self.notifier.rules, incident, now)
        records.save_incident(connection, cleared_run(incident, run_id, f"it was cleared by {who}", now, policy))

    def resolve(self, connection: Connection, incident: Incident, now: float, why: str = "") -> Incident:
        """A person says that it is over, and ``why``."""
        return self._close(connection, incident, why, now)

    def take_back(
        self,
        connection: Connection,
        incident: Incident,
        now: float,
        change: Callable[[Incident, float, Policy], Incident],
    ) -> Incident:
        """A person takes back that the incident was taken, or over."""
        changed = change(incident, now, policy_for(self.notifier.rules, incident, now))
        records.save_incident(connection, changed)
        event = incident_event(IncidentReopened, changed, now)
        self._emit(connection, with_fields(event, discriminator=f"{changed.id}:{now:.3f}"), now)
        return changed

    def _close(self, connection: Connection, incident: Incident, why: str, now: float) -> Incident:
        """Resolve an incident because a person ended it or what it is about.

        A deadline that was late is reported as recovered here: nothing judges it any more once its incident is over.
        """
        changed, notices = incidents.resolve(incident, now, why)
        self._settle(connection, changed, notices, now)
        if incident.live and incident.kind == "deadline":
            fact = recovered(incident, why or "a person closed it", now)
            self._emit_over(connection, fact, incident, now, resolved=True)
        return changed

    def take_events(self) -> list[Event]:
        """The events that were written down since the last call."""
        taken, self._events = self._events, []
        return taken

    def _emit(self, connection: Connection, event: Event, now: float, *, fact: str = "", wait_s: float = 0.0) -> None:
        self._events.append(event)
        pending_events.add(connection, event, now + max(wait_s, self._emit_after_s), fact=fact)

    def _emit_finding(self, connection: Connection, fact: Fact, incident: Incident, now: float) -> None:
        """Have the event of a fact emitted that is new, and that one of the watcher's own sources found."""
        if fact.event is None:
            return
        if fact.event.action == TaskFailed.action:
            event: Event = task_outcome(fact, self._begun.get(fact.key, {}))
        elif fact.event.discriminator:
            event = fact.event
        else:  # what tells this occasion from the next of its kind is the incident
            event = with_fields(fact.event, discriminator=incident.id)
        use = catalog.EVENTS[event.action].incident
        wait_s = _OTHERS_FIRST_S if use is not None and use.elsewhere else 0.0
        self._emit(connection, event, now, fact=fact.key, wait_s=wait_s)

    def _wrong(self, connection: Connection, fact: Fact, now: float) -> None:
        fact = _canonical(connection, fact)
        self.suspicious = self.suspicious or fact.status == "suspected"
        note_end(connection, self.notifier.rules, fact)
        known = records.fact(connection, fact.key)
        if fact.event is None and fact.provider != "relay":
            pending_events.drop(connection, fact.key)
        if known is not None and _confirms(known[0], fact):
            outcome = task_outcome(merged(known[0], fact), self._begun.get(fact.key, {}))
            self._emit(connection, outcome, now, fact=fact.key)
        if known is not None and is_past(known[0], fact):
            return
        before = records.incident(connection, known[1]) if known is not None and known[1] else None
        before = records.whole_incident(connection, before)
        another = known is not None and is_another(known[0], fact, before)
        if known is not None and not another and (stale := self._again(connection, fact, *known, now)):
            records.remember_fact(connection, *stale)
            return
        if fact.kind == "run":
            self._run_ends.fails(fact, now)
        is_more = known is not None and known[0].kind in _ONCE and known[0].status != "resolved" and not another
        seen = merged(known[0], fact) if known is not None and is_more else fact
        last = _last_about(connection, fact)
        policy = policy_for(self.notifier.rules, last, now)
        fails_again = another and last is not None and before is not None and last.id == before.id
        if (
            fact.kind == "run"
            and last is not None
            and not fails_again
            and last.state != "dismissed"
            and folds(last, fact)
        ):
            changed = _marked(connection, incidents.ended(last, fact, now, policy), fact)
            records.save_incident(connection, changed)
        else:
            changed, notices = incidents.observe(last, seen, now, policy)
            changed = _marked(connection, changed, seen)
            self._settle(connection, changed, notices, now)
        records.remember_fact(connection, seen, changed.id)
        self._emit_finding(connection, seen, changed, now)

    def _again(
        self, connection: Connection, fact: Fact, known: Fact, incident_id: str | None, now: float
    ) -> tuple[Fact, str | None] | None:
        """The note of a fact that was known, or None when it must be taken as new."""
        both = merged(known, fact)
        if known.status in {"attempt", "dismissed"}:
            return (replace(both, status=known.status), incident_id) if fact.status == "suspected" else None
        incident = records.incident(connection, incident_id) if incident_id else None
        incident = records.whole_incident(connection, incident)
        if incident is None or not incident.live:
            once = fact.kind in _ONCE or (fact.kind == "deadline" and fact.run_id is not None)
            if incident is not None and incident.early:
                return None  # a warning that was taken back was right after all
            return (both, incident_id) if once and known.status in {"firing", "resolved"} else None
        if known.status == "resolved" or (known.status == "warned" and fact.status == "firing"):
            return None
        policy = policy_for(self.notifier.rules, incident, now)
        changed = replace(incidents.refine(incident, both, now, policy), last_seen=max(incident.last_seen, fact.time))
        changed = _marked(connection, changed, both)
        self._settle(connection, changed, [], now)
        return both, incident_id

    def _dismissed(self, connection: Connection, fact: Fact) -> None:
        note_end(connection, self.notifier.rules, fact)
        known = records.fact(connection, fact.key)
        if known is not None and known[0].status == "firing":
            return
        seen = replace(merged(known[0], fact), status=fact.status) if known else fact
        incident = records.incident(connection, known[1]) if known and known[1] else None
        if incident is not None and incident.live:
            records.save_incident(connection, incidents.dismiss(incident, fact))
        records.remember_fact(connection, seen, known[1] if known else None)

    def _recovered(self, connection: Connection, fact: Fact, now: float) -> None:
        fact = _canonical(connection, fact)
        note_end(connection, self.notifier.rules, fact)
        if fact.kind == "task" and records.fact(connection, fact.key) is not None:
            self._dismissed(connection, replace(fact, status="dismissed"))
        incident = records.whole_incident(connection, records.latest_incident(connection, incidents.key_of(fact)))
        if fact.kind == "run":
            if self._is_news(connection, fact):
                self._run_succeeded(connection, fact, now)
        elif incident is not None and incident.live and not is_older(fact, incident):
            changed, notices = incidents.recover(task_recovered(incident, fact), fact, now)
            self._settle(connection, changed, notices, now)
            self._emit_over(connection, fact, incident, now, resolved=not changed.live)
        elif incident is not None and not incident.live:  # it went with another part of its incident
            self._emit_over(connection, fact, incident, now, resolved=False)

    def _emit_over(self, connection: Connection, fact: Fact, incident: Incident, now: float, *, resolved: bool) -> None:
        """Have the event emitted that something is right again, if it was wrong: the incident, or a part of it."""
        if fact.event is None or fact.kind in _ONCE:
            return
        known = records.fact(connection, fact.key)
        was_wrong = known is not None and known[0].status in {"firing", "warned"}
        if not (was_wrong or resolved):
            return
        if known is not None:
            records.remember_fact(connection, replace(known[0], status="resolved"), known[1])
        since = known[0].time if known is not None else incident.first_seen
        event = fact.event
        if hasattr(event, "duration_ns"):
            event = with_fields(event, duration_ns=int(max(0.0, now - since) * 1e9))
        self._emit(connection, with_fields(event, discriminator=incident.id), now, fact=fact.key)

    def _is_news(self, connection: Connection, success: Fact) -> bool:
        """Note that a run is well, in the place of its failure; False where it has failed again since."""
        known = records.fact(connection, success.key)
        if not self._run_ends.succeeds(success, known[0] if known else None):
            return False
        if known is not None and known[0].kind == success.kind:
            over = replace(known[0], status="resolved", time=max(known[0].time, success.time))
            records.remember_fact(connection, over, known[1])
        return True

    def _run_succeeded(self, connection: Connection, fact: Fact, now: float) -> None:
        dag_id, run_id = str(fact.dag_id), str(fact.run_id)
        lasted = float(fact.evidence.get("event.duration", 0)) / 1e9
        if lasted:
            records.record(connection, "duration", dag_id, "", run_id, fact.time, lasted)
        current = is_current(replace(fact, time=fact.time - lasted))
        records.record(connection, "success", dag_id, "", run_id, fact.time, float(current))
        end_at_success(connection, dag_id, fact.time - lasted, now)
        others = records.live_incidents(connection, dag_id=dag_id)
        if any(failed_members(one, run_id) for one in others):
            return  # it went on past a failure; that repairs nothing
        success, why = RunMark.of(fact, fact.time - lasted), f"run {run_id} succeeded"
        for one in others:
            if one.kind == "overdue" and one.first_seen <= fact.time - lasted:
                self._settle(connection, *incidents.resolve(one, now, why), now)
            elif one.kind in RUN_KINDS:
                mark = one.runs.get(run_id, {})
                if self._deeds_s and one.notified and mark and not mark.get("cleared"):
                    records.save_incident(connection, succeeded(one, success, fact.time, now, now + self._deeds_s))
                else:
                    self._make_good(connection, one, success, fact.time, now)

    def _make_good(self, connection: Connection, one: Incident, success: RunMark, at: float, now: float) -> None:
        """Take the runs from an incident that a success, which ended at ``at``, makes good; without any it is over."""
        left, deed = repaired(one, success, at), one.runs.get(success.run_id, {}).get("cleared")
        why = f"run {success.run_id} succeeded"
        if not left.runs:
            self._settle(connection, *incidents.resolve(left, now, f"{why} after {deed}" if deed else why), now)
        elif left != one:
            records.save_incident(connection, left)

    def _note(self, connection: Connection, fact: Fact, now: float) -> None:
        if fact.kind == "run":
            note_begin(connection, fact)
            overdue = records.latest_incident(connection, incidents.key_of(replace(fact, kind="overdue")))
            if overdue is not None and overdue.live:
                self._settle(connection, *incidents.resolve(overdue, now), now)
        elif fact.kind == "task":
            self._begun[fact.key] = fact.about
            if len(self._begun) > _BEGUN_MOST:
                self._begun.popitem(last=False)
            if (left := self._unended.begin(fact)) is not None:
                self._emit(connection, left[1], now, fact=left[0], wait_s=_OTHERS_FIRST_S)
            note_start(connection, self.notifier.rules, fact)
        elif fact.kind == "asset":
            note_asset(connection, fact)
        elif fact.kind == "rows":
            note_rows(connection, fact)

    def _settle(self, connection: Connection, changed: Incident, notices: list[Notice], now: float) -> None:
        records.save_incident(connection, changed)
        for notice in notices:
            self.notifier.notify(connection, notice, now)
            kind = {"opened": IncidentOpened, "escalated": IncidentEscalated}.get(notice.kind)
            if kind is not None:
                self._emit(connection, incident_event(kind, changed, now), now)
        if changed.live and changed.notified == "opened" and str(changed.dag_id) in self._notified_errors:
            self._notified_errors[str(changed.dag_id)].update(dict.fromkeys(changed.errors, changed.id))
        if changed.state == "resolved" and changed.notified == "opened":
            event = incident_event(IncidentResolved, changed, now)  # it may be reopened and end again
            self._emit(connection, with_fields(event, discriminator=f"{changed.id}:{now:.3f}"), now)


def _last_about(connection: Connection, fact: Fact) -> Incident | None:
    """The live incident about the fact, else the last; a run that joined another's incident is followed to that."""
    last = records.latest_incident(connection, incidents.key_of(fact))
    whole = records.whole_incident(connection, last)
    if whole is None or whole is last or not whole.live or fact.kind != "task":
        return whole
    known = {member.partition("[")[0] for member in whole.failed_tasks}
    return whole if fact.task_id in known else last  # another task than the ones that people know of


def _marked(connection: Connection, incident: Incident, fact: Fact) -> Incident:
    if not fact.run_id:
        return incident
    begun = records.first_time(connection, "started", str(fact.dag_id), fact.run_id)
    return marked(incident, fact, fact.time if begun is None else begun)


def _confirms(known: Fact, fact: Fact) -> bool:
    """A process died without a word, and Airflow says that its task failed for good: nobody else tells of that."""
    statuses, providers = {known.status, fact.status}, {known.provider, fact.provider}
    return fact.kind == "task" and statuses == {"suspected", "firing"} and providers == {"relay", "reconciler"}


def _canonical(connection: Connection, fact: Fact) -> Fact:
    """A broken file by one name: the listener knows its full path, the API the path within its bundle."""
    if fact.kind != "import":
        return fact
    if fact.dag_id is None:
        dags = (read_cursor(connection, "reconcile") or {}).get("dags", {})
        mine = [
            (dag_id, about) for dag_id, about in dags.items() if f"/{fact.subject}".endswith(f"/{about.get('file')}")
        ]
        about = {name: mine[0][1][name] for name in ("owner", "tags") if mine[0][1].get(name)} if mine else {}
        fact = replace(fact, dag_id=mine[0][0] if mine else None, about={**about, **fact.about})
    for one in records.live_incidents(connection, kind="import"):
        if one.subject.endswith(f"/{fact.subject}") or fact.subject.endswith(f"/{one.subject}"):
            return replace(fact, subject=one.subject)
    return fact


def _put_off(incident: Incident, until: float, why: str, now: float) -> Incident:
    if incident.notify_at is not None and incident.notify_at <= now:
        return incidents.postpone(incident, until, why)
    return replace(incident, remind_at=until)
