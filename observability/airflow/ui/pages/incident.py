"""The question of an incident: what is it, who did what about it, and what can be done now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from observability.catalog import CAUSE_LABELS
from observability.runbooks import runbook_page
from observability.timestamps import iso
from observability.watch.acts import ACTS
from observability.watch.ledger import acts, schema
from observability.watch.notify.messages import plain
from observability.watch.notify.titles import subject_of, title_of, title_says

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from observability.watch.incidents import Incident

__all__ = ["IncidentPage", "Step", "incident_page", "incident_title"]

_RUNS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Step:
    """One moment in the life of an incident: what the machine or a person did; ``undo`` is what takes it back."""

    time: str
    what: str
    by: str = ""
    note: str = ""
    number: int = 0
    undo: str = ""


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """One incident as it stands in the ledger; ``facts`` are (label, value)."""

    incident: Incident
    title: str
    reason: str
    runbook: str
    facts: list[tuple[str, str]]
    traceback: str
    log: tuple[str, ...]
    runs: list[str]
    history: list[Step]


def incident_page(connection: Connection, one: Incident, *, reasons: bool, whole: bool) -> IncidentPage:
    """The page of ``one``; without ``reasons`` everything is left out that a person's code said.

    Not ``whole``: what names other DAGs is left out, such as the tasks that wait for a component, and the failure by
    which an incident is explained.
    """
    evidence = one.evidence if reasons else {}
    if not whole:
        evidence = {name: value for name, value in evidence.items() if name != "affected"}
        explained = one.inhibited_by.startswith("explained by incident")
        one = replace(one, inhibited_by="it is explained by another incident") if explained else one
    title = incident_title(one, reasons=reasons)
    return IncidentPage(
        incident=one,
        title=title,
        reason=plain(one.reason, 2000) if reasons and not title_says(title, one.reason) else "",
        runbook=str(evidence.get("incident.runbook") or runbook_page(one.kind, one.cause)),
        facts=[(label, plain(value)) for label, value in _facts(one, evidence) if value],
        traceback=str(evidence.get("error.stack_trace") or ""),
        log=tuple(plain(line, 300) for line in evidence.get("log_tail") or ()),
        runs=list(dict.fromkeys(filter(None, [one.last_run, one.run_id, *one.runs])))[:_RUNS_SHOWN],
        history=_history(connection, one, reasons=reasons),
    )


def incident_title(one: Incident, *, reasons: bool) -> str:
    """The title of a message, or what it is about and its cause where the reason is not for the reader."""
    if reasons:
        return plain(title_of(one))
    return plain(f"{subject_of(one)}: {CAUSE_LABELS.get(one.cause, one.cause)}")


def _facts(one: Incident, evidence: Any) -> list[tuple[str, Any]]:
    error = ": ".join(str(evidence[name]) for name in ("error.type", "error.message") if evidence.get(name))
    return [
        ("Owner", one.about.get("owner")),
        ("Assigned to", one.about.get("assigned_to")),
        ("Acknowledged by", one.acknowledged_by),
        ("Marked", one.about.get("verdict")),
        ("Held back", one.inhibited_by),
        ("Error", error),
        ("At", evidence.get("error.frame")),
        ("Blocks", evidence.get("affected")),
        ("Same error", evidence.get("same_error")),
        ("Last success", evidence.get("last_success")),
        ("Resolved by", one.evidence.get("resolved_by")),
        ("Failed tasks", ", ".join(one.failed_tasks[:10]) if len(one.failed_tasks) > 1 else ""),
        ("Runs that failed so", str(one.run_count) if one.run_count > 1 else ""),
    ]


def _history(connection: Connection, one: Incident, *, reasons: bool) -> list[Step]:
    """The moments of an incident, those of the machine and those of people, in order."""
    steps = [(one.first_seen, Step(iso(one.first_seen), "It was seen for the first time."))]
    if one.count > 1:
        steps.append(
            (one.last_seen, Step(iso(one.last_seen), f"It was seen for the last time, {one.count} times in all."))
        )
    if one.resolved_at is not None:
        steps.append((one.resolved_at, Step(iso(one.resolved_at), "It was resolved.")))
    steps += _notices(connection, one.id)
    for act in acts.of_incident(connection, one.id):
        spec = ACTS.get(act.act)
        said = spec.done.format(value=act.value or "nobody") if spec else act.act
        undo = spec.undo if spec is not None and act.undone_by is None else ""
        what = f"{said}{' (taken back)' if act.undone_by is not None else ''}"
        step = Step(iso(act.time), plain(what), f"{plain(act.who)}, by {act.source}", plain(act.note), act.id, undo)
        steps.append((act.time, step if reasons else _without_words(step)))
    return [step for _, step in sorted(steps, key=lambda item: item[0])]


def _without_words(step: Step) -> Step:
    return Step(step.time, step.what, step.by, "", step.number, step.undo)


def _notices(connection: Connection, incident_id: str) -> list[tuple[float, Step]]:
    table = schema.outbox
    when = func.coalesce(table.c.sent, table.c.created)
    asked = select(when, table.c.kind, table.c.channel, table.c.state).where(table.c.incident_id == incident_id)
    return [
        (at, Step(iso(at), f"{kind} notice to {channel}: {state}".replace("_", " ").capitalize()))
        for at, kind, channel, state in connection.execute(asked.order_by(table.c.id).limit(100))
    ]
