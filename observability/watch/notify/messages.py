"""The content of a message about an incident; how it looks and how it travels is decided elsewhere.

All text in a :class:`Message` is redacted and bounded, and has no control characters; it is still
unescaped: each renderer escapes for its own medium.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from observability import redact
from observability.catalog import CAUSE_LABELS
from observability.durations import lasting
from observability.exception_chain import Frame
from observability.timestamps import iso, utc
from observability.watch.facts import late_assets
from observability.watch.notify.links import Links
from observability.watch.notify.message import Message
from observability.watch.notify.size_limits import shorten
from observability.watch.notify.titles import is_removed, title_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from observability.watch.incidents import Incident, Notice

__all__ = ["Links", "Message", "compose", "digest", "named", "plain"]

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_NAME = re.compile(r"[\w.~:+@\[\]/,-]*")
"""The pattern of a DAG's, task's or run's name in Airflow, and several of them in a key."""
_FRAME = re.compile(r'^ *File "([^"]+)", line (\d+), in (.+)\n( +(?!File ).*)?', re.MULTILINE)
_LINES_MOST, _FRAMES_MOST = 12, 4
_NEXT = {
    "app": "Read the error at the frame above, fix the task, then clear it. The tasks that it blocks run after it.",
    "data": "Look at the rows or columns that broke the rule, fix the input or the rule, then clear the task.",
    "dependency": "See whether the service answers again; if it does, clear the task.",
    "timeout": "See in the log where the time went; give it more time or less to do, then clear the task.",
    "oom": "Give the task more memory or smaller pieces, then clear it.",
    "killed": "Find out who ended the process (a deployment, an eviction, the host), then clear the task.",
    "lost_heartbeat": "See whether the worker's host is up, then clear the task.",
    "stuck_queued": "See whether a worker runs for this queue, and whether the pool has free slots.",
    "import": "Fix the DAG file. Airflow parses it again by itself.",
    "deadline": "Open the run and see which task takes the time.",
    "upstream": "Fix the task that failed first. The others follow.",
    "platform": "Follow the runbook.",
}
_OWN_STEP = {
    "component": "Start it again, and see its log for why it went: contrail status.",
    "paused": "Fix what fails, then unpause the DAG.",
    "overdue": "See whether the scheduler runs and the DAG is not paused.",
    "delivery": "Correct the channel's address or Connection, then: contrail alerts test.",
    "rules": "Correct the line that is named: contrail alerts check.",
    "telemetry": "See the log of the process that is named: contrail doctor.",
    "sink": "See why the store refuses: contrail doctor. Nothing is lost as long as the disk has room.",
}


def plain(value: object, limit: int = 500) -> str:
    """``value`` as one safe line: redacted, no control or direction characters, at most ``limit`` characters."""
    return _line(redact.text(str(value)), limit)


def named(value: str) -> str:
    """A name as one safe line; what Airflow takes for a name stays, even where a password is such an everyday word."""
    return _line(value) if _NAME.fullmatch(value) else plain(value)


def _line(text: str, limit: int = 500) -> str:
    """``text`` as one line without control or direction characters."""
    return shorten(_UNSAFE.sub(" ", text.replace("\n", " ").replace("\t", " ")).strip(), limit)


def compose(notice: Notice, links: Links, environment: str, severity: str | None = None) -> Message:
    """The message for ``notice``."""
    incident = _safe(notice.incident)
    attempt = incident.try_number if notice.kind == "reminder" else None
    serial = (
        f"{notice.kind}:{notice.level}:{incident.notified_at or 0:.3f}:{attempt or 0}:{incident.remind_at or 0:.3f}"
    )
    serial += f":{incident.notified_tasks}" if notice.kind == "update" else ""
    return Message(
        kind=notice.kind,
        severity=severity or incident.severity,
        title=_line(title_of(incident, notice.kind, incident.last_seen), 200),
        summary=plain(incident.reason),
        dedup_key=f"{incident.id}:{serial}",
        incident_id=incident.id,
        incident_key=incident.key,
        cause=incident.cause,
        dag_id=incident.dag_id,
        run_id=incident.run_id,
        task_id=incident.task_id,
        map_index=incident.map_index if incident.map_index >= 0 else None,
        iteration=incident.iteration,
        region_id=incident.region_id,
        try_number=incident.try_number,
        count=incident.count,
        environment=environment,
        time=iso(incident.first_seen),
        details=tuple((label, _line(str(value))) for label, value in _details(incident, notice.kind) if value),
        log=() if notice.kind == "resolved" else _log(incident),
        links=links.to(incident),
        pair=incident.id,
        failed=len(incident.failed_tasks),
        assets=tuple(plain(one) for one in late_assets(incident.evidence)),
    )


def _safe(incident: Incident) -> Incident:
    """The incident with free text redacted and names that can be shown: they come from outside like everything else."""
    texts = {name: _redacted(value) for name, value in incident.evidence.items()}
    about = {name: named(value) if isinstance(value, str) else value for name, value in incident.about.items()}
    return replace(
        incident,
        dag_id=incident.dag_id and named(incident.dag_id),
        run_id=incident.run_id and named(incident.run_id),
        task_id=incident.task_id and named(incident.task_id),
        subject=named(incident.subject),
        key=named(incident.key),
        reason=redact.text(incident.reason),
        evidence=texts,
        about=about,
    )


def _redacted(value: Any) -> Any:
    return redact.text(value) if isinstance(value, str) else value


def _log(incident: Incident) -> tuple[str, ...]:
    return tuple(plain(line, 300) for line in incident.evidence.get("log_tail", ())[-_LINES_MOST:])


def _last_run(incident: Incident) -> str:
    return f"{incident.last_run}, {_shown_moment(incident.last_seen)}" if incident.run_count > 1 else ""


def _cause(incident: Incident) -> str:
    """The label of the cause, where the title does not say as much by itself."""
    said = incident.kind in _OWN_STEP or incident.cause == "deadline"
    return "" if said else CAUSE_LABELS.get(incident.cause, incident.cause)


def _details(incident: Incident, kind: str) -> list[tuple[str, Any]]:
    """The details that a person decides on, most important first; the first ones stay when a message is shortened."""
    evidence, over = incident.evidence, kind == "resolved"
    error = ": ".join(str(evidence[name]) for name in ("error.type", "error.message") if evidence.get(name))
    step = "" if over else _step(incident)
    lasted = lasting((incident.resolved_at or incident.last_seen) - incident.first_seen)
    return [
        ("Cause", _cause(incident)),
        ("Since", _shown_moment(incident.first_seen)),
        ("Lasted", lasted if over else ""),
        ("Error", "" if over else error),
        ("At", "" if over else _frames(evidence)),
        ("Signal", evidence.get("airflow.signal")),
        ("Exit code", evidence.get("process.exit_code")),
        ("Peak memory", _memory(evidence)),
        ("Blocks", evidence.get("affected")),
        ("Runs that failed so", str(incident.run_count) if incident.run_count > 1 else ""),
        ("Last of them", _last_run(incident)),
        ("Resolved by", evidence.get("resolved_by") if over else ""),
        ("Same error", "" if over else evidence.get("same_error")),
        ("Last success", "" if over else evidence.get("last_success")),
        ("DAG version", "" if over else evidence.get("dag_version")),
        ("Next step", step),
        ("Failed tasks", str(len(incident.failed_tasks)) if len(incident.failed_tasks) > 1 else ""),
        ("Run", incident.run_id),
        ("Attempt", str(incident.try_number) if incident.try_number and incident.try_number > 1 else ""),
        ("Owner", incident.about.get("owner")),
        ("Acknowledged by", incident.acknowledged_by),
        ("More", f"contrail alerts show {incident.id[:8]}" if incident.id else ""),
    ]


def _step(incident: Incident) -> str:
    if is_removed(incident):
        return "If that is meant, resolve this; if it is not, put the task back into the DAG, and clear the run."
    return _OWN_STEP.get(incident.kind) or _NEXT.get(incident.cause, "")


def _frames(evidence: Mapping[str, Any]) -> str:
    """The user's own frames, the innermost first; Airflow's and libraries' are only counted.

    The traceback of a group has those of all its errors: the frame that the failure is known by comes first.
    """
    frames = _FRAME.findall(str(evidence.get("error.stack_trace") or ""))
    at = str(evidence.get("error.frame") or "")
    own = [(str(Frame(one[0], int(one[1]), one[2])), one[3].strip()) for one in reversed(frames) if _is_own(one)]
    if not own:
        return at
    first = next((number for number, one in enumerate(own) if one[0] == at), 0)
    shown = [name for name, _ in own[first:]][:_FRAMES_MOST]
    code = f": {own[first][1]}" if own[first][1] else ""
    folded = len(frames) - len(own)
    called = f", called from {', '.join(shown[1:])}" if len(shown) > 1 else ""
    left = f" ({folded} frame{'s' if folded > 1 else ''} of Airflow and libraries left out)" if folded else ""
    return f"{shown[0]}{code}{called}{left}"


def _is_own(found: Sequence[str]) -> bool:
    return Frame(found[0], int(found[1]), found[2]).is_own


def _shown_moment(seconds: float) -> str:
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def _memory(evidence: Mapping[str, Any]) -> str | None:
    peak, limit = evidence.get("airflow.peak_rss"), evidence.get("airflow.memory_limit")
    if not peak:
        return None
    return f"{peak / 2**20:.0f} MiB" + (f" of {limit / 2**20:.0f} MiB" if limit else "")


def digest(
    messages: Sequence[Message], serial: str, environment: str, now: float, links: Links | None = None
) -> Message:
    """One message for many that would have come too fast."""
    dags = sorted({message.dag_id or message.title for message in messages})
    kinds = {kind: sum(message.kind == kind for message in messages) for kind in sorted({m.kind for m in messages})}
    worst = max(messages, key=lambda message: ("info", "warning", "error", "critical").index(message.severity))
    shown = ", ".join(dags[:20]) + (f" and {len(dags) - 20} more" if len(dags) > 20 else "")  # noqa: PLR2004 - a screenful
    title = f"{_number(len(messages), 'notice')} about {_number(len(dags), 'DAG')} in one"
    summary = f"{', '.join(f'{number} {kind}' for kind, number in kinds.items())}: {shown}"
    if set(kinds) == {"reminder"}:
        title = f"Still open: {_number(len(messages), 'incident')}"
        summary = "Not repaired:"
    return Message(
        kind="digest",
        severity=worst.severity,
        dag_id=messages[0].dag_id if len({message.dag_id for message in messages}) == 1 else None,
        title=_line(title),
        summary=_line(summary, 1500),
        dedup_key=serial,
        cause=worst.cause,
        count=sum(message.count for message in messages),
        environment=environment,
        assets=tuple(sorted({asset for message in messages for asset in message.assets})),
        pair=serial,
        links=links.home() if links is not None else (),
        time=iso(now),
        incidents=tuple(
            {
                "incident_id": m.incident_id,
                "kind": m.kind,
                "dag_id": m.dag_id,
                "task_id": m.task_id,
                "run_id": m.run_id,
                "map_index": m.map_index,
                "iteration": m.iteration,
                "cause": m.cause,
                "count": m.count,
                "title": m.title.removeprefix("Still open: ") if set(kinds) == {"reminder"} else m.title,
            }
            for m in messages
        ),
    )


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
