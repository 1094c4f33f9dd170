"""The content of a message about an incident; how it looks and how it travels is decided elsewhere.

All text in a :class:`Message` is redacted and bounded, and has no control characters; it is still
unescaped: each renderer escapes for its own medium.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from observability import redact
from observability.catalog import CAUSE_LABELS
from observability.events import base_iteration, region_of
from observability.exception_chain import Frame
from observability.runbooks import runbook_address, runbook_page
from observability.watch.durations import lasting
from observability.watch.facts import late_assets
from observability.watch.notify import render
from observability.watch.notify.size_limits import shorten
from observability.watch.notify.titles import title_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from observability.settings import Settings
    from observability.watch.incidents import Incident, Notice
    from observability.watch.rules.config import AlertingConfig

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to a person. ``details`` are (label, value), ``log`` the last lines, ``links`` (label, address).

    ``acts`` are the one-time links to what a person can do about it.

    ``incidents`` are those of a digest, with ``more`` that are not listed; ``pair`` is the key under which a service
    that opens and closes alerts finds this one again. ``failed`` is how many tasks of the run it says have failed,
    ``assets`` the late ones that it names.
    """

    kind: str
    severity: str
    title: str
    summary: str
    dedup_key: str
    incident_id: str = ""
    incident_key: str = ""
    cause: str = ""
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    iteration: str | None = None
    region_id: str | None = None
    count: int = 1
    environment: str = ""
    time: str = ""
    details: tuple[tuple[str, str], ...] = ()
    log: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    acts: tuple[tuple[str, str], ...] = ()
    incidents: tuple[Mapping[str, Any], ...] = field(default=())
    more: int = 0
    pair: str = ""
    try_number: int | None = None
    failed: int = 0
    assets: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The message as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Message:
        """The message that :meth:`as_json` made the values from."""
        pairs = {
            name: tuple((label, value) for label, value in values.get(name, ()))
            for name in ("details", "links", "acts")
        }
        lists = {name: tuple(values.get(name, ())) for name in ("log", "incidents", "assets")}
        return cls(**{**values, **pairs, **lists})


def plain(value: object, limit: int = 500) -> str:
    """``value`` as one safe line: redacted, no control or direction characters, at most ``limit`` characters."""
    return _line(redact.text(str(value)), limit)


def named(value: str) -> str:
    """A name as one safe line; what Airflow takes for a name stays, even where a password is such an everyday word."""
    return _line(value) if _NAME.fullmatch(value) else plain(value)


def _line(text: str, limit: int = 500) -> str:
    """``text`` as one line without control or direction characters."""
    return shorten(_UNSAFE.sub(" ", text.replace("\n", " ").replace("\t", " ")).strip(), limit)


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of the places where one looks further; empty ones are left out."""

    airflow: str = ""
    kibana: str = ""
    cloudwatch_region: str = ""
    cloudwatch_group: str = ""
    runbooks: str = ""
    acts: bool = False

    @classmethod
    def of(cls, settings: Settings, rules: AlertingConfig) -> Links:
        """The links that the settings allow for."""
        aws = "cloudwatch" in settings.relay.sinks or settings.store.backend == "cloudwatch"
        group = f"{settings.cloudwatch.log_group_prefix}/{settings.core.environment}/airflow.task"
        return cls(
            airflow=settings.public_url,
            kibana=settings.core.kibana_url.rstrip("/"),
            cloudwatch_region=settings.cloudwatch.region if aws else "",
            cloudwatch_group=group,
            runbooks=rules.runbooks or settings.core.runbook_url,
            acts=settings.watch.act_link_hours > 0,
        )

    def to(self, incident: Incident) -> tuple[tuple[str, str], ...]:
        """(label, address) for an incident, the most useful first; only what a browser opens."""
        found = [
            ("Incident", self._incident(incident)),
            ("Contrail", self._contrail(incident)),
            ("Airflow", self._airflow(incident)),
        ]
        found += [("Kibana", self._kibana(incident)), ("CloudWatch Logs", self._cloudwatch(incident))]
        found += [("Runbook", self.runbook(incident))]
        return tuple((label, address) for label, address in found if render.is_web(address))

    def home(self) -> tuple[tuple[str, str], ...]:
        """(label, address) of what is about no incident."""
        return (("Contrail", f"{self.airflow}/contrail/"),) if render.is_web(self.airflow) else ()

    def runbook(self, incident: Incident) -> str:
        """Address of the page that says what to do; "" where it would lead nowhere."""
        page = runbook_page(incident.kind, incident.cause)
        given = str(incident.evidence.get("incident.runbook") or "")
        if render.is_web(given):
            return given
        page = given if re.fullmatch(r"[a-z][a-z-]{2,40}", given) else page
        address = runbook_address(page, served_at=self.runbooks, airflow=self.airflow)
        return address if render.is_web(address) else ""

    def _incident(self, incident: Incident) -> str:
        return f"{self.airflow}/contrail/incidents/{incident.id}" if self.airflow and incident.id else ""

    def _contrail(self, incident: Incident) -> str:
        path = f"{self.airflow}/contrail"
        if not self.airflow or not incident.dag_id:
            return f"{path}/" if self.airflow else ""
        path += f"/dags/{quote(incident.dag_id, safe='', errors='replace')}"
        if incident.run_id:
            path += f"/runs/{quote(incident.run_id, safe='', errors='replace')}"
        if incident.task_id:
            path += f"/tasks/{quote(incident.task_id, safe='', errors='replace')}"
        index = incident.map_index if incident.map_index >= 0 else None
        chosen = {"map_index": index, "iteration": base_iteration(incident.iteration)} if incident.task_id else {}
        query = urlencode({name: value for name, value in chosen.items() if value is not None})
        return f"{path}?{query}" if query else path

    def _airflow(self, incident: Incident) -> str:
        if not incident.dag_id or not self.airflow:
            return self.airflow
        path = f"{self.airflow}/dags/{quote(incident.dag_id, safe='', errors='replace')}"
        if incident.run_id:
            path += f"/runs/{quote(incident.run_id, safe='', errors='replace')}"
        if incident.run_id and incident.task_id:
            path += f"/tasks/{quote(incident.task_id, safe='', errors='replace')}"
            path += f"/mapped/{incident.map_index}" if incident.map_index >= 0 else ""
            if region := region_of(incident.region_id, incident.map_index, incident.iteration):
                path += "?" + urlencode({"region_id": region[0], "region_index": region[1]})
        return path

    def _kibana(self, incident: Incident) -> str:
        if not self.kibana or not incident.dag_id:
            return ""
        asked = [
            ("airflow.dag_id", incident.dag_id),
            ("airflow.run_id", incident.run_id),
            ("airflow.task_id", incident.task_id),
        ]
        kuery = " and ".join(f'{name}: "{_kuery(value)}"' for name, value in asked if value)
        state = f"(query:(language:kuery,query:'{_rison(kuery)}'))"
        return f"{self.kibana}/app/discover#/?_a={quote(state, safe='', errors='replace')}"

    def _cloudwatch(self, incident: Incident) -> str:
        if not self.cloudwatch_region or not incident.dag_id:
            return ""
        asked = [("airflow.dag_id", incident.dag_id), ("airflow.run_id", incident.run_id)]
        where = " and ".join(f"`{name}` = '{_insights(value)}'" for name, value in asked if value)
        query = f"fields @timestamp, event, level | filter {where} | sort @timestamp desc | limit 200"
        region = self.cloudwatch_region
        detail = f"~(editorString~'{_jsurl(query)}~source~(~'{_jsurl(self.cloudwatch_group)}))"
        base = f"https://{region}.console.aws.amazon.com/cloudwatch/home?{urlencode({'region': region})}"
        return f"{base}#logsV2:logs-insights?queryDetail={detail}"


def _kuery(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _rison(value: str) -> str:
    return value.replace("!", "!!").replace("'", "!'")


def _insights(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "\\'")


def _jsurl(value: str) -> str:
    """A string inside CloudWatch's console fragment: everything but letters, digits, ``-_.`` as ``*xx``."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "".join(f"*{b:02x}" for b in c.encode("utf-8", "replace"))
        for c in value
    )


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
        title=_line(title_of(incident, notice.kind), 200),
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
        time=_moment(incident.first_seen),
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


def _details(incident: Incident, kind: str) -> list[tuple[str, Any]]:
    """The details that a person decides on, most important first; the first ones stay when a message is shortened."""
    evidence, over = incident.evidence, kind == "resolved"
    error = ": ".join(str(evidence[name]) for name in ("error.type", "error.message") if evidence.get(name))
    step = "" if over else _OWN_STEP.get(incident.kind) or _NEXT.get(incident.cause, "")
    lasted = lasting((incident.resolved_at or incident.last_seen) - incident.first_seen)
    return [
        ("Cause", "" if incident.kind in _OWN_STEP else CAUSE_LABELS.get(incident.cause, incident.cause)),
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
        ("Next step", step),
        ("Failed tasks", str(len(incident.failed_tasks)) if len(incident.failed_tasks) > 1 else ""),
        ("Run", incident.run_id),
        ("Attempt", str(incident.try_number) if incident.try_number and incident.try_number > 1 else ""),
        ("Owner", incident.about.get("owner")),
        ("Acknowledged by", incident.acknowledged_by),
        ("More", f"contrail alerts show {incident.id[:8]}" if incident.id else ""),
    ]


def _frames(evidence: Mapping[str, Any]) -> str:
    """The user's own frames, the innermost first; Airflow's and libraries' are only counted."""
    frames = _FRAME.findall(str(evidence.get("error.stack_trace") or ""))
    own = [found for found in frames if Frame(found[0], int(found[1]), found[2]).is_own]
    if not own:
        return str(evidence.get("error.frame") or "")
    shown = [f"{PurePath(file).name}:{line} in {name}" for file, line, name, _ in reversed(own)][:_FRAMES_MOST]
    code = f": {own[-1][3].strip()}" if own[-1][3].strip() else ""
    folded = len(frames) - len(own)
    called = f", called from {', '.join(shown[1:])}" if len(shown) > 1 else ""
    left = f" ({folded} frame{'s' if folded > 1 else ''} of Airflow and libraries left out)" if folded else ""
    return f"{shown[0]}{code}{called}{left}"


def _shown_moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _memory(evidence: Mapping[str, Any]) -> str | None:
    peak, limit = evidence.get("airflow.peak_rss"), evidence.get("airflow.memory_limit")
    if not peak:
        return None
    return f"{peak / 2**20:.0f} MiB" + (f" of {limit / 2**20:.0f} MiB" if limit else "")


def digest(messages: Sequence[Message], serial: str, environment: str, links: Links | None = None) -> Message:
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
        time=_moment(datetime.now(timezone.utc).timestamp()),
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


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
