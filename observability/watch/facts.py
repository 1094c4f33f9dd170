"""The form in which the incident engine takes what was observed; equal facts have equal keys.

Every fact is derived from an event: from its document in a journal or a store (:func:`from_document`), or from the
event that one of the watcher's own sources made (:func:`observed`), which the watcher then emits itself.
:data:`observability.catalog.EVENTS` says what an event means for an incident.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from observability import catalog
from observability.events import Identity, provider_of, task_name
from observability.timestamps import parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from observability.events import Document, Event

__all__ = [
    "CERTAIN",
    "GUESSED",
    "OWN_PROVIDERS",
    "SEEN",
    "Fact",
    "Status",
    "from_document",
    "is_of_a_watcher",
    "late_assets",
    "merged",
    "observed",
    "seconds",
]

Status: TypeAlias = Literal[
    "firing", "suspected", "attempt", "dismissed", "withdrawn", "cleared", "resolved", "warned", "noted"
]
"""``firing``: final. ``suspected``: to be confirmed by Airflow. ``attempt``: will be tried again.
``dismissed``: a suspicion that proved wrong. ``withdrawn``: a person set it to another state, or deleted it.
``cleared``: a person had it run again. ``resolved``: what was wrong is right. ``warned``: not yet
wrong. ``noted``: nothing wrong, but worth remembering (rows, assets, runs that began)."""

OWN_PROVIDERS = frozenset({"reconciler", "deadline", "outbox", "watcher", "kibana"})
"""Values of ``event.provider`` by which the watcher knows its own findings again: it does not take them twice."""

GUESSED, SEEN, CERTAIN = 0, 2, 3
"""A source's certainty of the cause: a bare state, somebody's last words, the exception itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened to a task attempt, a run, a DAG, a file, a component or a channel.

    ``kind`` says which; ``subject`` names what has no dag_id (a file, a component, a deadline). ``time`` is
    in seconds since 1970. ``evidence`` holds ECS fields of the document, ``about`` what routes match on.
    ``event_id`` is the ``event.id`` of the document that says so, "" where there is none.
    ``event`` is what the watcher emits when the fact is new; None for what another process has emitted already.
    """

    kind: str
    status: Status
    time: float
    cause: str = "platform"
    reason: str = ""
    severity: catalog.Severity = "error"
    certainty: int = GUESSED
    provider: str = "reconciler"
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    iteration: str | None = None
    loop_id: str | None = None
    region_id: str | None = None
    ti_id: str | None = None
    subject: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    event_id: str = ""
    event: Event | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> str:
        """32 hex digits: equal for one fact seen by several sources."""
        place: tuple[Any, ...] = (self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)
        if (loop := self.loop_key) is not None:
            place = (*place, loop)
        if self.kind == "deadline" and (key := self.evidence.get("airflow.partition_key")) is not None:
            place = (*place, key)
        kind = catalog.INCIDENT_KINDS.get(self.kind)
        parts = (self.kind, *(() if kind is not None and kind.by_subject else place), self.subject)
        text = "\x1f".join("" if part is None else str(part) for part in parts)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    @property
    def loop_key(self) -> str | None:
        """The key of one iteration's attempts in a task loop; None outside a loop."""
        return Identity(iteration=self.iteration, loop_id=self.loop_id, ti_id=self.ti_id).loop_key

    @property
    def member(self) -> str:
        """The task instance as an incident lists it."""
        return task_name(self.task_id, self.map_index, self.iteration)

    def as_json(self) -> dict[str, Any]:
        """The fact as JSON values, without the event: that is written down where it waits to be emitted."""
        return {name: dict(value) if name in _MAPPINGS else value for name, value in self._values() if name != "event"}

    def _values(self) -> Iterator[tuple[str, Any]]:
        return ((part.name, getattr(self, part.name)) for part in fields(self))


_MAPPINGS = ("evidence", "about")


def late_assets(evidence: Mapping[str, Any]) -> tuple[str, ...]:
    """The assets that a deadline waits for, itself or by the parts of its product, by its evidence."""
    named = [evidence.get("deadline.asset"), *(part.get("asset") for part in evidence.get("deadline.parts", ()))]
    return tuple(dict.fromkeys(str(asset) for asset in named if asset))


def merged(known: Fact, new: Fact) -> Fact:
    """One fact from the words of two sources: the surer cause, all evidence, the earlier time."""
    surer, other = (new, known) if new.certainty > known.certainty else (known, new)
    evidence = {**other.evidence, **surer.evidence}
    about = {**other.about, **surer.about}
    stands = known.status if known.status == "firing" else new.status
    provider = known.provider if new.provider in known.provider.split("+") else f"{known.provider}+{new.provider}"
    values = surer.as_json() | {"status": stands, "evidence": evidence, "about": about, "provider": provider}
    values["region_id"] = (
        surer.region_id or other.region_id
    )  # a log's path does not say it, and Airflow's page asks for it
    return Fact(**(values | {"time": min(known.time, new.time)}), event=new.event)


_OWN = ("incident.", "notification.")
_ABOUT = {
    "owner": "airflow.owner",
    "tags": "airflow.tags",
    "operator": "airflow.operator",
    "run_type": "airflow.run_type",
    "env": "service.environment",
    "team": "airflow.team",
    "trace_id": "trace.id",
}
_EVIDENCE = (
    "error.type",
    "error.message",
    "error.stack_trace",
    "error.fingerprint",
    "error.frame",
    "process.exit_code",
    "airflow.signal",
    "airflow.peak_rss",
    "airflow.memory_limit",
    "airflow.state",
    "event.duration",
    "host.name",
    "etl.rows_in",
    "etl.rows_out",
    "etl.rows_rejected",
    "deadline.due",
    "airflow.logical_date",
    "airflow.partition_key",
    "airflow.dag_version",
    "telemetry.count",
)


def from_document(document: Document) -> Fact | None:
    """The fact in a document of a journal or store; None for what is of no concern here, or found by a watcher."""
    spec = catalog.EVENTS.get(str(document.get("event.action", "")))
    if spec is None or spec.incident is None:
        return None
    if is_of_a_watcher(document):
        return None
    return _fact(document, spec, spec.incident)


def observed(
    event: Event,
    *,
    time: float | None = None,
    certainty: int | None = None,
    evidence: Mapping[str, Any] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Fact:
    """The fact in an event that a source of the watcher made; the watcher emits the event when the fact is new.

    ``time`` is the event's own in full precision. ``evidence`` and ``about`` add what no field of the event says.
    """
    document, spec = event.document(), catalog.EVENTS[event.action]
    if spec.incident is None:
        raise ValueError(f"{event.action} says nothing of an incident: declare it in catalog.EVENTS")
    found = _fact(document, spec, spec.incident)
    return replace(
        found,
        time=found.time if time is None else time,
        certainty=found.certainty if certainty is None else certainty,
        evidence={**found.evidence, **(evidence or {})},
        about={**found.about, **(about or {})},
        event_id="",
        event=event,
    )


def _fact(document: Document, spec: catalog.EventSpec, use: catalog.IncidentUse) -> Fact:
    action = document["event.action"]
    status: Status = use.status
    kind = catalog.INCIDENT_KINDS[use.kind]
    cause = str(document.get("airflow.cause") or kind.cause)
    if action == "task.failed" and cause == "lost_heartbeat" and provider_of(document) not in OWN_PROVIDERS:
        status = "suspected"  # Airflow asks for this callback also while retries remain
    return Fact(
        kind=use.kind,
        status=status,
        time=seconds(document["@timestamp"]),
        cause=cause if cause in catalog.CAUSES else kind.cause,
        reason=str(document.get("event.reason") or document.get("message") or ""),
        severity=_severity(document.get("incident.severity")) or spec.alert or "info",
        certainty=_certainty(use.kind, document),
        provider=provider_of(document) or "journal",
        dag_id=document.get("airflow.dag_id"),
        run_id=document.get("airflow.run_id"),
        task_id=document.get("airflow.task_id"),
        map_index=int(document.get("airflow.map_index", -1)),
        try_number=document.get("airflow.try_number"),
        iteration=document.get("airflow.iteration"),
        loop_id=document.get("airflow.loop_id"),
        region_id=document.get("airflow.region_id"),
        ti_id=document.get("airflow.ti_id"),
        subject=_subject(document, kind),
        evidence={name: document[name] for name in _EVIDENCE if name in document},
        about={word: _plain(document[name]) for word, name in _ABOUT.items() if name in document},
        event_id=str(document.get("event.id") or ""),
    )


def _subject(document: Document, kind: catalog.IncidentKind) -> str:
    """The subject of a document; with its place, where there is one in each place."""
    name = str(document.get(kind.subject, "")) if kind.subject else ""
    return f"{name} of {document[kind.place]}" if kind.place in document else name


def is_of_a_watcher(document: Document) -> bool:
    """True where a watcher itself found or decided what the document says: its ledger knows it already."""
    providers = provider_of(document).split("+")
    return str(document.get("event.action", "")).startswith(_OWN) or not OWN_PROVIDERS.isdisjoint(providers)


def _severity(value: Any) -> catalog.Severity | None:
    return value if value in {"info", "warning", "error", "critical"} else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _certainty(kind: str, document: Document) -> int:
    if "error.type" in document:
        return CERTAIN
    return SEEN if kind != "run" and "airflow.cause" in document else GUESSED


def seconds(timestamp: str) -> float:
    """An ISO 8601 timestamp as seconds since 1970."""
    return parsed(timestamp).timestamp()
