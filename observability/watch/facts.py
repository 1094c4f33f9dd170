"""What a witness saw, in one form whoever saw it; equal facts have equal keys."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from observability import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from observability.events import Document

__all__ = ["CERTAIN", "GUESSED", "SEEN", "Fact", "Sign", "from_document", "is_of_a_watcher", "merged", "seconds"]

Sign: TypeAlias = Literal["failed", "suspected", "attempt", "dismissed", "recovered", "warned", "noted"]
"""``failed``: final. ``suspected``: to be confirmed by Airflow. ``attempt``: will be tried again.
``dismissed``: a suspicion that proved wrong. ``recovered``: what was wrong is right. ``warned``: not yet
wrong. ``noted``: nothing wrong, but worth remembering (rows, assets, runs that began)."""

_NAMED_ONLY = {"component", "import", "telemetry", "delivery", "rules", "canary"}
"""Families that are told apart by name alone; what else they carry says whom they concern."""

GUESSED, SEEN, CERTAIN = 0, 2, 3
"""How sure the witness is of the cause: a bare state, somebody's last words, the exception itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Something that happened to a task attempt, a run, a DAG, a file, a component or a channel.

    ``family`` says which; ``name`` names what has no dag_id (a file, a component, a deadline). ``time`` is
    in seconds since 1970. ``evidence`` holds ECS fields of the document, ``about`` what routes match on.
    ``event_id`` is the ``event.id`` of the document that says so, "" where there is none.
    """

    family: str
    sign: Sign
    time: float
    cause: str = "platform"
    reason: str = ""
    severity: catalog.Severity = "error"
    certainty: int = GUESSED
    witness: str = "reconciler"
    dag_id: str | None = None
    run_id: str | None = None
    task_id: str | None = None
    map_index: int = -1
    try_number: int | None = None
    name: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    event_id: str = ""

    @property
    def key(self) -> str:
        """32 hex digits: equal for one fact seen by several witnesses."""
        place = (self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)
        parts = (self.family, *(() if self.family in _NAMED_ONLY else place), self.name)
        text = "\x1f".join("" if part is None else str(part) for part in parts)
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The fact as JSON values."""
        return asdict(self)


def merged(known: Fact, new: Fact) -> Fact:
    """One fact from two witnesses' words: the surer cause, all evidence, the earlier time."""
    surer, other = (new, known) if new.certainty > known.certainty else (known, new)
    evidence = {**other.evidence, **surer.evidence}
    about = {**other.about, **surer.about}
    stands = known.sign if known.sign == "failed" else new.sign
    witness = known.witness if new.witness in known.witness.split("+") else f"{known.witness}+{new.witness}"
    values = surer.as_json() | {"sign": stands, "evidence": evidence, "about": about, "witness": witness}
    return Fact(**(values | {"time": min(known.time, new.time)}))


_FAMILY: dict[str, tuple[str, Sign]] = {
    "task.started": ("task", "noted"),
    "task.failed": ("task", "failed"),
    "task.retried": ("task", "attempt"),
    "task.killed": ("task", "suspected"),
    "task.stuck": ("stuck", "failed"),
    "task.succeeded": ("task", "recovered"),
    "dag_run.started": ("run", "noted"),
    "dag_run.failed": ("run", "failed"),
    "dag_run.succeeded": ("run", "recovered"),
    "dag_run.overdue": ("overdue", "failed"),
    "step.measured": ("rows", "noted"),
    "asset.updated": ("asset", "noted"),
    "schema.drifted": ("data", "failed"),
    "dag.import_failed": ("import", "failed"),
    "dag.vanished": ("dag", "failed"),
    "dag.auto_paused": ("paused", "failed"),
    "deadline.approached": ("deadline", "warned"),
    "deadline.missed": ("deadline", "failed"),
    "deadline.recovered": ("deadline", "recovered"),
    "component.silent": ("component", "failed"),
    "component.recovered": ("component", "recovered"),
    "telemetry.lost": ("telemetry", "failed"),
    "canary.missing": ("canary", "failed"),
    "canary.verified": ("canary", "recovered"),
}
_OWN = ("incident.", "notification.")
_WATCHERS = {"reconciler", "deadline", "watcher"}
_NAMED = {
    "deadline": "deadline.name",
    "import": "log.file.path",
    "component": "airflow.component",
    "asset": "airflow.asset",
    "telemetry": "telemetry.stage",
    "data": "etl.table",
    "rows": "etl.step",
}
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
    "telemetry.count",
)


def from_document(document: Document) -> Fact | None:
    """The fact in a journal document, or None where the document is of no concern here."""
    action = str(document.get("event.action", ""))
    if action not in _FAMILY or "canary.probe" in document:
        return None
    family, sign = _FAMILY[action]
    cause = str(document.get("airflow.cause") or "platform")
    if action == "task.failed" and cause == "lost_heartbeat":
        sign = "suspected"  # Airflow asks for this callback also while retries remain
    return Fact(
        family=family,
        sign=sign,
        time=seconds(document["@timestamp"]),
        cause=cause if cause in catalog.CAUSES else "platform",
        reason=str(document.get("event.reason") or document.get("message") or ""),
        severity=catalog.EVENTS[action].alert or "info",
        certainty=_certainty(family, document),
        witness=str(document.get("airflow.witness") or "journal"),
        dag_id=document.get("airflow.dag_id"),
        run_id=document.get("airflow.run_id"),
        task_id=document.get("airflow.task_id"),
        map_index=int(document.get("airflow.map_index", -1)),
        try_number=document.get("airflow.try_number"),
        name=str(document.get(_NAMED.get(family, ""), "")),
        evidence={name: document[name] for name in _EVIDENCE if name in document},
        about={word: document[name] for word, name in _ABOUT.items() if name in document},
        event_id=str(document.get("event.id") or ""),
    )


def is_of_a_watcher(document: Document) -> bool:
    """Whether a watcher itself decided what the document says: its ledger knows it already."""
    return str(document.get("event.action", "")).startswith(_OWN) or document.get("airflow.witness") in _WATCHERS


def _certainty(family: str, document: Document) -> int:
    if "error.type" in document:
        return CERTAIN
    return SEEN if family != "run" and "airflow.cause" in document else GUESSED


def seconds(timestamp: str) -> float:
    """An ISO 8601 timestamp as seconds since 1970."""
    return datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
