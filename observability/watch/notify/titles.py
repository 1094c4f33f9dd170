"""The title of a message: a sentence that says what happened to what, and how bad it is. One function per kind."""

from __future__ import annotations

import re
from datetime import timezone
from typing import TYPE_CHECKING, Any

from observability.catalog import CAUSE_LABELS
from observability.events import task_name
from observability.timestamps import parsed, utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from observability.watch.incidents import Incident

__all__ = ["is_removed", "members_of", "subject_of", "title_of", "title_says"]

_PREFIX = {
    "reminder": "Still open: ", "escalated": "Not acknowledged: ", "resolved": "Resolved: ", "test": "Test: ",
    "update": "Update: ",
}  # fmt: skip
_COMPONENTS = {
    "api-server": "API server", "dag-processor": "DAG processor", "scheduler": "Scheduler", "triggerer": "Triggerer",
    "worker": "Worker", "relay": "Relay", "watcher": "Watcher",
}  # fmt: skip
_BEAT = re.compile(r"its last heartbeat was ([^;]+?) ago")
_LOST = re.compile(r"(\d+) observations lost at .+?: (.+)")
_EXECUTOR = re.compile(
    r"Executor (\w+).* reported that the task instance <.+> finished with state (\w+), "
    r"but the task instance's state attribute is (\w+)\.?(?:.* Extra info: (.+))?",
    re.DOTALL,
)
"""The scheduler writes this for a task whose process ended without a word (airflow.jobs.scheduler_job_runner)."""
_REASON_MOST = 140
_EMPTY = frozenset({"ago", "been", "has", "it", "its", "last", "observations", "the", "was"})
_ROWS = re.compile(r"step (.+) of (.+) wrote (\d+) rows: (.+)", re.DOTALL)


def title_of(incident: Incident, kind: str = "opened", now: float | None = None) -> str:
    """The title of a notice of ``kind`` about ``incident``; ``now`` is what a deadline is compared with.

    Without it the title stays true: a page and a stored event say when the deadline was due, and no more.
    """
    say = _BY_KIND.get(incident.kind, _other)
    return f"{_PREFIX.get(kind, '')}{say(incident, kind, now)}".rstrip(": ")


def title_says(title: str, reason: str) -> bool:
    """Tell whether a title has all that a reason says: each of its words, but those that carry nothing."""
    return _words(reason) - _EMPTY <= _words(title)


def subject_of(incident: Incident) -> str:
    """The thing that an incident is about, as a table or a list names it."""
    if incident.kind == "component":
        return _component(incident)
    if incident.dag_id is None or incident.kind == "import":
        return incident.subject or incident.kind
    what = f"{incident.dag_id}: {_task(incident)}" if incident.task_id else incident.dag_id
    return f"{what} ({incident.subject})" if incident.kind == "deadline" and incident.subject else what


def members_of(incident: Incident) -> str:
    """The number of failed tasks where it is more than one: ``30 mapped tasks``, ``and 2 other tasks``."""
    mapped = [one for one in incident.failed_tasks if one.startswith(f"{incident.task_id}[")]
    others = len(incident.failed_tasks) - max(1, len(mapped))
    parts = [f"{len(mapped)} mapped tasks"] if len(mapped) > 1 else []
    parts += [f"and {others} other task{'s' if others > 1 else ''}"] if others > 0 else []
    return " ".join(parts)


def is_removed(incident: Incident) -> bool:
    """Tell whether Airflow took the task out of its run: it did not fail."""
    return incident.kind == "task" and incident.evidence.get("airflow.state") == "removed"


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w'-]+", text.casefold()))


_DEEDS, _BY_AIRFLOW = ("set to ", "marked "), "Airflow ended the task: "


def _failed_task(one: Incident, _kind: str, _now: float | None) -> str:  # noqa: PLR0911 - one return for each way
    what, many = f"{one.dag_id}: {_task(one)}", members_of(one)
    counted = f" ({many})" if many else ""
    if is_removed(one):
        return f"{what} was taken out of its run, and did not fail: the DAG no longer has it{counted}"
    if one.cause == "oom":
        return f"{what} ran out of memory{_peak(one)}{counted}"
    if one.cause == "killed" and not one.evidence.get("error.type"):
        name = one.evidence.get("airflow.signal")
        code = one.evidence.get("process.exit_code")
        left = f"left with exit code {code} without a word" if code else "was killed"
        how = f"was killed by {name}" if name else left
        return f"{what} {how}{counted}"
    if one.cause == "lost_heartbeat":
        return f"{what} was lost: its worker stopped reporting{counted}"
    if one.cause == "stuck_queued":
        return f"{what} failed: no worker took it{counted}"
    if one.cause == "cancelled":
        return f"{what} {_ended(one)}{counted}"
    return f"{what} failed{_because(one)}{counted}"


def _failed_run(one: Incident, _kind: str, _now: float | None) -> str:
    if one.cause == "cancelled":
        return f"{one.dag_id}: run {_ended(one)}"
    if one.cause == "timeout":
        return f"{one.dag_id}: run took too long: {_short(one.reason)}"
    return f"{one.dag_id}: run failed{_because(one)}"


def _stuck(one: Incident, _kind: str, _now: float | None) -> str:
    what = f"{one.dag_id}: {_task(one) if one.task_id else 'run'}"
    if one.cause == "deadline":
        return f"{what} waits for an answer: {_short(one.reason)}"
    return f"{what} is stuck: {_short(re.sub(r'^it has been ', '', one.reason))}"


def _overdue(one: Incident, _kind: str, _now: float | None) -> str:
    return f"{one.dag_id} did not start: {_short(one.reason)}"


def _gone(one: Incident, _kind: str, _now: float | None) -> str:
    return f"{one.dag_id} is gone from Airflow: {_short(one.reason)}"


def _paused(one: Incident, _kind: str, _now: float | None) -> str:
    number = one.evidence.get("failed_runs")
    return f"{one.dag_id} was paused by Airflow after {f'{number} failed runs' if number else 'too many failed runs'}"


def _broken_file(one: Incident, _kind: str, _now: float | None) -> str:
    return f"{one.subject.rpartition('/')[2] or 'A DAG file'} cannot be loaded{_because(one)}"


def _columns(one: Incident, _kind: str, _now: float | None) -> str:
    which = _short(one.reason).rpartition(" changed ")[2]
    return f"{one.dag_id}: columns of {one.subject or 'an input'} changed {which}"


def _deadline(one: Incident, kind: str, now: float | None) -> str:
    due = one.evidence.get("deadline.due")
    what = one.dag_id or one.subject
    if found := _ROWS.fullmatch(one.reason):
        return f"{what}: {found[2]} wrote {found[3]} rows, {_short(found[4])}"
    is_over = kind == "resolved"
    at_risk = "was at risk of missing" if is_over else "may miss"
    verb = at_risk if one.early else "missed"
    name = f" {one.subject}" if one.subject and one.subject != what else ""
    task = f": {_task(one)}" if one.task_id else ""
    moment = one.resolved_at if is_over and one.resolved_at is not None else now
    times = _times(due, moment, "over" if is_over else "now", one.last_seen) if due else _short(one.reason)
    return f"{what}{task} {verb} its deadline{name}: {times}"


def _component_down(one: Incident, _kind: str, _now: float | None) -> str:
    beat = _BEAT.match(one.reason)
    why = f"no heartbeat for {beat[1]}" if beat else _short(one.reason)
    rest = one.reason.partition("; ")[2] if beat else ""
    return f"{_component(one)} is down: {why}{f', {_short(rest)}' if rest else ''}"


def _channel(one: Incident, _kind: str, _now: float | None) -> str:
    return f"Channel {one.subject} does not take messages: {_short(one.reason)}"


def _rules(one: Incident, _kind: str, _now: float | None) -> str:
    return f"The alert rules cannot be used: {_short(one.reason)}"


def _rule(one: Incident, _kind: str, _now: float | None) -> str:
    said = one.evidence.get("title") or one.subject or "A rule of Kibana"
    return f"{said}: {_short(one.reason)}"


def _lost(one: Incident, _kind: str, _now: float | None) -> str:
    found = _LOST.fullmatch(_short(one.reason))
    count = int(found[1]) if found else one.evidence.get("telemetry.count")
    why = found[2] if found else _short(one.reason)
    many = "1 observation was" if count == 1 else f"{count} observations were" if count else "Observations were"
    return f"{many} lost at {one.subject}: {why}"


def _sink(one: Incident, _kind: str, _now: float | None) -> str:
    return f"Records do not reach {one.subject or 'a sink'}: {_short(one.reason)}"


def _canary(one: Incident, _kind: str, _now: float | None) -> str:
    return f"The canary did not arrive: {_short(one.reason)}"


def _other(one: Incident, _kind: str, _now: float | None) -> str:
    return f"{subject_of(one)}: {_short(one.reason) or CAUSE_LABELS.get(one.cause, one.cause)}"


_BY_KIND: dict[str, Callable[[Incident, str, float | None], str]] = {
    "task": _failed_task, "run": _failed_run, "stuck": _stuck, "overdue": _overdue, "dag": _gone, "paused": _paused,
    "import": _broken_file, "data": _columns, "deadline": _deadline, "component": _component_down, "delivery": _channel,
    "rules": _rules, "rule": _rule, "telemetry": _lost, "sink": _sink,
    "canary": _canary,
}  # fmt: skip


def _task(one: Incident) -> str:
    return task_name(one.task_id, one.map_index, one.iteration)


def _component(one: Incident) -> str:
    return _COMPONENTS.get(one.subject, one.subject.capitalize() or "A component")


def _ended(one: Incident) -> str:
    """The end that a person made, where the reason says no deed with the reason behind it."""
    reason = _short(one.reason)
    if reason.startswith(_BY_AIRFLOW):  # and its event log does not say who brought it there
        return f"was ended: {reason.removeprefix(_BY_AIRFLOW)}"
    return f"was {reason}" if reason.startswith(_DEEDS) else f"was ended by a person{reason and f': {reason}'}"


def _because(one: Incident) -> str:
    reason = _short(one.reason)
    return f": {reason}" if reason else f": {CAUSE_LABELS.get(one.cause, one.cause)}"


def _short(reason: str) -> str:
    """The first line of a reason, without the full stop."""
    if found := _EXECUTOR.match(reason.strip()):
        more = f": {_short(found[4])}" if found[4] else ""
        return f"{found[1]} reports {found[2]}, Airflow had it {found[3]}{more}"
    first = reason.strip().partition("\n")[0].strip().rstrip(".")
    return (
        first if len(first) <= _REASON_MOST else f"{first[:_REASON_MOST].rpartition(' ')[0] or first[:_REASON_MOST]}…"
    )


def _peak(one: Incident) -> str:
    peak, limit = one.evidence.get("airflow.peak_rss"), one.evidence.get("airflow.memory_limit")
    if not peak:
        return ""
    return f" ({peak / 2**20:.0f} MiB{f' of {limit / 2**20:.0f} MiB' if limit else ''})"


def _times(due: Any, now: float | None, word: str, seen: float) -> str:
    """``due 06:00, now 06:12``, or another word for now, or none without it; UTC.

    With the day where it is not that of ``now``, or of when it was seen, and seconds within a minute.
    """
    when, here = parsed(str(due)).astimezone(timezone.utc), utc(seen if now is None else now)
    form = "%H:%M" if when.date() == here.date() else "%Y-%m-%d %H:%M"
    if when.strftime(form) == here.strftime(form):
        form = "%H:%M:%S"
    compared = "" if now is None else f", {word} {here.strftime(form)}"
    return f"due {when.strftime(form)}{compared} UTC"
